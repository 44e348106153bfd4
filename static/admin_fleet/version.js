// Keeps the page of a version that is fetched or tried up to date: its state, its manifest, and its trial's log.

import { isSeen } from "../js/sight.js";

const POLL_MS = 2000;
const PATIENCE_MS = 15000;

async function refresh() {
  try {
    if (isSeen()) {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      const answer = await fetch(location.href, { credentials: "same-origin", signal });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("version-live");
      if (answer.ok && fresh) put(fresh);
    }
  } catch {
    // It is asked again: what is shown is what was known last.
  }
  if (document.getElementById("version-live").hasAttribute("data-waiting")) setTimeout(refresh, POLL_MS);
}

// The newest line stays in sight for who had it in sight. Nothing is taken from under somebody's hands.
function put(fresh) {
  const why = document.querySelector("#version-live form input[name=reason]");
  if (why && (why.value || why.form.contains(document.activeElement))) return;
  const before = document.querySelector("#version-live .table-box");
  const isAtEnd = !before || before.scrollTop + before.clientHeight >= before.scrollHeight - 4;
  document.getElementById("version-live").replaceWith(fresh);
  const box = fresh.querySelector(".table-box");
  if (box) box.scrollTop = isAtEnd ? box.scrollHeight : before.scrollTop;
}

setTimeout(refresh, POLL_MS);
