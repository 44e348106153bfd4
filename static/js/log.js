// Shows a log while it is being written.

import { PAUSED } from "./events.js";
import { written } from "./local-times.js";

const MOST_LINES = 2_000;
const AT_END_PX = 40;

/** Returns append(event). The log stays at its end unless the reader has scrolled away from it. */
export function logInto(list) {
  const template = document.getElementById("log-line").content.firstElementChild;
  let isScrolling = false;
  list.scrollTop = list.scrollHeight;

  return function append(event) {
    const line = template.cloneNode(true);
    const [time, text] = line.children;
    const moment = new Date(event.at);
    line.classList.add(`line-${event.level}`, `line-${event.kind}`);
    line.dataset.seq = event.seq;
    time.dateTime = event.at;
    time.textContent = written(moment, "log");
    text.textContent = event.message;
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < AT_END_PX;
    list.querySelector(".log-empty:only-child")?.remove();
    list.append(line);
    if (list.childElementCount > MOST_LINES) list.firstElementChild.remove();
    if (isAtEnd && !isScrolling) {
      isScrolling = true;
      requestAnimationFrame(() => {
        isScrolling = false;
        list.scrollTop = list.scrollHeight;
      });
    }
  };
}

/** Returns show(name, isLive), which says how the log arrives. */
export function transportInto(element) {
  return function show(name, isLive) {
    const [state, words] = !name
      ? ["over", "complete"]
      : name === PAUSED
        ? ["waiting", "paused"]
        : isLive
          ? ["live", `live via ${name}`]
          : ["waiting", `connecting via ${name} …`];
    element.dataset.state = state;
    element.textContent = words;
  };
}
