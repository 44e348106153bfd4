from django.urls import path

from games import pages as game_pages
from runs import pages
from runs.proxy import play_address

urlpatterns = [
    path("", pages.lobby, name="lobby"),
    path("live/", pages.lobby_live, name="lobby-live"),
    path("games/<slug:slug>/", pages.game, name="game"),
    path("games/<slug:slug>/live/", pages.game_live, name="game-live"),
    path("games/<slug:slug>/cover.svg", game_pages.cover, name="game-cover"),
    path("runs/<uuid:run_id>/", pages.run, name="run"),
    path("runs/<uuid:run_id>/live/", pages.run_live, name="run-live"),
    path("runs/<uuid:run_id>/end/", pages.end_run, name="run-end"),
    path("runs/<uuid:run_id>/extend/", pages.extend_run, name="run-extend"),
    path("play/<uuid:run_id>/", play_address, name="play"),
    path("stats/", pages.stats, name="stats"),
]
