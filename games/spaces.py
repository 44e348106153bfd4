"""DigitalOcean Spaces, which speaks S3: what of boto's ways does not suit it, or us, is set here."""

from __future__ import annotations

from typing import Any

from botocore.config import Config
from django.conf import settings
from storages.backends.s3 import S3Storage

CONNECT_SECONDS = 5
READ_SECONDS = 20
ATTEMPTS = 2
READ_BYTES = 1024 * 1024


class SpacesStorage(S3Storage):  # type: ignore[misc]  # django-storages has no types
    """Private files in the bucket that the settings name; their addresses are signed and expire."""

    def get_default_settings(self) -> dict[str, Any]:
        config = Config(
            signature_version="s3v4",
            # boto's own are a minute and five attempts: a task would be ended before it knows that nobody answers.
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": ATTEMPTS},
            # Since 1.36 boto adds checksums to uploads that only Amazon understands for sure.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        ours = {
            "bucket_name": settings.SPACES["bucket"],
            "region_name": settings.SPACES["region"],
            "access_key": settings.SPACES["access_key"],
            "secret_key": settings.SPACES["secret_key"],
            "endpoint_url": settings.SPACES_ENDPOINT_URL,
            "location": "snapshots",
            "default_acl": "private",
            "querystring_auth": True,
            "querystring_expire": settings.SNAPSHOT_URL_SECONDS,
            "max_memory_size": READ_BYTES,  # by default a file that is read lies in memory, whole
            "client_config": config,
        }
        return {**super().get_default_settings(), **ours}
