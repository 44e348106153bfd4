// Tic-Tac-Toe's web server: the page, its files, the opponent, and the results of this sandbox, kept in memory.

import { readFile } from "node:fs/promises";
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { LEVELS, chooseMove, outcome, place, problem, turn } from "./engine.js";

const OPPONENTS = [...LEVELS, "friend"];
const RESULTS = ["won", "lost", "drawn"]; // for X when two friends play
const MOST = 1_000_000;
const BODY_BYTES = 1024;
const FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/static/game.js": ["static/game.js", "text/javascript; charset=utf-8"],
  "/static/game.css": ["static/game.css", "text/css; charset=utf-8"],
  "/static/icon.svg": ["static/icon.svg", "image/svg+xml"],
};

const tally = Object.fromEntries(OPPONENTS.map((name) => [name, { won: 0, lost: 0, drawn: 0 }]));

class Refused extends Error {
  constructor(field, message, status = 422) {
    super(message);
    this.field = field;
    this.status = status;
  }
}

/** Return the body as an object that has only these fields. */
async function fieldsOf(request, names) {
  if (Number(request.header("content-length") ?? 0) > BODY_BYTES) throw tooLarge();
  const text = await request.text();
  if (text.length > BODY_BYTES) throw tooLarge();
  let given;
  try {
    given = JSON.parse(text);
  } catch {
    throw new Refused("body", "the body must be JSON");
  }
  if (given === null || typeof given !== "object" || Array.isArray(given)) {
    throw new Refused("body", "the body must be an object");
  }
  for (const name of Object.keys(given)) {
    if (!names.includes(name)) throw new Refused(name.slice(0, 40), `unknown; the fields are ${names.join(", ")}`);
  }
  return given;
}

const tooLarge = () => new Refused("body", `the body must not exceed ${BODY_BYTES} bytes`, 413);

function oneOf(given, name, choices) {
  if (!choices.includes(given[name])) throw new Refused(name, `${name} must be one of ${choices.join(", ")}`);
  return given[name];
}

const app = new Hono();

app.use("*", async (context, next) => {
  await next();
  // The page runs in an opaque origin, so even its own server counts as another origin.
  context.header("Access-Control-Allow-Origin", "*");
  context.header("X-Content-Type-Options", "nosniff");
  context.header("Cache-Control", context.req.path.startsWith("/api/") ? "no-store" : "no-cache");
});

for (const [path, [name, type]] of Object.entries(FILES)) {
  const file = new URL(name, import.meta.url);
  app.get(path, async (context) => context.body(await readFile(file), 200, { "Content-Type": type }));
}

app.get("/api/health", (context) => context.json({ status: "ok", game: "tic-tac-toe" }));

app.get("/api/scores", (context) => context.json({ tally }));

app.post("/api/scores", async (context) => {
  const given = await fieldsOf(context.req, ["against", "result"]);
  const results = tally[oneOf(given, "against", OPPONENTS)];
  const result = oneOf(given, "result", RESULTS);
  results[result] = Math.min(results[result] + 1, MOST);
  return context.json({ tally }, 201);
});

app.post("/api/move", async (context) => {
  const given = await fieldsOf(context.req, ["board", "level"]);
  const level = oneOf({ level: "perfect", ...given }, "level", LEVELS);
  const wrong = problem(given.board);
  if (wrong) throw new Refused("board", wrong);
  if (outcome(given.board).winner) throw new Refused("board", "board shows a game that has ended");
  const player = turn(given.board);
  const move = chooseMove(given.board, level);
  const board = place(given.board, move, player);
  return context.json({ move, player, board, ...outcome(board) });
});

app.options("/api/*", (context) => {
  const headers = { "Access-Control-Allow-Methods": "GET, POST", "Access-Control-Allow-Headers": "Content-Type" };
  return context.body(null, 204, headers);
});

app.notFound((context) => context.json({ error: "There is nothing here." }, 404));

app.onError((error, context) => {
  if (error instanceof Refused) return context.json({ error: error.message, field: error.field }, error.status);
  console.error(error);
  return context.json({ error: "That did not work." }, 500);
});

// Loopback only: the sandbox's agent stands between this and the world.
const port = Number(process.env.PORT ?? 5000);
const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port }, () => {
  console.log(`Tic-Tac-Toe listens on port ${port}`);
});
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}
