from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("games.urls")),
    path("", include("runs.urls")),
]

handler403 = "orchestrator_site.errors.forbidden"
