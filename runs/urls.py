from django.urls import path

from games.covers import cover
from runs.pages import game, lobby, run, stats
from runs.play.proxy import play_address

urlpatterns = [
    path("", lobby.lobby, name="lobby"),
    path("live/", lobby.lobby_live, name="lobby-live"),
    path("live/mine/", lobby.lobby_mine, name="lobby-mine"),
    path("games/<slug:slug>/", game.game, name="game"),
    path("games/<slug:slug>/live/", game.game_live, name="game-live"),
    path("games/<slug:slug>/cover.svg", cover, name="game-cover"),
    path("runs/<uuid:run_id>/", run.run, name="run"),
    path("runs/<uuid:run_id>/live/", run.run_live, name="run-live"),
    path("runs/<uuid:run_id>/end/", run.end_run, name="run-end"),
    path("runs/<uuid:run_id>/extend/", run.extend_run, name="run-extend"),
    path("play/<uuid:run_id>/", play_address, name="play"),
    path("stats/", stats.stats, name="stats"),
]
