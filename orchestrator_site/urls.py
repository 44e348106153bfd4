from django.contrib import admin
from django.urls import include, path

from orchestrator_site import runbook
from orchestrator_site.api import api
from pools.runbook import PAGE

admin.autodiscover()

urlpatterns = [
    path(PAGE.removeprefix("/"), runbook.show),
    path("admin/", admin.site.urls),
    path("api/", api.urls),
    path("", include("games.urls")),
    path("", include("runs.urls")),
]

handler403 = "orchestrator_site.error_pages.forbidden"
handler500 = "orchestrator_site.unavailable.error_500"
