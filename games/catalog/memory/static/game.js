"use strict";
// Memory: the cards, the rules, the clock, the scores and what a screen reader announces.
(function () {
  const PICTURES = globalThis.MemoryPictures;
  const TURN_BACK_MS = 1000;
  const GAP = 0.1; // between cards, as a fraction of a card's width
  const TALL = 1.12; // a card's height, as a multiple of its width

  const $ = (id) => document.getElementById(id);
  const [grid, stage, panel, news] = ["cards", "stage", "panel", "news"].map($);
  const sizes = [...document.querySelectorAll('input[name="cards"]')];

  let cards, open, moves, found, state, columns, focused;
  let playedMs, since; // the time played before the last pause, and when play resumed
  let turnBack, reveal, newsTimer, ticking;
  let scores = { 12: [], 16: [], 24: [] };

  const count = () => Number(sizes.find((size) => size.checked).value);
  const plural = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  const seconds = () => Math.floor((playedMs + (since === undefined ? 0 : performance.now() - since)) / 1000);

  // --- What people see and hear

  function say(text) {
    // One message at a time, after a short delay: a later message replaces it.
    clearTimeout(newsTimer);
    newsTimer = setTimeout(() => { news.textContent = text; }, 120);
  }

  function label(card) {
    const place = `Row ${Math.floor(card.index / columns) + 1}, column ${(card.index % columns) + 1}`;
    const shows = { down: "face down", up: card.picture, found: `${card.picture}, found` }[card.side];
    card.button.setAttribute("aria-label", `${place}, ${shows}`);
  }

  function turn(card, side) {
    card.side = side;
    card.button.dataset.side = side;
    // A face-down picture is not in the page at all, so nobody can look it up early.
    card.button.querySelector("svg").innerHTML = side === "down" ? "" : PICTURES[card.picture];
    label(card);
  }

  function showNumbers() {
    $("moves").textContent = moves;
    $("pairs").textContent = `${found}/${cards.length / 2}`;
    $("time").textContent = clock(seconds());
    Object.assign(grid.dataset, { state, moves, found });
    document.body.dataset.state = state;
    $("pause").disabled = !["playing", "paused"].includes(state);
    $("pause-label").textContent = state === "paused" ? "Resume" : "Pause";
  }

  function showPanel(headline, message, button, stars = 0) {
    $("headline").textContent = headline;
    $("message").textContent = message;
    $("go").textContent = button;
    $("stars").hidden = !stars;
    $("stars").setAttribute("aria-label", `${stars} of 3 stars`);
    const star = (full) => `<svg viewBox="0 0 24 24" data-full="${full}"><path d="M12 2.5l2.9 6.300 6.900.8-5.100 4.700 1.400 6.800L12 17.700l-6.100 3.400 1.400-6.800L2.200 9.600l6.900-.8z"/></svg>`;
    $("stars").innerHTML = [1, 2, 3].map((number) => star(number <= stars)).join("");
    panel.hidden = false;
    grid.inert = true;
    $("go").focus({ preventScroll: true });
  }

  function hidePanel() {
    panel.hidden = true;
    grid.inert = false;
  }

  function showScores() {
    const list = scores[count()].slice(0, 5);
    $("no-games").hidden = list.length > 0;
    $("best-games").replaceChildren(...list.map((one) => {
      const item = document.createElement("li");
      const result = document.createElement("strong");
      result.textContent = plural(one.moves, "move");
      item.append(result, `, ${clock(one.seconds)}`);
      return item;
    }));
  }

  // --- The course of a game

  function shuffled(list) {
    for (let last = list.length - 1; last > 0; last--) {
      const other = Math.floor(Math.random() * (last + 1));
      [list[last], list[other]] = [list[other], list[last]];
    }
    return list;
  }

  function deal() {
    clearTimeout(turnBack);
    clearTimeout(reveal);
    const pictures = shuffled(Object.keys(PICTURES)).slice(0, count() / 2);
    cards = shuffled([...pictures, ...pictures]).map((picture, index) => ({ picture, index }));
    grid.replaceChildren(...cards.map(make));
    open = [];
    moves = found = playedMs = 0;
    since = undefined;
    focused = 0;
    state = "ready";
    hidePanel();
    fit();
    cards.forEach((card) => turn(card, "down"));
    showNumbers();
    showScores();
    focusCard(0, false);
  }

  function make(card) {
    card.button = document.createElement("button");
    card.button.type = "button";
    card.button.className = "card";
    card.button.style.setProperty("--delay", `${card.index * 22}ms`);
    card.button.innerHTML =
      '<span class="sides" aria-hidden="true"><span class="back"></span><span class="face"><svg viewBox="0 0 48 48"></svg></span></span>';
    card.button.addEventListener("click", () => flip(card));
    card.button.addEventListener("focus", () => focusCard(card.index, false));
    return card.button;
  }

  function closeOpen() {
    clearTimeout(turnBack);
    open.forEach((card) => turn(card, "down"));
    open = [];
  }

  function flip(card) {
    if (state !== "ready" && state !== "playing") return;
    if (open.length === 2) closeOpen(); // quick players need not wait
    if (card.side !== "down") return say(card.button.getAttribute("aria-label"));
    if (state === "ready") {
      state = "playing";
      since = performance.now();
      tick();
    }
    turn(card, "up");
    open.push(card);
    if (open.length === 1) say(card.picture);
    else compare(...open);
    showNumbers();
  }

  function compare(first, second) {
    moves += 1;
    if (first.picture !== second.picture) {
      say(`${second.picture}. Not a pair.`);
      turnBack = setTimeout(closeOpen, TURN_BACK_MS);
      return;
    }
    found += 1;
    turn(first, "found");
    turn(second, "found");
    open = [];
    if (found === cards.length / 2) win();
    else say(`${second.picture}. A pair, ${found} of ${cards.length / 2}.`);
  }

  function win() {
    playedMs += performance.now() - since;
    since = undefined;
    state = "won";
    const before = scores[count()][0];
    const now = { cards: count(), moves, seconds: seconds() };
    const record = !before || moves < before.moves || (moves === before.moves && now.seconds < before.seconds);
    const message = `${plural(moves, "move")} in ${clock(now.seconds)}` + (record ? ": the best yet!" : ".");
    const pairs = cards.length / 2;
    const stars = moves <= pairs * 1.5 ? 3 : moves <= pairs * 2.1 ? 2 : 1;
    say(`All pairs found. ${message}`);
    // Give the player a moment to see the last pair.
    reveal = setTimeout(() => showPanel("All pairs found", message, "Play again", stars), 900);
    ask({ method: "POST", body: JSON.stringify(now) });
  }

  function pause() {
    if (state !== "playing") return;
    playedMs += performance.now() - since;
    since = undefined;
    state = "paused";
    if (open.length === 2) closeOpen();
    showNumbers();
    showPanel("Paused", "The cards wait, and so does the clock.", "Resume");
    say("Paused");
  }

  function resume() {
    state = "playing";
    since = performance.now();
    hidePanel();
    showNumbers();
    focusCard(focused);
    tick();
  }

  function tick() {
    clearInterval(ticking);
    ticking = setInterval(() => {
      if (state === "playing") $("time").textContent = clock(seconds());
      else clearInterval(ticking);
    }, 250);
  }

  // --- Scores: if the server can't be reached, the game goes on without them

  async function ask(options) {
    try {
      // A body without an explicit content type needs no preflight.
      const answer = await fetch("api/scores", options);
      if (answer.ok) scores = (await answer.json()).scores;
      showScores();
    } catch {
      // Offline: the game works without a list.
    }
  }

  // --- Size, keys, buttons

  /** Choose the number of columns that makes the cards largest. */
  function fit() {
    const { width, height } = stage.getBoundingClientRect();
    let size = 0;
    for (const candidate of [3, 4, 5, 6, 8].filter((number) => cards.length % number === 0)) {
      const rows = cards.length / candidate;
      const fits = Math.min(
        width / (candidate + GAP * (candidate - 1)),
        height / (rows * TALL + GAP * (rows - 1)),
        150,
      );
      if (fits > size) [size, columns] = [fits, candidate];
    }
    grid.style.setProperty("--columns", columns);
    grid.style.setProperty("--side", `${Math.floor(size)}px`);
    grid.dataset.columns = columns;
    grid.setAttribute("aria-label", `Cards, ${cards.length / columns} rows of ${columns}`);
    cards.forEach((card) => { if (card.side) label(card); });
  }

  function focusCard(index, move = true) {
    // One Tab stop for all cards; the arrow keys move between them.
    focused = index;
    cards.forEach((card) => { card.button.tabIndex = card.index === index ? 0 : -1; });
    if (move) cards[index].button.focus({ preventScroll: true });
  }

  grid.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const row = Math.floor(focused / columns);
    const next = {
      ArrowLeft: focused - 1, ArrowRight: focused + 1, ArrowUp: focused - columns, ArrowDown: focused + columns,
      Home: row * columns, End: row * columns + columns - 1,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
    const inside = next >= 0 && next < cards.length && !(sideways && Math.floor(next / columns) !== row);
    if (inside) focusCard(next);
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.code === "KeyP" || event.code === "Escape") {
      if (state === "paused") resume();
      else pause();
    } else if (event.code === "KeyN") {
      newGame();
    }
  });

  function newGame() {
    deal();
    focusCard(0);
    say("New cards dealt.");
  }

  $("pause").addEventListener("click", () => (state === "paused" ? resume() : pause()));
  $("deal").addEventListener("click", newGame);
  $("go").addEventListener("click", () => (state === "paused" ? resume() : newGame()));
  for (const size of sizes) {
    size.addEventListener("change", () => {
      deal();
      say(`${size.value} cards dealt.`);
    });
  }
  document.addEventListener("visibilitychange", () => { if (document.hidden) pause(); });
  // A frame must not take the focus by itself; when it gets the focus, pass it on to the cards.
  window.addEventListener("focus", () => { if (document.activeElement === document.body && panel.hidden) focusCard(focused); });
  new ResizeObserver(fit).observe(stage);

  deal();
  focusCard(0);
  ask();
})();
