"""DigitalOcean Spaces, which speaks S3: what of boto's ways does not suit it, or us, is set here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
from botocore.config import Config
from django.conf import settings
from storages.backends.s3 import S3Storage

from pools.cloud import bounded
from pools.cloud.api_transport import is_loopback

CONNECT_SECONDS = 5
READ_SECONDS = 20
ATTEMPTS = 2
READ_BYTES = 1024 * 1024
WHOLE_FILE_SECONDS = 120
EXPLANATION_BYTES = 64 * 1024


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

    def pieces(self, key: str, most_bytes: int) -> Iterator[bytes]:
        """A file as it comes in, within one deadline: boto waits for as long as it trickles. Raises FileNotFoundError
        when the storage itself says so, OSError when it can't tell, bounded.TooLarge."""
        url = self.url(key)
        host = urlsplit(url).netloc
        try:
            with (
                bounded.client_for(url, is_loopback=is_loopback(url)) as client,
                client.stream("GET", url, timeout=bounded.timeout(WHOLE_FILE_SECONDS)) as response,
            ):
                if response.status_code == 404 and b"NoSuchKey" in bounded.beginning(response, EXPLANATION_BYTES):
                    raise FileNotFoundError(key)
                if not response.is_success:
                    raise OSError(f"{host} answered {response.status_code}")
                yield from bounded.pieces(response, most_bytes)
        except httpx.HTTPError as error:  # its own words may hold the signed address
            raise OSError(f"{host} did not give the file ({type(error).__name__})") from None
