// Counts down to the end of a game, and up while the player waits for it to start.

const SOON_SECONDS = 60;

/**
 * Ticks every second and calls onLeft(seconds) with what is left. Calls onSoon(seconds) once, in the last minute before
 * each end, and onZero() at the end.
 */
export function runClock({ onLeft, onSoon, onZero }) {
  const seen = new WeakMap();
  const told = new Map(); // by the end itself: the server sends a new element for the same one

  function tick() {
    for (const element of document.querySelectorAll("[data-countdown], [data-elapsed]")) {
      // The server's count of seconds, not its time: the visitor's clock may be wrong.
      if (!seen.has(element)) seen.set(element, Date.now());
      const passed = Math.floor((Date.now() - seen.get(element)) / 1000);
      if ("elapsed" in element.dataset) {
        element.textContent = spoken(Number(element.dataset.elapsed) + passed);
        continue;
      }
      const left = Math.max(0, Number(element.dataset.countdown) - passed);
      element.textContent = spoken(left);
      onLeft(left);
      if (!told.has(element.dateTime)) told.set(element.dateTime, { isSoon: false, isZero: false });
      const state = told.get(element.dateTime);
      if (left <= SOON_SECONDS && !state.isSoon) {
        state.isSoon = true;
        onSoon(left);
      }
      if (left <= SOON_SECONDS) element.closest(".clock").dataset.soon = "yes";
      if (left === 0 && !state.isZero) {
        state.isZero = true;
        onZero();
      }
    }
  }

  tick();
  setInterval(tick, 1000);
  return tick;
}

/** Returns seconds as people read them, in the server's format. */
export function spoken(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}
