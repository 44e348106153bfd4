// One launch: its log and steps as they happen, the game with the focus as soon as it is ready, and the clock.

import { runClock } from "./clock.js";
import { follow } from "./events.js";
import { liveParts, whileVisible } from "./live.js";
import { logInto, transportInto } from "./log.js";

const AGAIN_MS = 4_000;
const PATIENCE_MS = 15_000;

const page = document.querySelector("[data-run]");
const run = page.dataset.run;
const append = logInto(page.querySelector("[data-log]"));
const announcer = page.querySelector("[data-announce]");
const toaster = page.querySelector("[data-toast]"); // the player's own
const title = document.title;
const show = transportInto(page.querySelector("[data-transport]"));
const refresh = liveParts(page.dataset.liveUrl, changed);
const tick = runClock({
  onLeft: (left) => (document.title = `${left < 60 ? `${left} s` : `${Math.ceil(left / 60)} min`} left – ${title}`),
  onSoon: (left) => toast(`${left} seconds left.`),
  onZero: () => refresh(),
});
let state = stage().dataset.state;
let isLive = false;
let isWindowFocused = document.hasFocus();
addEventListener("focus", () => (isWindowFocused = true));
addEventListener("blur", () => (isWindowFocused = false)); // for another window, or for the game

function stage() {
  return page.querySelector('[data-live="stage"]');
}

function say(words) {
  announcer.textContent = words;
}

/** Says something where the player looks, beside the button for more time while there is some to be had. */
function toast(words) {
  say(words);
  if (!toaster) return;
  toaster.querySelector("[data-toast-words]").textContent = words;
  const extend = document.getElementById("extend");
  document.getElementById("extend-soon").hidden = !extend || extend.disabled;
  toaster.hidden = false;
}

function hideToast() {
  if (!toaster || toaster.hidden) return;
  const hadFocus = toaster.contains(document.activeElement);
  toaster.hidden = true;
  if (hadFocus) document.getElementById("game-frame")?.focus({ preventScroll: true });
}

/** Returns whether the visitor is busy with something else on the page and keeps the focus. */
function isFocusElsewhere() {
  const active = document.activeElement;
  return active && active !== document.body && active.id !== "game-frame" && !active.closest("main[tabindex]:focus");
}

function focusGame() {
  const frame = document.getElementById("game-frame");
  if (!frame || isFocusElsewhere()) return;
  frame.focus({ preventScroll: true });
  // The frame can lose the focus while it loads. Browsers still call it focused, and only the window knows, so focus it
  // again. But never take the focus from a game that has it: the game would pause.
  const again = () => {
    if (isWindowFocused && !isFocusElsewhere()) {
      frame.blur();
      frame.focus({ preventScroll: true });
    }
  };
  frame.addEventListener("load", again, { once: true });
}

function changed(part) {
  tick();
  if (part.dataset.live !== "stage" || part.dataset.state === state) return;
  const wasPlaying = state === "running";
  state = part.dataset.state;
  if (state === "running") {
    say("The game is ready.");
    part.scrollIntoView({ block: "nearest" });
    focusGame();
  } else if (state === "ended" || state === "failed") {
    document.title = title;
    hideToast();
    say(part.querySelector("h2 + p").textContent);
    if (wasPlaying && !isFocusElsewhere()) document.getElementById("stage-title").focus({ preventScroll: true });
  }
}

// Ask in the background: a reload would throw away the running game.
document.getElementById("extend-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  if (form.hasAttribute("aria-busy")) return; // a double click counts once
  form.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new FormData(form),
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (answer.ok) {
      hideToast();
      say("You have more time.");
    } else {
      toast("This run can't get more time.");
    }
  } catch {
    toast("The server did not answer. Try again.");
  }
  form.removeAttribute("aria-busy");
  refresh();
});

if (state === "ended" || state === "failed") {
  show("", false); // the page has the whole log
} else {
  follow({
    urls: { socket: `/ws/runs/${run}/`, stream: `/api/stream/${run}`, poll: `/api/runs/${run}/events` },
    after: Number(page.dataset.after),
    onEvent(event) {
      append(event);
      if (event.kind !== "log") refresh();
    },
    onState(name, live) {
      isLive = live;
      show(name, live);
    },
  });
  // If no events come through, ask for the page's parts.
  whileVisible(() => isLive || refresh(), AGAIN_MS);
}
focusGame();
