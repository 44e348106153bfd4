"""Messages in a cookie that is named per installation: another one on the host would throw ours away as forged."""

from __future__ import annotations

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage


class OwnCookieStorage(CookieStorage):
    cookie_name = settings.MESSAGES_COOKIE_NAME


class OwnStorage(FallbackStorage):
    storage_classes = (OwnCookieStorage, SessionStorage)
