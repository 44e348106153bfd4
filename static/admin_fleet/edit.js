// Says what an edit will cost while it is being typed, and that somebody else was quicker. Without JavaScript the server
// says both before it saves.

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

const edition = () => document.getElementById("edition")?.dataset.edition;
const opened = edition();

document.addEventListener("live-put", () => {
  document.getElementById("changed-since").hidden = edition() === opened;
});

form.addEventListener("input", ({ target }) => {
  if (target.name === "reason") return;
  clearTimeout(timer);
  timer = setTimeout(ask, QUIET_MS);
});
