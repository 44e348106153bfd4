// Puts the live parts of a page in, as the server would render them now, and restores what the operator was working with:
// ticks, what was typed, focus, and scroll positions. A part that somebody is typing in waits until they are done.

const FLASH_MS = 1500;
const TYPED_IN = "input:not([type=checkbox]):not([type=hidden]), textarea, select";

const parts = (root) => [...root.querySelectorAll("[data-live]")];
const shown = new Map(parts(document).map((part) => [part.dataset.live, plain(part)]));

/** Takes the HTML of a page, or of some of its parts. */
export function put(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  for (const news of parts(fresh)) {
    const key = news.dataset.live;
    const part = document.querySelector(`[data-live="${CSS.escape(key)}"]`);
    const text = plain(news);
    if (!part || shown.get(key) === text || isTypedIn(part)) continue;
    shown.set(key, text);
    replace(part, news);
  }
}

// Each page has other keys for its forms; those that were there first are as good.
function plain(part) {
  return part.innerHTML.replace(/(name="csrfmiddlewaretoken" value=")[^"]*/g, "$1");
}

function isTypedIn(part) {
  return part.contains(document.activeElement) && document.activeElement.matches(TYPED_IN);
}

function replace(part, news) {
  const focused = pathTo(document.activeElement, part);
  const boxes = [...part.querySelectorAll(".table-box")].map((box) => box.scrollLeft);
  keepForms(part, news);
  markChanges(part, news);
  part.replaceChildren(...document.adoptNode(news).childNodes);
  part.querySelectorAll(".table-box").forEach((box, index) => (box.scrollLeft = boxes[index] ?? 0));
  if (focused) part.querySelector(focused)?.focus({ preventScroll: true });
  part.dispatchEvent(new CustomEvent("live-put", { bubbles: true }));
}

function keepForms(part, news) {
  for (const old of part.querySelectorAll(`${TYPED_IN}, input[type=checkbox]`)) {
    const now = news.querySelector(same(old));
    if (!now) continue;
    if (old.classList.contains("action-select")) now.replaceWith(old); // Django's script counts the boxes it knows
    else if (old.type === "checkbox") now.checked = old.checked;
    else if (old.value !== (old.defaultValue ?? old.value)) now.value = old.value;
  }
  for (const old of part.querySelectorAll("details[open][id]")) news.querySelector(`#${CSS.escape(old.id)}`)?.setAttribute("open", "");
}

function same({ name, type, value, id }) {
  if (type === "checkbox" && name) return `input[type=checkbox][name="${CSS.escape(name)}"][value="${CSS.escape(value)}"]`;
  return id ? `#${CSS.escape(id)}` : `[name="${CSS.escape(name)}"]`;
}

// Marks rows that are new, and those of which something else is said. The mark is for this change only.
function markChanges(part, news) {
  const before = new Map(rows(part));
  for (const [key, mark, row] of rows(news)) {
    if (before.has(key) && before.get(key) === mark) continue;
    row.classList.add("is-changed");
    setTimeout(() => row.classList.remove("is-changed"), FLASH_MS);
  }
}

function rows(root) {
  return [...root.querySelectorAll("tr")].flatMap((row) => {
    const key = row.dataset.key ?? row.querySelector("a[href]")?.getAttribute("href");
    return key ? [[key, row.dataset.mark ?? "", row]] : [];
  });
}

// Returns a selector that finds the focused element again after it was replaced.
function pathTo(element, part) {
  if (!element || !part.contains(element)) return "";
  if (element.id) return `#${CSS.escape(element.id)}`;
  const row = element.closest("tr[data-key]");
  const within = row ? `tr[data-key="${CSS.escape(row.dataset.key)}"] ` : "";
  if (element.name) return `${within}${same(element)}`;
  const href = element.getAttribute("href");
  if (href) return `${within}a[href="${CSS.escape(href)}"]`;
  return element.classList.contains("table-box") ? ".table-box" : "";
}
