"use strict";
// Snake's page: keys, touch, the clock, the panel, the scores and what a screen reader announces.
(function () {
  const { Game, Drawing, DIRECTIONS, stepMs } = globalThis.Snake;
  const KEYS = {
    ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right",
    KeyW: "up", KeyS: "down", KeyA: "left", KeyD: "right",
  };
  const SWIPE_PIXELS = 22;
  const REST_AFTER_END_MS = 450; // keys still come in from the game that just ended

  const $ = (id) => document.getElementById(id);
  const [board, stage, panel, news] = ["board", "stage", "panel", "news"].map($);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const drawing = new Drawing($("canvas"));

  let game, state, elapsedMs, playedMs, lastFrame, frame, endedAt, newsTimer;
  let best = { walls: 0, wrap: 0 };
  let games = { walls: [], wrap: [] };

  const choice = (name) => panel.querySelector(`input[name="${name}"]:checked`).value;
  const byStep = () => choice("pace") === "step";

  // --- What people see and hear

  function say(text) {
    // One message at a time, after a short delay: a later message replaces it.
    clearTimeout(newsTimer);
    newsTimer = setTimeout(() => { news.textContent = text; }, 120);
  }

  function show(headline, message, button) {
    $("headline").textContent = headline;
    $("message").textContent = message;
    $("play").textContent = button;
    panel.hidden = false;
  }

  function publish() {
    const at = (field) => (field ? `${field.x},${field.y}` : "");
    Object.assign(board.dataset, {
      state, score: game.score, length: game.length, direction: game.direction,
      head: at(game.head), food: at(game.food), edges: choice("edges"), pace: choice("pace"),
    });
    $("score").textContent = game.score;
    $("best").textContent = Math.max(best[choice("edges")], game.score);
  }

  function enter(next) {
    state = next;
    document.body.dataset.state = next;
    $("pause").disabled = !["playing", "paused"].includes(next);
    $("pause-label").textContent = next === "paused" ? "Resume" : "Pause";
    publish();
    wake();
  }

  function whereabouts() {
    const way = game.toFood();
    const part = (steps, plus, minus) => (steps ? [`${Math.abs(steps)} ${steps > 0 ? plus : minus}`] : []);
    const apple = [...part(way.x, "right", "left"), ...part(way.y, "down", "up")].join(", ");
    const danger = game.deadly() ? " Danger ahead." : "";
    return `Column ${game.head.x + 1}, row ${game.head.y + 1}, heading ${game.direction}. Apple ${apple}.${danger}`;
  }

  function plural(number, word) {
    return `${number} ${word}${number === 1 ? "" : "s"}`;
  }

  function showGames() {
    const list = games[choice("edges")].slice(0, 5);
    $("no-games").hidden = list.length > 0;
    $("best-games").replaceChildren(...list.map((one) => {
      const item = document.createElement("li");
      const points = document.createElement("strong");
      points.textContent = plural(one.score, "point");
      const time = `${Math.floor(one.seconds / 60)}:${String(one.seconds % 60).padStart(2, "0")}`;
      item.append(points, ` ${one.pace === "step" ? "by step" : one.pace}, ${time}`);
      return item;
    }));
  }

  // --- The course of a game

  function newGame() {
    game = new Game({ walls: choice("edges") === "walls" });
    elapsedMs = playedMs = 0;
    show("Ready?", "Press an arrow key, or swipe.", "Play");
    enter("ready");
    showGames();
  }

  function play(direction) {
    if (state === "over" || state === "won") newGame();
    if (state === "ready") game.face(direction ?? "right");
    else if (direction) game.turn(direction);
    panel.hidden = true;
    lastFrame = undefined;
    elapsedMs = 0;
    enter("playing");
    board.focus({ preventScroll: true });
    say(byStep() ? whereabouts() : "Playing");
  }

  function pause() {
    if (state !== "playing") return;
    enter("paused");
    show("Paused", plural(game.score, "point") + " so far.", "Resume");
    say(`Paused. ${plural(game.score, "point")}. ${whereabouts()}`);
  }

  function steer(direction) {
    if (state === "playing" && byStep()) {
      if (direction === DIRECTIONS[game.direction].back) return say("The snake can't turn back.");
      game.turn(direction);
      return advance();
    }
    if (state === "playing") game.turn(direction);
    else if (state === "ready" || state === "paused") play(direction);
  }

  function advance() {
    const eaten = game.food;
    const what = game.step();
    if (what === "over" || what === "won") return end(what);
    if (what === "ate" && !calm.matches) drawing.spark(eaten, performance.now());
    if (byStep()) {
      elapsedMs = 0;
      say((what === "ate" ? `Eaten. ${plural(game.score, "point")}. ` : "") + whereabouts());
    } else if (what === "ate" && game.score % 5 === 0) {
      say(plural(game.score, "point"));
    }
    publish();
    wake();
  }

  function end(how) {
    const edges = choice("edges");
    const record = game.score > best[edges];
    best[edges] = Math.max(best[edges], game.score);
    endedAt = performance.now();
    const headline = how === "won" ? "You filled the board!" : "Game over";
    const message = plural(game.score, "point") + (record ? ": the best yet!" : `. The best is ${best[edges]}.`);
    enter(how);
    show(headline, message, "Play again");
    say(`${headline}. ${message}`);
    report();
  }

  // --- Scores: if the server can't be reached, the game goes on without them

  function receive(answer) {
    games = answer.scores;
    for (const edges of Object.keys(best)) best[edges] = Math.max(best[edges], answer.best[edges]);
    publish();
    showGames();
  }

  async function ask(options) {
    try {
      const answer = await fetch("api/scores", options);
      if (answer.ok) receive(await answer.json());
    } catch {
      // Offline: this page still has its own best score.
    }
  }

  function report() {
    const seconds = Math.min(86400, Math.round(playedMs / 1000));
    // A body without an explicit content type needs no preflight.
    const body = JSON.stringify({ score: game.score, seconds, edges: choice("edges"), pace: choice("pace") });
    return ask({ method: "POST", body });
  }

  // --- The clock

  function wake() {
    frame ??= requestAnimationFrame(tick);
  }

  function tick(now) {
    frame = undefined;
    let part = 1;
    if (state === "playing") {
      const passed = Math.min(now - (lastFrame ?? now), 250);
      playedMs += passed;
      lastFrame = now;
      if (!byStep()) {
        elapsedMs += passed;
        const step = stepMs(choice("pace"), game.score);
        if (elapsedMs >= step) {
          elapsedMs = Math.min(elapsedMs - step, step);
          advance();
        }
        part = calm.matches ? 1 : Math.min(1, elapsedMs / step);
      }
    }
    drawing.draw(game, part, now);
    // By step nothing moves by itself, but the time still counts.
    if (state === "playing" || drawing.busy) wake();
  }

  function fit() {
    const { width, height } = stage.getBoundingClientRect();
    drawing.resize(Math.floor(Math.min(width, height)) - 2 * board.clientLeft);
    wake();
  }

  // --- Keys, pointers, buttons

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const direction = KEYS[event.code];
    const onRadio = event.target.matches?.("input");
    const onButton = event.target.matches?.("button");
    if (direction) {
      if (onRadio && event.code.startsWith("Arrow")) return;
      event.preventDefault();
      if (!event.repeat || byStep()) steer(direction);
    } else if (event.repeat) {
      if (event.code === "Space" && !onButton) event.preventDefault();
    } else if (event.code === "KeyP" || event.code === "Escape") {
      if (state === "paused") play();
      else pause();
    } else if (event.code === "KeyR") {
      newGame();
      board.focus({ preventScroll: true });
    } else if ((event.code === "Space" || event.code === "Enter") && !onButton && !onRadio) {
      event.preventDefault();
      if (state === "playing") { if (event.code === "Space") pause(); }
      else if (!(performance.now() - endedAt < REST_AFTER_END_MS)) play();
    }
  });

  let touch = null;
  stage.addEventListener("pointerdown", (event) => {
    touch = { id: event.pointerId, x: event.clientX, y: event.clientY };
    if (state === "playing") board.focus({ preventScroll: true });
  });
  document.addEventListener("pointermove", (event) => {
    if (touch?.id !== event.pointerId) return;
    const [x, y] = [event.clientX - touch.x, event.clientY - touch.y];
    if (Math.max(Math.abs(x), Math.abs(y)) < SWIPE_PIXELS) return;
    // Start again from here, so a finger that stays down can turn any number of times.
    touch.x = event.clientX;
    touch.y = event.clientY;
    if (Math.abs(x) > Math.abs(y)) steer(x > 0 ? "right" : "left");
    else steer(y > 0 ? "down" : "up");
  });
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { touch = null; });

  for (const button of document.querySelectorAll("[data-turn]")) {
    button.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // at once, and without taking the focus from the board
      steer(button.dataset.turn);
    });
    button.addEventListener("click", (event) => {
      if (event.detail === 0) steer(button.dataset.turn); // a click by keyboard or screen reader
    });
  }

  // Not a form: in a sandboxed frame the browser would refuse to submit it.
  $("play").addEventListener("click", () => play());
  panel.addEventListener("change", () => {
    // Other edges or another pace mean a new game.
    const was = state;
    newGame();
    if (was === "paused") say("New game.");
  });
  $("pause").addEventListener("click", () => (state === "paused" ? play() : pause()));
  $("restart").addEventListener("click", () => {
    newGame();
    board.focus({ preventScroll: true });
    say("New game. " + $("message").textContent);
  });
  document.addEventListener("visibilitychange", () => { if (document.hidden) pause(); });
  window.addEventListener("blur", () => { if (!byStep()) pause(); });
  // A frame must not take the focus by itself; when it gets the focus, pass it on to the board.
  window.addEventListener("focus", () => {
    if (document.activeElement === document.body) board.focus({ preventScroll: true });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    drawing.readColors();
    wake();
  });
  new ResizeObserver(fit).observe(stage);

  newGame();
  fit();
  board.focus({ preventScroll: true });
  ask();
})();
