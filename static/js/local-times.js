// Turns the server's UTC times into the visitor's local time.

const STYLES = {
  time: { hour: "2-digit", minute: "2-digit" },
  hour: { hour: "2-digit", minute: "2-digit" },
  log: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
  day: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
};
const DAY_MS = 86_400_000;

export function localize(root) {
  for (const element of root.querySelectorAll("[data-local]")) {
    const moment = new Date(element.getAttribute("datetime") ?? element.dataset.at);
    if (Number.isNaN(moment.getTime())) continue;
    element.textContent = written(moment, element.dataset.local);
    if (element.localName === "time") element.title = moment.toLocaleString(undefined, { timeZoneName: "short" });
  }
}

export function written(moment, style) {
  const isOld = style === "time" && Date.now() - moment > DAY_MS;
  return moment.toLocaleString(undefined, STYLES[isOld ? "day" : style] ?? STYLES.time);
}
