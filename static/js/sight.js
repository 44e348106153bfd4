// Whether somebody sees the page. One that nobody sees holds no connection and asks for nothing.

const HIDDEN_MS = 3_000; // a look at another tab and back costs nothing

export const isSeen = () => document.visibilityState === "visible";

/**
 * Calls away() when the page has been hidden for a while, is left or is frozen, and back() when it is seen again.
 * Calls away() at once on a page that was opened in the background. Stops when `signal` is aborted.
 */
export function whileSeen({ back, away, signal }) {
  let hiding = 0;

  function look() {
    clearTimeout(hiding);
    if (isSeen()) back();
    else hiding = setTimeout(away, HIDDEN_MS);
  }

  addEventListener("pagehide", away, { signal }); // browsers keep no page for the back button that holds a connection
  addEventListener("pageshow", look, { signal });
  document.addEventListener("freeze", away, { signal });
  document.addEventListener("resume", look, { signal });
  document.addEventListener("visibilitychange", look, { signal });
  signal?.addEventListener("abort", () => clearTimeout(hiding));
  if (!isSeen()) away();
}
