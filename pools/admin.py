"""The fleet in the admin. Each page is a module of `pools.console`; here they get their addresses."""

from django.contrib import admin

from pools.api_keys import ApiKey
from pools.console.cloud_app_admin import CloudAppAdmin
from pools.console.fleet_admin import FleetAdmin
from pools.console.key_admin import KeyAdmin
from pools.console.log_admin import FleetEventAdmin
from pools.console.pool_admin import PoolAdmin
from pools.console.sandbox_admin import SandboxAdmin
from pools.models import CloudApp, Fleet, FleetEvent, Pool, Sandbox

admin.site.register(Fleet, FleetAdmin)
admin.site.register(Pool, PoolAdmin)
admin.site.register(Sandbox, SandboxAdmin)
admin.site.register(CloudApp, CloudAppAdmin)
admin.site.register(FleetEvent, FleetEventAdmin)
admin.site.register(ApiKey, KeyAdmin)
