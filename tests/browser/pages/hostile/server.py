"""A game that tries what a game must not be able to do; its page keeps what came of it in `window.outcome`."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = """<!doctype html><html lang="en"><title>Hostile</title><h1>Hostile</h1><script>
async function attempt(name, act) {
  try { window.outcome[name] = String(await act()); } catch (error) { window.outcome[name] = "refused: " + error.name; }
}
window.outcome = {};
window.disguise = () => {
  history.pushState({}, "", "/admin/login/");
  document.title = "Sandbox Arcade";
  return location.href;
};
window.done = (async () => {
  await attempt("origin", () => self.origin);
  await attempt("read cookie", () => document.cookie);
  await attempt("set cookie", () => { document.cookie = "stolen=1; path=/"; return document.cookie; });
  await attempt("storage", () => localStorage.length);
  await attempt("parent", () => parent === self ? "none" : parent.document.title);
  await attempt("lobby", async () => (await fetch("/", {credentials: "include"})).status);
  await attempt("api", async () => (await fetch("/api/pool/status", {credentials: "include"})).status);
  await attempt("launch", async () => (await fetch("/api/launch/cold", {method: "POST", credentials: "include",
    headers: {"Content-Type": "application/json"}, body: JSON.stringify({game: "hostile"})})).status);
  await attempt("headers", async () => (await fetch("headers")).text());
  await attempt("popup", () => String(window.open("/")));
  // In a tab of its own it is itself the top, and may go where it likes.
  if (parent !== self) await attempt("top", () => { top.location = "/stats/"; return "asked"; });
})();
</script>"""


class Game(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/headers":
            self.reply("application/json", json.dumps({name.lower(): value for name, value in self.headers.items()}))
        else:
            self.reply("text/html", PAGE)

    def reply(self, kind, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "sessionid=planted; Path=/")
        self.send_header("Set-Cookie", "visitor=planted; Path=/")
        self.send_header("Content-Security-Policy", "sandbox allow-same-origin allow-scripts allow-top-navigation")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *parts):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Game).serve_forever()
