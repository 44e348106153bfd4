"""Webhooks in the API: their shapes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field

from pools.schemas import NO_NUL, example, example_of
from pools.webhooks import DESCRIPTION_CHARACTERS, URL_CHARACTERS, DeliveryState

MOST_TYPES = 100
MOST_DELIVERIES = 100
SECRET = "Signs each delivery. It is shown here only: keep it"  # noqa: S105  a description

Url = Annotated[str, Field(max_length=URL_CHARACTERS, pattern=NO_NUL, examples=["https://example.com/hooks"])]
Types = Annotated[
    list[Annotated[str, Field(max_length=40)]],
    Field(
        max_length=MOST_TYPES, description="`run.ended`, or `run` for all about runs; without any, all", examples=[[]]
    ),
]
Description = Annotated[str, Field(max_length=DESCRIPTION_CHARACTERS, pattern=NO_NUL)]


class WebhookScope(StrEnum):
    """Of whose runs it is told."""

    OWN = "own"
    ALL = "all"


class WebhookIn(Schema):
    model_config = ConfigDict(extra="forbid") | example({"url": "https://example.com/hooks", "types": ["run"]})

    url: Url
    scope: WebhookScope = Field(
        WebhookScope.OWN, description="own: of its key's runs; all: of everything, for administrators"
    )
    types: Types = []
    description: Description = ""


class WebhookChangeIn(Schema):
    """Only what is to be changed."""

    model_config = ConfigDict(extra="forbid") | example({"types": ["run.ended", "run.failed"]})

    url: Url | None = None
    types: Types | None = None
    description: Description | None = None
    is_enabled: bool | None = Field(None, description="true: it is told of what happens from now on")


class WebhookOut(Schema):
    model_config = example(
        {
            "id": "0b7c6f3e-3c1e-4a53-9a0f-4f7f0c8e2f11",
            "url": "https://example.com/hooks",
            "scope": "own",
            "types": ["run"],
            "description": "",
            "is_enabled": True,
            "disabled_code": "",
            "created_at": "2026-11-27T10:00:00Z",
            "created_by": "key robot (3fa9c1d2)",
            "last_success_at": None,
        }
    )

    id: UUID
    url: str
    scope: WebhookScope
    types: list[str]
    description: str
    is_enabled: bool
    disabled_code: str = Field(description="switched_off, gone (it answered 410), given_up, owner_gone; else empty")
    created_at: datetime
    created_by: str
    last_success_at: datetime | None


class WebhookMadeOut(WebhookOut):
    model_config = example(example_of(WebhookOut) | {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})

    secret: str = Field(description=SECRET)


class SecretOut(Schema):
    secret: str = Field(description=SECRET, examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class WebhooksOut(Schema):
    webhooks: list[WebhookOut] = Field(description="The newest first")


class DeliveriesAsked(Schema):
    state: DeliveryState | None = Field(None, description="Only in this state")
    before: int | None = Field(None, ge=0, le=2**53, description="`next` of the page before; without it, the newest")
    limit: int = Field(50, ge=1, le=MOST_DELIVERIES, description="Deliveries at the most")


class DeliveryOut(Schema):
    model_config = example(
        {
            "id": "msg_42e8266c92f86356928167b2",
            "type": "run.ended",
            "state": "delivered",
            "attempts": 1,
            "next_attempt_at": None,
            "last_status": 204,
            "last_error": "",
            "created_at": "2026-11-27T10:12:00Z",
            "delivered_at": "2026-11-27T10:12:01Z",
            "payload": {"id": "evt_4711", "type": "run.ended"},
        }
    )

    id: str = Field(description="As in the header `webhook-id`")
    type: str = Field(description="The event's; `webhook.test` for a test")
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime | None
    last_status: int | None = Field(description="What the receiver answered last; null when it did not")
    last_error: str
    created_at: datetime = Field(description="When it was to be sent; once more, when that was asked for")
    delivered_at: datetime | None
    payload: dict[str, Any] = Field(description="What is sent")


class DeliveriesOut(Schema):
    deliveries: list[DeliveryOut] = Field(description="The newest first")
    next: int | None = Field(description="What to ask with next, as `before`; null on the last page", examples=[None])
