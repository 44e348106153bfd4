// Keeps the fleet's page up to date: when the orchestrator's socket says that something happened, the page fetches its
// live part again. Without the socket it asks every few seconds. Ticks, focus and scroll positions stay.

import { isSeen, whileSeen } from "../js/sight.js";

const FETCH_GAP_MS = 1000; // a storm of events is one fetch a second
const POLL_MS = 3000; // without the socket
const POLL_WITH_SOCKET_MS = 10000; // ages grow, and what DigitalOcean does is not in our log
const PATIENCE_MS = 15000;
const RECONNECT_MS = [1000, 2000, 5000, 10000];
const SERVICE_RESTART = 1012; // another process serves already
const RESTART_DELAY_MS = 300;

const live = document.getElementById("fleet-live");
let socket = null;
let attempts = 0;
let timer = 0;
let reconnecting = 0;
let fetchedAt = 0;
let isFetching = false;
let isStale = false;

function schedule(delay) {
  clearTimeout(timer);
  timer = setTimeout(refresh, delay);
}

function soon() {
  isStale = true;
  if (!isFetching && isSeen()) schedule(Math.max(0, fetchedAt + FETCH_GAP_MS - Date.now()));
}

function isConnected() {
  return socket !== null && socket.readyState === WebSocket.OPEN;
}

async function refresh() {
  if (isFetching || !isSeen()) return;
  isFetching = true;
  isStale = false;
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await fetch(live.dataset.table + location.search, { credentials: "same-origin", signal });
    if (answer.redirected || answer.status === 403) throw new Error("You are signed out: reload the page.");
    if (!answer.ok) throw new Error(`The server answered ${answer.status}; trying again.`);
    put(await answer.text());
    say(isConnected() ? "Live." : "Live, refreshed every few seconds.");
  } catch (error) {
    const isSilent = error instanceof TypeError || error.name === "TimeoutError";
    say(isSilent ? "The server does not answer; trying again." : error.message);
  }
  fetchedAt = Date.now();
  isFetching = false;
  schedule(isStale ? FETCH_GAP_MS : isConnected() ? POLL_WITH_SOCKET_MS : POLL_MS);
}

function say(text) {
  const place = document.getElementById("fleet-link");
  if (place && place.textContent !== text) place.textContent = text;
}

// Replaces everything in the live part, then restores what the operator was working with.
function put(html) {
  const said = document.getElementById("fleet-link")?.textContent ?? "";
  const ticked = new Set([...live.querySelectorAll("input[name=key]:checked")].map((box) => box.value));
  const before = new Map([...live.querySelectorAll("tr[data-key]")].map((row) => [row.dataset.key, row.dataset.mark]));
  const focused = pathTo(document.activeElement);
  const boxes = [...live.querySelectorAll(".table-box")].map((box) => box.scrollLeft);
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  for (const box of fresh.content.querySelectorAll("input[name=key]")) box.checked = ticked.has(box.value);
  for (const row of fresh.content.querySelectorAll("tr[data-key]")) {
    if (before.get(row.dataset.key) !== row.dataset.mark) row.classList.add("is-changed");
  }
  live.replaceChildren(fresh.content);
  live.querySelectorAll(".table-box").forEach((box, index) => (box.scrollLeft = boxes[index] ?? 0));
  if (focused) live.querySelector(focused)?.focus({ preventScroll: true });
  // The mark is for this change only: the next fetch compares with the row as it is now.
  setTimeout(() => live.querySelectorAll(".is-changed").forEach((row) => row.classList.remove("is-changed")), 1500);
  say(said);
}

// Returns a selector that finds the focused element again after it was replaced.
function pathTo(element) {
  if (!element || !live.contains(element)) return "";
  if (element.id) return `#${CSS.escape(element.id)}`;
  const row = element.closest("tr[data-key]");
  const within = row ? `tr[data-key="${CSS.escape(row.dataset.key)}"] ` : "";
  if (element.name === "key") return `${within}input[name=key]`;
  const href = element.getAttribute("href");
  if (href) return `${within}a[href="${CSS.escape(href)}"]`;
  return element.classList.contains("table-box") ? ".table-box" : "";
}

function connect() {
  clearTimeout(reconnecting);
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  let mine;
  try {
    mine = new WebSocket(`${scheme}//${location.host}${live.dataset.socket}`);
  } catch {
    return;
  }
  socket = mine;
  mine.addEventListener("open", () => {
    attempts = 0;
    soon();
  });
  mine.addEventListener("message", (event) => {
    if (!event.data.includes('"kind":"heartbeat"') && !event.data.includes('"kind": "heartbeat"')) soon();
  });
  mine.addEventListener("close", ({ code }) => {
    if (socket !== mine) return; // we have let it go
    const wait = code === SERVICE_RESTART ? RESTART_DELAY_MS : RECONNECT_MS[Math.min(attempts, RECONNECT_MS.length - 1)];
    attempts += 1;
    reconnecting = setTimeout(connect, wait * (0.5 + Math.random())); // not all at once
    schedule(POLL_MS);
  });
}

function back() {
  if (socket === null) connect();
  soon();
}

function away() {
  const mine = socket;
  socket = null;
  clearTimeout(reconnecting);
  clearTimeout(timer);
  mine?.close();
  say("Paused.");
}

live.addEventListener("change", (event) => {
  if (event.target.id !== "fleet-all") return;
  for (const box of live.querySelectorAll("input[name=key]")) box.checked = event.target.checked;
});
back();
whileSeen({ back, away });
