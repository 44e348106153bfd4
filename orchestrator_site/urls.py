from django.contrib import admin
from django.urls import include, path

from orchestrator_site.api import api

admin.autodiscover()

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", api.urls),
    path("", include("games.urls")),
    path("", include("runs.urls")),
]

handler403 = "orchestrator_site.error_pages.forbidden"
handler500 = "orchestrator_site.unavailable.error_500"
