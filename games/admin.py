"""The games and their snapshots in the admin, to be seen: the catalog's manifests say what a game is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from games.models import Game, Snapshot
from pools.console.rights import MachineOwned

if TYPE_CHECKING:  # generic for the checker only
    Inline = admin.TabularInline[Snapshot, Game]
else:
    Inline = admin.TabularInline


class SnapshotsOfGame(Inline):
    model = Snapshot
    fields = readonly_fields = ("state", "sha256", "size_bytes", "started_at", "built_at", "error")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Game)
class GameAdmin(MachineOwned):
    list_display = ("title", "slug", "runtime", "enabled", "snapshot", "position")
    list_filter = ("runtime", "enabled")
    search_fields = ("slug", "title")
    exclude = ("cover",)
    inlines = (SnapshotsOfGame,)
    change_form_template = "admin/games/game/page.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Game]:
        current = Prefetch("snapshots", Snapshot.objects.filter(state="current"), to_attr="current_snapshots")
        return super().get_queryset(request).prefetch_related(current)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if game := kwargs.get("obj"):
            context |= {"versions": game.versions.all(), "can_operate": self.has_operate_permission(request)}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="snapshot")
    def snapshot(self, game: Any) -> str:
        """Whether a launch of this game has a snapshot to start from."""
        current: Snapshot | None = next(iter(game.current_snapshots), None)
        if current is None:
            return "none: launches deploy from source"
        if current.source_digest != game.source_digest:
            return "outdated: launches deploy from source"
        return f"{current.sha256[:12]}, {filesizeformat(current.size_bytes)}"


@admin.register(Snapshot)
class SnapshotAdmin(MachineOwned):
    list_display = ("game", "state", "short_hash", "size", "started_at", "built_at", "error")
    list_filter = ("state", "game")
    list_select_related = ("game",)

    @admin.display(description="SHA-256", ordering="sha256")
    def short_hash(self, snapshot: Snapshot) -> str:
        return snapshot.sha256[:12]

    @admin.display(description="size", ordering="size_bytes")
    def size(self, snapshot: Snapshot) -> str:
        return filesizeformat(snapshot.size_bytes)
