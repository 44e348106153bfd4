"""Memory's web server: the page, its files, and the best games of this sandbox, which are kept in memory."""

import json
import os
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / ".deps"))

import bottle  # noqa: E402  from .deps
import waitress  # noqa: E402  from .deps

CARDS = (12, 16, 24)
MOST_MOVES = 9999
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
    """The best games for each number of cards: fewest moves first, then the shortest time, then the earlier."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.games: dict[int, list[dict[str, int]]] = {cards: [] for cards in CARDS}

    def add(self, game: dict[str, int]) -> int:
        """Keep the game if it is among the best; its rank from 1, or 0."""
        with self.lock:
            games = self.games[game["cards"]]
            games.append(game)
            games.sort(key=lambda one: (one["moves"], one["seconds"]))
            rank = next(place for place, one in enumerate(games, 1) if one is game)
            del games[KEPT:]
            return rank if rank <= KEPT else 0

    def as_json(self) -> dict[str, object]:
        with self.lock:
            best = {str(cards): games[0] if games else None for cards, games in self.games.items()}
            return {"best": best, "scores": {str(cards): list(games) for cards, games in self.games.items()}}


scores = Scores()


class Refused(ValueError):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def game_of(body: bytes) -> dict[str, int]:
    """The game that a player reports, each field checked."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("body", "the body must be JSON") from None
    if not isinstance(given, dict):
        raise Refused("body", "the body must be an object")
    for name in given:
        if name not in ("cards", "moves", "seconds"):
            raise Refused(str(name)[:40], "unknown; the fields are cards, moves, seconds")
    cards = given.get("cards")
    if isinstance(cards, bool) or not isinstance(cards, int) or cards not in CARDS:
        raise Refused("cards", f"cards must be one of {', '.join(map(str, CARDS))}")
    # Nobody finds all pairs with fewer moves than there are pairs.
    for name, least, most in (("moves", cards // 2, MOST_MOVES), ("seconds", 0, MOST_SECONDS)):
        value = given.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Refused(name, f"{name} must be a whole number from {least} to {most}")
    return {name: given[name] for name in ("cards", "moves", "seconds")}


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
    return answer({"status": "ok", "game": "memory"})


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
        with_headers(app), host="127.0.0.1", port=port, threads=4, ident="memory", max_request_body_size=64 * 1024
    )
    print(f"Memory listens on port {port}", flush=True)
    server.run()
