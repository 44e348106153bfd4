"""Snake's web server: the page, its files, and the best games of this sandbox, which are kept in memory."""

import json
import os
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / ".deps"))

import bottle  # noqa: E402  from .deps
import waitress  # noqa: E402  from .deps

EDGES = ("walls", "wrap")
PACES = ("step", "calm", "classic", "quick")
MOST_POINTS = 17 * 17 - 4  # the board is full, and four fields were snake from the start
MOST_SECONDS = 24 * 3600
KEPT = 10
BODY_BYTES = 1024
HEADERS = [
    # The page runs in an opaque origin, to which even its own server is a stranger.
    ("Access-Control-Allow-Origin", "*"),
    ("X-Content-Type-Options", "nosniff"),
]

app = bottle.Bottle()


class Scores:
    """The best games with walls and without, most points first; of equal ones the earlier."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.games: dict[str, list[dict[str, object]]] = {edges: [] for edges in EDGES}

    def add(self, game: dict[str, object]) -> int:
        """Keep the game if it is among the best; its rank from 1, or 0."""
        with self.lock:
            games = self.games[str(game["edges"])]
            games.append(game)
            games.sort(key=lambda one: -int(str(one["score"])))
            rank = next(place for place, one in enumerate(games, 1) if one is game)
            del games[KEPT:]
            return rank if rank <= KEPT else 0

    def as_json(self) -> dict[str, object]:
        with self.lock:
            best = {edges: games[0]["score"] if games else 0 for edges, games in self.games.items()}
            return {"best": best, "scores": {edges: list(games) for edges, games in self.games.items()}}


scores = Scores()


class Refused(ValueError):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def game_of(body: bytes) -> dict[str, object]:
    """The game that a player reports, each field checked."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("body", "the body must be JSON") from None
    if not isinstance(given, dict):
        raise Refused("body", "the body must be an object")
    allowed = {"score": MOST_POINTS, "seconds": MOST_SECONDS, "edges": EDGES, "pace": PACES}
    for name in given:
        if name not in allowed:
            raise Refused(str(name)[:40], f"unknown; the fields are {', '.join(allowed)}")
    for name, limit in allowed.items():
        value = given.get(name)
        if isinstance(limit, int):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
                raise Refused(name, f"{name} must be a whole number from 0 to {limit}")
        elif value not in limit:
            raise Refused(name, f"{name} must be one of {', '.join(limit)}")
    return {name: given[name] for name in allowed}


def answer(content: dict[str, object], status: int = 200) -> bottle.HTTPResponse:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return bottle.HTTPResponse(json.dumps(content), status, headers)


@app.get("/")
def page() -> bottle.HTTPResponse:
    return static("index.html", HERE)


@app.get("/static/<name>")
def file(name: str) -> bottle.HTTPResponse:
    return static(name, HERE / "static")


def static(name: str, folder: Path) -> bottle.HTTPResponse:
    found = bottle.static_file(name, root=str(folder))
    if found.status_code in (403, 404):
        return answer({"error": "There is nothing here."}, 404)
    found.set_header("Cache-Control", "no-cache")
    return found


@app.get("/api/health")
def health() -> bottle.HTTPResponse:
    return answer({"status": "ok", "game": "snake"})


@app.get("/api/scores")
def read_scores() -> bottle.HTTPResponse:
    return answer(scores.as_json())


@app.post("/api/scores")
def add_score() -> bottle.HTTPResponse:
    if bottle.request.content_length > BODY_BYTES:
        return answer({"error": f"the body may have {BODY_BYTES} bytes", "field": "body"}, 413)
    try:
        game = game_of(bottle.request.body.read(BODY_BYTES))
    except Refused as refused:
        return answer({"error": str(refused), "field": refused.field}, 422)
    return answer({"rank": scores.add(game), **scores.as_json()}, 201)


@app.route("/api/scores", method="OPTIONS")
def preflight() -> bottle.HTTPResponse:
    headers = {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Allow-Headers": "Content-Type"}
    return bottle.HTTPResponse(status=204, headers=headers)


def plain_error(error: bottle.HTTPError) -> str:
    sentences = {404: "There is nothing here.", 405: "Not with this method."}
    bottle.response.content_type = "application/json"
    return json.dumps({"error": sentences.get(error.status_code, "That did not work.")})


app.default_error_handler = plain_error


def with_headers(inner):  # type: ignore[no-untyped-def]  # WSGI's own types would say no more
    def outer(environ, start_response):  # type: ignore[no-untyped-def]
        return inner(environ, lambda status, headers, *rest: start_response(status, headers + HEADERS, *rest))

    return outer


if __name__ == "__main__":
    # Loopback only: the sandbox's agent stands between this and the world.
    port = int(os.environ.get("PORT", "5000"))
    server = waitress.create_server(
        with_headers(app), host="127.0.0.1", port=port, threads=4, ident="snake", max_request_body_size=64 * 1024
    )
    print(f"Snake listens on port {port}", flush=True)
    server.run()
