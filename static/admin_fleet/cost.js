// Says what an edit will cost while it is being typed. The server reckons; without JavaScript it asks before it saves what
// costs notably more.

const QUIET_MS = 300;
const PATIENCE_MS = 10000;

const hint = document.getElementById("cost-hint");
const form = hint.closest("form");
let timer = 0;
let asked = 0;

async function ask() {
  asked += 1;
  const mine = asked;
  const data = new FormData(form);
  data.delete("csrfmiddlewaretoken"); // not for addresses
  data.delete("reason");
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await fetch(`${hint.dataset.url}?${new URLSearchParams(data)}`, { credentials: "same-origin", signal });
    const text = answer.ok && !answer.redirected ? await answer.text() : "";
    if (mine === asked) hint.textContent = text;
  } catch {
    if (mine === asked) hint.textContent = "";
  }
}

form.addEventListener("input", ({ target }) => {
  if (target.name === "reason") return;
  clearTimeout(timer);
  timer = setTimeout(ask, QUIET_MS);
});
