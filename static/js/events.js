// Reads a log from its cursor on: by WebSocket, or else by server-sent events, or else by polling.
// Whatever breaks, it continues after the last event it saw, so no event is missed or comes twice.

const WAYS = [
  { name: "WebSocket", open: bySocket },
  { name: "event stream", open: byStream },
  { name: "polling", open: byPolling },
];
const SILENCE_MS = 40_000; // the server sends something at least every 15 s, and at once on an event stream
const OPEN_MS = 6_000;
const GOOD_MS = 10_000;
const FIRST_DELAY_MS = 300;
const LONGEST_DELAY_MS = 15_000;
const POLL_SECONDS = 25;
const POLLING_MS = 60_000; // then try the better ways again
const KINDS = ["message", "log", "status", "progress", "ready", "end", "heartbeat"];

/**
 * urls: { socket, stream, poll }; after: the last number already shown; onEvent(event); onState(name, isLive).
 * Stops by itself after an `end` event. Returns a function that stops it earlier.
 */
export function follow({ urls, after = 0, onEvent, onState = () => {} }) {
  let cursor = after;
  let way = 0;
  let failures = 0;
  let attempt = null;
  let timer = 0;
  let isOver = false;

  function connect() {
    clearTimeout(timer);
    const began = Date.now();
    const mine = { isOpen: false, isHeard: false, isNew: false, close: () => {} };
    attempt = mine;
    let silence = 0;
    const isCurrent = () => attempt === mine && !isOver;

    function lives(limit = SILENCE_MS) {
      clearTimeout(silence);
      silence = setTimeout(lost, limit);
    }
    function lost() {
      if (!isCurrent()) return;
      attempt = null;
      clearTimeout(silence);
      mine.close();
      const wasGood = mine.isNew || (mine.isHeard && Date.now() - began > GOOD_MS);
      failures = wasGood ? 0 : failures + 1;
      way = wasGood ? 0 : (way + 1) % WAYS.length;
      onState(WAYS[way].name, false);
      const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures);
      timer = setTimeout(connect, delay * (0.5 + Math.random()));
    }
    function opened() {
      if (!isCurrent()) return;
      lives();
      if (!mine.isOpen) onState(WAYS[way].name, true);
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
    onState(WAYS[way].name, false);
    lives(OPEN_MS);
    mine.close = WAYS[way].open(urls, () => cursor, { opened, heard, came, lost });
  }

  function stop() {
    isOver = true;
    clearTimeout(timer);
    removeEventListener("online", retry);
    attempt?.close();
    onState("", false);
  }
  function retry() {
    if (attempt === null && !isOver) connect();
  }

  addEventListener("online", retry);
  connect();
  return stop;
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

function byPolling(urls, cursor, { heard, came, lost }) {
  const ending = new AbortController();
  const until = Date.now() + POLLING_MS;
  async function poll() {
    let wait = 0; // the first answer comes at once, which shows that this way works
    while (Date.now() < until) {
      const url = new URL(urls.poll, location.href);
      url.searchParams.set("after", cursor());
      url.searchParams.set("wait", wait);
      const answer = await fetch(url, { signal: ending.signal, headers: { Accept: "application/json" } });
      if (!answer.ok) return lost();
      const { events } = await answer.json();
      heard();
      events.forEach(came);
      wait = POLL_SECONDS;
    }
    lost();
  }
  poll().catch(lost);
  return () => ending.abort();
}
