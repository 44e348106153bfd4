// Keeps the lobby up to date: every event of the orchestrator log may have changed the fleet.

import { follow } from "./events.js";
import { liveParts, whileVisible } from "./live.js";
import { logInto, transportInto } from "./log.js";

const GAP_MS = 1_000;
const AGAIN_MS = 10_000;

const log = document.getElementById("fleet-log");
const list = log.querySelector("[data-log]");
const refresh = liveParts("/live/", undefined, GAP_MS);
const append = logInto(list);
const mine = liveParts("/live/mine/", undefined, GAP_MS);
// The visitor's own games: who has none asks when they come back, from a launch in another tab.
const refreshMine = () => mine();

log.addEventListener("toggle", () => {
  if (log.open) list.scrollTop = list.scrollHeight;
});
follow({
  urls: { socket: "/ws/orchestrator/", stream: "/api/orchestrator/stream", poll: "/api/orchestrator/logs" },
  after: Number(log.dataset.after),
  onEvent(event) {
    append(event);
    refresh();
  },
  onState: transportInto(log.querySelector("[data-transport]")),
});
whileVisible(refresh, AGAIN_MS);
whileVisible(refreshMine, AGAIN_MS);
