// Keeps the parts of a page marked `data-live` as the server would render them now.

import { localize } from "./local-times.js";
import { isSeen } from "./sight.js";

const LEAST_GAP_MS = 250;
const PATIENCE_MS = 15_000;
const AGAIN_MS = 2_000;

/**
 * Returns show(html), which replaces the parts of the page that are in it and differ. Calls onChange(part) for each.
 * A part whose HTML is the same stays untouched, with its focus, its scroll position and the game in it.
 */
export function shownParts(onChange = () => {}) {
  const shown = new Map(all(document).map((part) => [part.dataset.live, part.outerHTML]));

  return function show(text) {
    for (const part of all(new DOMParser().parseFromString(text, "text/html"))) {
      const key = part.dataset.live;
      const html = part.outerHTML;
      const old = document.querySelector(`[data-live="${CSS.escape(key)}"]`);
      if (!old || shown.get(key) === html) continue;
      shown.set(key, html);
      const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
      localize(part);
      old.replaceWith(part);
      if (focused) document.getElementById(focused)?.focus();
      onChange(part);
    }
  };
}

/**
 * Returns refresh(), which you may call as often as you like. Calls onChange(part) for each part that it replaced.
 * While nobody sees the page nothing is asked for: what was wanted meanwhile comes when it is seen again.
 */
export function liveParts(url, onChange = () => {}, gap = LEAST_GAP_MS, show = shownParts(onChange)) {
  let timer = 0;
  let isBusy = false;
  let isWanted = false;
  let pause = 0; // the first refresh starts at once

  function refresh() {
    isWanted = true;
    if (!isBusy && !timer && isSeen()) timer = setTimeout(load, pause);
  }

  async function load() {
    timer = 0;
    if (!isSeen()) return;
    isBusy = true;
    isWanted = false;
    pause = gap;
    try {
      const answer = await fetch(url, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!answer.ok) throw new Error(answer.statusText);
      show(await answer.text());
    } catch {
      // Try again: after the last event of a run, nothing else would fetch what that event changed.
      isWanted = true;
      pause = Math.max(gap, AGAIN_MS);
    }
    isBusy = false;
    if (isWanted) refresh();
  }

  document.addEventListener("visibilitychange", () => isWanted && refresh());
  return refresh;
}

const all = (root) => [...root.querySelectorAll("[data-live]")];

/** Calls `refresh` every `everyMs` while the page is visible, and at once when it becomes visible again. */
export function whileVisible(refresh, everyMs) {
  setInterval(() => isSeen() && refresh(), everyMs);
  document.addEventListener("visibilitychange", () => isSeen() && refresh());
}
