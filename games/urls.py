from django.urls import path

from games import clones, downloads

urlpatterns = [
    path("snapshots/<path:key>", downloads.download, name="snapshot-download"),
    path("source/<slug:slug>.git/info/refs", clones.refs, name="source-refs"),
    path("source/<slug:slug>.git/git-upload-pack", clones.pack, name="source-pack"),
]
