// Keeps the lobby up to date. What is the same for everybody is sent by the server when it has changed, once a second
// at most; the orchestrator's log is read only while it is open.

import { follow } from "./events.js";
import { liveParts, shownParts, whileVisible } from "./live.js";
import { logInto, transportInto } from "./log.js";
import { pushedParts } from "./pushed.js";
import { isSeen } from "./sight.js";

const GAP_MS = 1_000;
const AGAIN_MS = 10_000;

const show = shownParts();
const refresh = liveParts("/live/", undefined, GAP_MS, show);
const refreshMine = liveParts("/live/mine/", undefined, GAP_MS, show);
const log = document.getElementById("fleet-log");
const list = log.querySelector("[data-log]");
const append = logInto(list);
const isPushed = pushedParts("/ws/lobby/", document.querySelector("[data-lobby]").dataset.lobby, show);

// Where no socket opens, ask.
whileVisible(() => isPushed() || refresh(), AGAIN_MS);

// The visitor's own games change as long as one is on, or when they come back from a launch.
const isPlaying = () => document.querySelector('[data-live="mine"] .run-row:not(.run-ended, .run-failed)');
setInterval(() => isSeen() && isPlaying() && refreshMine(), AGAIN_MS);
document.addEventListener("visibilitychange", () => isSeen() && refreshMine());
addEventListener("pageshow", (event) => event.persisted && refreshMine());

let after = Number(log.dataset.after);
let stop = () => {};

function read() {
  stop();
  if (!log.open) return;
  list.scrollTop = list.scrollHeight;
  stop = follow({
    urls: { socket: "/ws/orchestrator/", stream: "/api/orchestrator/stream", poll: "/api/orchestrator/logs" },
    after,
    onEvent(event) {
      after = event.seq;
      append(event);
    },
    onState: transportInto(log.querySelector("[data-transport]")),
  });
}
log.addEventListener("toggle", read);
read();
