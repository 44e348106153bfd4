// Parts of a page that the server sends by itself over a WebSocket, when they have changed.

import { whileSeen } from "./sight.js";

const SILENCE_MS = 40_000; // the server sends something at least every 10 s
const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 30_000;
const SERVICE_RESTART = 1012; // another process serves already
const RESTART_DELAY_MS = 300;

/**
 * Calls show(html) with all parts whenever they have changed from those of `version`. Returns a function that says
 * whether the server can be heard. While nobody sees the page there is no connection.
 */
export function pushedParts(path, version, show) {
  let socket = null;
  let isHeard = false;
  let failures = 0;
  let again = 0;
  let silence = 0;

  function connect() {
    if (socket) return;
    clearTimeout(again);
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("seen", version);
    const mine = new WebSocket(url);
    socket = mine;
    lives(mine);
    mine.onmessage = (message) => {
      if (socket !== mine) return;
      lives(mine);
      isHeard = true;
      failures = 0;
      const told = JSON.parse(message.data);
      if (told.kind !== "parts") return;
      version = told.version;
      show(told.html);
    };
    mine.onclose = ({ code }) => socket === mine && lost(code === SERVICE_RESTART && isHeard);
  }

  function lives(mine) {
    clearTimeout(silence);
    silence = setTimeout(() => socket === mine && lost(), SILENCE_MS);
  }

  function lost(isRestart = false) {
    release();
    failures += isRestart ? 0 : 1;
    const delay = isRestart ? RESTART_DELAY_MS : Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures);
    again = setTimeout(connect, delay * (0.5 + Math.random())); // not all at once after the server's restart
  }

  function release() {
    clearTimeout(again);
    clearTimeout(silence);
    const mine = socket;
    socket = null;
    isHeard = false;
    mine?.close();
  }

  whileSeen({ back: connect, away: release });
  if (document.visibilityState === "visible") connect();
  return () => isHeard;
}
