"use strict";
// Tic-Tac-Toe: the board, the course of a game, the opponent's moves and what a screen reader announces.
(function () {
  const LINES = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]];
  const THINKING_MS = 420; // an instant answer feels rude
  const MARKS = {
    X: '<path pathLength="1" d="M26 26 74 74"/><path pathLength="1" class="second" d="M74 26 26 74"/>',
    O: '<path pathLength="1" d="M50 24a26 26 0 1 1-.01 0"/>',
  };
  const NAMES = { X: "cross", O: "nought" };

  const $ = (id) => document.getElementById(id);
  const [grid, news, statusLine] = ["board", "news", "status"].map($);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const choice = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
  const other = (player) => (player === "X" ? "O" : "X");

  let board, player, state, round = 0; // state: playing, thinking, paused, stuck, over
  let focused = 4, newsTimer, answered = null;
  let tally = null;

  const withFriend = () => choice("opponent") === "friend";
  const mine = () => withFriend() || player === choice("side");

  // --- The board

  const fields = Array.from({ length: 9 }, (_, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "field";
    button.innerHTML = '<svg viewBox="0 0 100 100" aria-hidden="true"></svg>';
    button.addEventListener("click", () => take(index));
    button.addEventListener("focus", () => focusField(index, false));
    return button;
  });
  const strike = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  strike.setAttribute("viewBox", "0 0 300 300");
  strike.setAttribute("class", "strike");
  strike.setAttribute("aria-hidden", "true");
  grid.append(...fields, strike);

  function outcome() {
    for (const line of LINES) {
      const [a, b, c] = line.map((index) => board[index]);
      if (a !== "." && a === b && a === c) return { winner: a, line };
    }
    return { winner: board.includes(".") ? null : "draw", line: null };
  }

  function paint(index) {
    const mark = board[index];
    const button = fields[index];
    const place = `Row ${Math.floor(index / 3) + 1}, column ${(index % 3) + 1}`;
    button.setAttribute("aria-label", `${place}, ${mark === "." ? "free" : `${mark}, ${NAMES[mark]}`}`);
    if (button.dataset.mark === mark) return;
    button.dataset.mark = mark;
    button.firstChild.innerHTML = MARKS[mark] ?? "";
  }

  function show(text, spoken = text) {
    statusLine.textContent = text;
    clearTimeout(newsTimer);
    newsTimer = setTimeout(() => { news.textContent = spoken; }, 120);
  }

  function enter(next) {
    state = next;
    document.body.dataset.state = next;
    Object.assign(grid.dataset, { state, board, player, opponent: choice("opponent") });
    grid.dataset.turn = state === "playing" && mine() ? player : "";
    $("pause").disabled = !["playing", "thinking", "paused"].includes(next);
    $("pause-label").textContent = next === "paused" ? "Resume" : "Pause";
    $("again").hidden = !["over", "stuck"].includes(next);
    $("again").textContent = next === "stuck" ? "Try again" : "Play again";
    grid.inert = next === "paused";
  }

  // --- The course of a game

  function newGame() {
    round += 1; // answers for an older game are ignored
    answered = null;
    board = ".........";
    player = "X";
    strike.replaceChildren();
    delete strike.dataset.winner;
    for (const field of fields) delete field.dataset.won;
    fields.forEach((_, index) => paint(index));
    $("sides").disabled = withFriend();
    showTally();
    next("New game. ");
  }

  /** Announce whose turn it is; if it is the computer's, let it think. */
  function next(before = "") {
    if (mine()) {
      enter("playing");
      show(withFriend() ? `${player} to move` : "Your move", `${before}${withFriend() ? `${player} to move.` : "Your move."}`);
    } else {
      enter("thinking");
      statusLine.textContent = "The computer is thinking…";
      think();
    }
  }

  function take(index) {
    if (state !== "playing") return;
    if (board[index] !== ".") return show("That square is taken", `That square is taken. ${fields[index].getAttribute("aria-label")}`);
    set(index);
  }

  function set(index) {
    const who = player;
    board = board.slice(0, index) + who + board.slice(index + 1);
    player = other(who);
    paint(index);
    const { winner, line } = outcome();
    if (winner) return end(winner, line);
    const place = `row ${Math.floor(index / 3) + 1}, column ${(index % 3) + 1}`;
    // Players know their own move; announce the opponent's.
    next(withFriend() || mine() ? `${withFriend() ? who : "Computer"}: ${place}. ` : "");
  }

  async function think() {
    const asked = round;
    const wait = new Promise((done) => setTimeout(done, calm.matches ? 0 : THINKING_MS));
    try {
      // A body without an explicit content type needs no preflight.
      const body = JSON.stringify({ board, level: choice("opponent") });
      const answer = await fetch("api/move", { method: "POST", body });
      if (!answer.ok) throw new Error(answer.status);
      const { move } = await answer.json();
      await wait;
      if (asked !== round) return;
      if (state === "thinking") set(move);
      else answered = move; // paused meanwhile: play it when the pause ends
    } catch {
      if (asked !== round) return;
      enter("stuck");
      show("The computer can't be reached");
    }
  }

  function end(winner, line) {
    if (line) drawStrike(line, winner);
    enter("over");
    const won = winner === choice("side");
    const most = choice("opponent") === "perfect" ? "A draw, the best you can get" : "A draw";
    if (winner === "draw") show("A draw", `${most}.`);
    else if (withFriend()) show(`${winner} wins!`);
    else show(won ? "You win!" : "The computer wins", won ? "You win!" : "The computer wins.");
    $("again").focus({ preventScroll: true });
    const result = winner === "draw" ? "drawn" : (withFriend() ? winner === "X" : won) ? "won" : "lost";
    ask({ method: "POST", body: JSON.stringify({ against: choice("opponent"), result }) });
  }

  function drawStrike(line, winner) {
    const center = (index) => [50 + 100 * (index % 3), 50 + 100 * Math.floor(index / 3)];
    const [[x1, y1], [x2, y2]] = [center(line[0]), center(line[2])];
    const beyond = (from, to) => to + Math.sign(to - from) * 34;
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("pathLength", "1");
    path.setAttribute("d", `M${beyond(x2, x1)} ${beyond(y2, y1)}L${beyond(x1, x2)} ${beyond(y1, y2)}`);
    strike.replaceChildren(path);
    strike.dataset.winner = winner;
    line.forEach((index) => { fields[index].dataset.won = "true"; });
  }

  function pause() {
    if (state !== "playing" && state !== "thinking") return;
    enter("paused");
    show("Paused");
  }

  function resume() {
    const move = answered;
    answered = null;
    if (mine()) return next();
    enter("thinking");
    statusLine.textContent = "The computer is thinking…";
    if (move !== null) set(move);
  }

  // --- Results: if the server can't be reached, the game goes on without them

  function showTally() {
    const results = tally?.[choice("opponent")] ?? { won: 0, lost: 0, drawn: 0 };
    const names = withFriend() ? { won: "X", drawn: "Draws", lost: "O" } : { won: "You", drawn: "Draws", lost: "Computer" };
    for (const row of $("tally").children) {
      row.firstElementChild.textContent = names[row.dataset.result];
      row.lastElementChild.textContent = results[row.dataset.result];
    }
  }

  async function ask(options) {
    try {
      const answer = await fetch("api/scores", options);
      if (answer.ok) ({ tally } = await answer.json());
      showTally();
    } catch {
      // Offline: two friends can still play.
    }
  }

  // --- Keys and buttons

  function focusField(index, move = true) {
    // One Tab stop for all squares; the arrow keys move between them.
    focused = index;
    fields.forEach((field, at) => { field.tabIndex = at === index ? 0 : -1; });
    if (move) fields[index].focus({ preventScroll: true });
  }

  grid.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [row, column] = [Math.floor(focused / 3), focused % 3];
    const to = {
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      Home: [row, 0], End: [row, 2],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    if (to.every((number) => number >= 0 && number < 3)) focusField(to[0] * 3 + to[1]);
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (/^[1-9]$/.test(event.key)) {
      focusField(Number(event.key) - 1, state === "playing");
      take(Number(event.key) - 1);
    } else if (event.code === "KeyP" || event.code === "Escape") {
      if (state === "paused") resume();
      else pause();
    } else if (event.code === "KeyN") {
      newGame();
      focusField(4);
    }
  });

  $("pause").addEventListener("click", () => (state === "paused" ? resume() : pause()));
  $("new").addEventListener("click", () => { newGame(); focusField(4); });
  $("again").addEventListener("click", () => {
    if (state === "stuck") return next();
    newGame();
    focusField(4);
  });
  for (const input of document.querySelectorAll('input[type="radio"]')) input.addEventListener("change", newGame);

  // A frame must not take the focus by itself; when it gets the focus, pass it on to the board.
  window.addEventListener("focus", () => { if (document.activeElement === document.body) focusField(focused); });

  newGame();
  focusField(4);
  ask();
})();
