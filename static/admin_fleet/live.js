// Keeps an operators' page up to date. When the orchestrator's socket says that something happened, the page is fetched
// again and its parts marked `data-live` are put in; without the socket, every few seconds. A page that nobody sees, or
// that was paused, holds no connection and asks for nothing.

import { isSeen, whileSeen } from "../js/sight.js";
import { put } from "./put.js";

const FETCH_GAP_MS = 1000; // a storm of events is one fetch a second
const GAP_PER_TIME_TAKEN = 4; // a page that takes long is asked for less often
const POLL_MS = 3000; // without the socket
const POLL_WITH_SOCKET_MS = 10000; // ages grow, and what DigitalOcean does is not in our log
const PATIENCE_MS = 15000;
const RECONNECT_MS = [1000, 2000, 5000, 10000];
const SERVICE_RESTART = 1012; // another process serves already
const RESTART_DELAY_MS = 300;

const bar = document.getElementById("live-bar");
let socket = null;
let attempts = 0;
let timer = 0;
let reconnecting = 0;
let fetchedAt = 0;
let gap = FETCH_GAP_MS;
let isFetching = false;
let isStale = false;
let isPaused = false;

function schedule(delay) {
  clearTimeout(timer);
  timer = setTimeout(refresh, delay);
}

function soon() {
  isStale = true;
  if (!isFetching && isSeen()) schedule(Math.max(0, fetchedAt + gap - Date.now()));
}

function isConnected() {
  return socket !== null && socket.readyState === WebSocket.OPEN;
}

async function refresh() {
  if (isFetching || isPaused || !isSeen()) return;
  isFetching = true;
  isStale = false;
  const began = Date.now();
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await fetch(bar.dataset.from, { credentials: "same-origin", signal });
    if (answer.redirected || answer.status === 403) throw new Error("You are signed out: reload the page.");
    if (answer.status === 404) throw new Error("It is not there any more.");
    if (!answer.ok) throw new Error(`The server answered ${answer.status}; trying again.`);
    const text = await answer.text();
    if (isPaused) return;
    put(text);
    say(isConnected() ? "Live." : "Live, refreshed every few seconds.");
  } catch (error) {
    if (isPaused) return;
    const isSilent = error instanceof TypeError || error.name === "TimeoutError";
    say(isSilent ? "The server does not answer; trying again." : error.message);
  } finally {
    fetchedAt = Date.now();
    gap = Math.max(FETCH_GAP_MS, GAP_PER_TIME_TAKEN * (fetchedAt - began));
    isFetching = false;
  }
  schedule(isStale ? gap : Math.max(gap, isConnected() ? POLL_WITH_SOCKET_MS : POLL_MS));
}

function say(text) {
  const place = document.getElementById("live-link");
  if (place.textContent !== text) place.textContent = text;
}

function connect() {
  clearTimeout(reconnecting);
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  let mine;
  try {
    mine = new WebSocket(`${scheme}//${location.host}${bar.dataset.socket}`);
  } catch {
    return;
  }
  socket = mine;
  mine.addEventListener("open", () => {
    attempts = 0;
    soon();
  });
  mine.addEventListener("message", (event) => {
    if (!/"kind": ?"heartbeat"/.test(event.data)) soon();
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
  if (isPaused) return;
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

function pauseOrFollow({ currentTarget }) {
  isPaused = !isPaused;
  currentTarget.textContent = isPaused ? "Follow" : "Pause";
  if (isPaused) away();
  else back();
}

if (bar) {
  bar.hidden = false;
  document.getElementById("live-pause").addEventListener("click", pauseOrFollow);
  back();
  whileSeen({ back, away });
}
