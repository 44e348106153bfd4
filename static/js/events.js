// Reads a log from its cursor on: by WebSocket, or else by server-sent events, or else by polling.
// Whatever breaks, it continues after the last event it saw, so no event is missed or comes twice.
// A browser has six connections for all pages of a site. So a page that nobody sees holds none, and of those that are
// seen two at most hold one open; the others ask shortly until a place comes free.

import { whileSeen } from "./sight.js";

const WAYS = [
  { name: "WebSocket", open: bySocket }, // not among the six
  { name: "event stream", open: byStream, needsPlace: true },
  { name: "polling", open: byWaiting, needsPlace: true },
];
const SHORTLY = { name: "polling", open: byAsking };
const PLACES = ["event-stream-1", "event-stream-2"];
const SILENCE_MS = 40_000; // the server sends something at least every 15 s, and at once on an event stream
const OPEN_MS = 6_000;
const GOOD_MS = 10_000;
const SERVICE_RESTART = 1012; // another process serves already: nothing is wrong with this way
const FIRST_DELAY_MS = 300;
const LONGEST_DELAY_MS = 15_000;
const POLL_SECONDS = 25;
const ASK_MS = 2_000;
const POLLING_MS = 60_000; // then try the better ways again
export const PAUSED = "paused";
const KINDS = ["message", "log", "status", "progress", "ready", "end", "heartbeat"];

/**
 * urls: { socket, stream, poll }; after: the last number already shown; onEvent(event); onState(name, isLive).
 * onState is told PAUSED as the name while nobody sees the page, and "" after the end.
 * Stops by itself after an `end` event. Returns a function that stops it earlier.
 */
export function follow({ urls, after = 0, onEvent, onState = () => {} }) {
  let cursor = after;
  let way = 0;
  let failures = 0;
  let attempt = null;
  let timer = 0;
  let isOver = false;
  let isAway = false;

  async function connect() {
    clearTimeout(timer);
    const began = Date.now();
    const mine = { way: WAYS[way], isOpen: false, isHeard: false, isNew: false, close: () => {} };
    attempt = mine;
    let leave = mine.way.needsPlace ? await takePlace() : () => {};
    if (!leave) {
      mine.way = SHORTLY;
      leave = whenPlaceIsFree(again);
    }
    let silence = 0;
    const isCurrent = () => attempt === mine && !isOver;

    function lives(limit = SILENCE_MS) {
      clearTimeout(silence);
      silence = setTimeout(lost, limit);
    }
    function lost(closed) {
      if (!isCurrent()) return;
      attempt = null;
      mine.close();
      const isRestart = mine.isOpen && closed?.code === SERVICE_RESTART;
      const wasGood = isRestart || mine.isNew || (mine.isHeard && Date.now() - began > GOOD_MS);
      failures = wasGood ? 0 : failures + 1;
      way = wasGood ? 0 : (way + 1) % WAYS.length;
      onState(mine.way.name, false);
      const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures);
      timer = setTimeout(connect, delay * (0.5 + Math.random()));
    }
    function again() {
      if (!isCurrent()) return;
      release();
      connect();
    }
    function opened() {
      if (!isCurrent()) return;
      lives();
      if (!mine.isOpen) onState(mine.way.name, true);
      mine.isOpen = true;
    }
    function heard() {
      opened();
      mine.isHeard = true;
    }
    function came(event) {
      heard();
      if (!isCurrent()) return;
      if (!(event.seq > cursor)) return;
      cursor = event.seq;
      mine.isNew = true;
      onEvent(event);
      if (event.kind === "end") stop();
    }
    if (!isCurrent()) return leave(); // gone while it asked for a place
    onState(mine.way.name, false);
    lives(OPEN_MS);
    const close = mine.way.open(urls, () => cursor, { opened, heard, came, lost });
    mine.close = () => {
      clearTimeout(silence);
      close();
      leave();
    };
  }

  function release() {
    clearTimeout(timer);
    const mine = attempt;
    attempt = null;
    mine?.close();
  }
  function stop() {
    isOver = true;
    watching.abort();
    release();
    onState("", false);
  }
  function retry() {
    if (attempt === null && !isOver && !isAway) connect();
  }
  function away() {
    isAway = true;
    release();
    onState(PAUSED, false);
  }
  function back() {
    isAway = false;
    failures = 0;
    retry();
  }

  const watching = new AbortController();
  addEventListener("online", retry, { signal: watching.signal });
  whileSeen({ back, away, signal: watching.signal });
  retry();
  return stop;
}

/** Resolves to the function that gives the place back, or to null when none is free or the browser has no locks. */
async function takePlace() {
  if (!navigator.locks) return null;
  for (const place of PLACES) {
    const leave = await new Promise((resolve) => {
      const hold = (lock) => lock ? new Promise((done) => resolve(done)) : resolve(null);
      navigator.locks.request(place, { ifAvailable: true }, hold).catch(() => resolve(null));
    });
    if (leave) return leave;
  }
  return null;
}

/** Calls `told` once, when a place comes free. Returns the function that waits no longer. */
function whenPlaceIsFree(told) {
  const waiting = new AbortController();
  const { signal } = waiting;
  for (const place of navigator.locks ? PLACES : []) {
    navigator.locks.request(place, { signal }, () => {}).then(
      () => signal.aborted || told(),
      () => {}, // it waits no longer
    );
  }
  return () => waiting.abort();
}

function bySocket(urls, cursor, { opened, came, lost }) {
  const url = new URL(urls.socket, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("after", cursor());
  const socket = new WebSocket(url);
  socket.onopen = opened;
  socket.onmessage = (message) => came(JSON.parse(message.data));
  socket.onclose = lost;
  return () => socket.close();
}

function byStream(urls, cursor, { came, lost }) {
  const url = new URL(urls.stream, location.href);
  url.searchParams.set("after", cursor());
  const source = new EventSource(url);
  // Not open until its first event comes: a proxy may pass on the headers and hold back the rest.
  source.onerror = lost; // its own reconnection does not back off
  for (const kind of KINDS) source.addEventListener(kind, (message) => came(JSON.parse(message.data)));
  return () => source.close();
}

function byWaiting(urls, cursor, told) {
  return byPolling(urls, cursor, told, { seconds: POLL_SECONDS, pause: 0 });
}

function byAsking(urls, cursor, told) {
  return byPolling(urls, cursor, told, { seconds: 0, pause: ASK_MS });
}

function byPolling(urls, cursor, { heard, came, lost }, { seconds, pause }) {
  const ending = new AbortController();
  const until = Date.now() + POLLING_MS;
  async function poll() {
    let wait = 0; // the first answer comes at once, which shows that this way works
    while (Date.now() < until && !ending.signal.aborted) {
      const url = new URL(urls.poll, location.href);
      url.searchParams.set("after", cursor());
      url.searchParams.set("wait", wait);
      // Not from the cache: there, browsers make equal questions of two pages wait for each other.
      const asked = { signal: ending.signal, headers: { Accept: "application/json" }, cache: "no-store" };
      const answer = await fetch(url, asked);
      if (!answer.ok) return lost();
      const { events } = await answer.json();
      heard();
      events.forEach(came);
      wait = seconds;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    lost();
  }
  poll().catch(lost);
  return () => ending.abort();
}
