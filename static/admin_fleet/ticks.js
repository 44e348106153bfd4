// The box that ticks all rows of a page, and the count of those ticked, also for rows that came while the page was open.

const FLEET_ALL = "fleet-all";
const LIST_ALL = "action-toggle"; // Django's own

function boxes(all) {
  return [...document.querySelectorAll(all === FLEET_ALL ? "input[name=key][type=checkbox]" : "input.action-select")];
}

function count() {
  const counter = document.querySelector("span.action-counter");
  const toggle = document.getElementById(LIST_ALL);
  if (!counter || !toggle) return;
  const all = boxes(LIST_ALL);
  const ticked = all.filter((box) => box.checked).length;
  counter.textContent = `${ticked} of ${all.length} selected`;
  toggle.checked = ticked > 0 && ticked === all.length;
}

document.addEventListener("change", ({ target }) => {
  if (target.id === FLEET_ALL || target.id === LIST_ALL) {
    for (const box of boxes(target.id)) box.checked = target.checked;
  }
  if (target.id === LIST_ALL || target.classList.contains("action-select")) count();
});
document.addEventListener("live-put", count);
