from django.urls import path

from games import downloads

urlpatterns = [path("snapshots/<path:key>", downloads.download, name="snapshot-download")]
