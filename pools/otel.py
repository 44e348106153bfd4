"""Spans, made and sent with OpenTelemetry's SDK. Loaded only where traces are on: `pools.traces` is the way to it.

Where to send them is in the settings. The SDK reads other variables by itself: OTEL_EXPORTER_OTLP_… (certificates,
timeouts), OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_… (batches).
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from multiprocessing.util import Finalize
from uuid import UUID

from django.conf import settings
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.sdk.trace.sampling import _get_from_env_or_default as sampler_of_environment
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers

from pools import clock
from pools.about import known
from pools.redaction import redacted

logger = logging.getLogger(__name__)

SERVICE = "sandbox-orchestrator"
REQUEST, LAUNCH = "launch request", "launch"
VALUE_CHARACTERS = 300
SEEN_AT_MOST = 2_000
EXIT_MS = 1_500  # for the last batch when a process ends: below the grace of those who stop us
PAUSE_SECONDS = 5.0  # after a batch that could not be sent: what comes meanwhile is lost
TOLD_SECONDS = 60.0

_next_root: ContextVar[SpanContext | None] = ContextVar("next_root", default=None)
_seen: dict[tuple[str, UUID], None] = {}


class RunIds(RandomIdGenerator):
    """Random ids; but those of a launch follow from its run's."""

    def generate_trace_id(self) -> int:
        root = _next_root.get()
        return root.trace_id if root else super().generate_trace_id()

    def generate_span_id(self) -> int:
        root = _next_root.get()
        return root.span_id if root else super().generate_span_id()


class Mixed(Sampler):
    """The sampler of the environment, whose share goes by the trace's first bits: those of a UUID are not random."""

    def __init__(self) -> None:
        self._sampler = sampler_of_environment()

    def should_sample(  # noqa: PLR0917  the SDK's own order
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Mapping[str, object] | None = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        mixed = _digest(trace_id.to_bytes(16, "big"))
        return self._sampler.should_sample(parent_context, mixed, name, kind, attributes, links, trace_state)  # type: ignore[arg-type]

    def get_description(self) -> str:
        return self._sampler.get_description()


class Patient(SpanExporter):
    """Sends batches. While a collector is away they are lost, which is said once a minute at most."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._again_at_seconds = self._tell_at_seconds = 0.0
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        if clock.monotonic() >= self._again_at_seconds:
            with suppress(Exception):  # a certificate that is not there, say
                result = self._exporter.export(spans)
        if result != SpanExportResult.SUCCESS:
            self._note_lost(len(spans))
        return result

    def _note_lost(self, number: int) -> None:
        now = clock.monotonic()
        self._lost += number
        if now >= self._again_at_seconds:
            self._again_at_seconds = now + PAUSE_SECONDS
        if now >= self._tell_at_seconds:
            self._tell_at_seconds = now + TOLD_SECONDS
            logger.warning("The collector of traces takes none: %d spans are lost.", self._lost)
            self._lost = 0

    def shutdown(self) -> None:
        self._exporter.shutdown()


class Batches(BatchSpanProcessor):
    """The SDK's, in a thread of its own; but a process that ends does not wait for long."""

    def shutdown(self) -> None:
        self._batch_processor.shutdown(timeout_millis=EXIT_MS)


class Maker:
    """Makes this process's spans: a fork has none of the threads, and must not share connections."""

    def __init__(self) -> None:
        named = SERVICE_NAME in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "") or os.environ.get("OTEL_SERVICE_NAME")
        own = {} if named else {SERVICE_NAME: SERVICE}
        here = {"service.version": settings.VERSION, "host.name": socket.gethostname()}
        headers = parse_env_headers(settings.TRACES_HEADERS, liberal=True)
        self.sampler = Mixed()
        self._provider = TracerProvider(
            sampler=self.sampler,
            resource=Resource.create({**own, **here, "process.pid": os.getpid()}),
            id_generator=RunIds(),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            Batches(Patient(OTLPSpanExporter(settings.TRACES_URL, headers=headers or None)))
        )
        self.tracer = self._provider.get_tracer(SERVICE)
        # Workers of the cluster end without `atexit`, and heed this.
        Finalize(None, self.close, exitpriority=10)

    def close(self) -> None:
        """Send what there is, and end."""
        self._provider.shutdown()


_maker: Maker | None = None
_making = threading.Lock()


def _forget() -> None:
    global _maker, _making
    _maker, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


def maker() -> Maker:
    global _maker  # noqa: PLW0603
    if _maker is None:
        with _making:
            _maker = _maker or Maker()
    return _maker


class Recorded:
    def __init__(self, recorded: trace.Span) -> None:
        self._span = recorded

    def note(self, **attributes: object) -> None:
        self._span.set_attributes(_told(attributes))

    def fail(self, why: str, **attributes: object) -> None:
        self.note(**attributes)
        self._span.set_status(StatusCode.ERROR, _text(why))


@contextmanager
def span(
    name: str,
    attributes: Mapping[str, object],
    *,
    parent: Context | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    links: Sequence[Link] = (),
    root: SpanContext | None = None,
) -> Iterator[Recorded]:
    """`parent`: in the place of the span at work here. `root`: the ids of one that has no parent."""
    token = _next_root.set(root)
    try:
        parent = Context() if root else parent or _parent()
        began = maker().tracer.start_span(name, parent, kind, _told({**known(), **attributes}), links)
    finally:
        _next_root.reset(token)
    attached = contexts.attach(trace.set_span_in_context(began))
    recorded = Recorded(began)
    try:
        yield recorded
    except Exception as error:
        recorded.fail(f"{type(error).__name__}: {error}", code=getattr(error, "code", None))
        raise
    finally:
        contexts.detach(attached)
        began.end()


def at_work() -> Recorded:
    return Recorded(trace.get_current_span())


@contextmanager
def launch(run_id: UUID, traceparent: str) -> Iterator[Recorded]:
    root = root_of(run_id)
    called = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
    caller = trace.get_current_span(called).get_span_context()
    if not caller.is_valid:
        with span(LAUNCH, {}, root=root, kind=SpanKind.SERVER) as launched:
            yield launched
        return
    with (
        span(REQUEST, {}, parent=called, kind=SpanKind.SERVER, links=[Link(root)]),
        span(LAUNCH, {}, root=root, links=[Link(caller)]) as launched,
    ):
        yield launched


def past_span(name: str, since_ns: int) -> None:
    maker().tracer.start_span(name, _parent(), attributes=_told(known()), start_time=since_ns).end()


def root_of(run_id: UUID) -> SpanContext:
    """The launch's span, as every process knows it."""
    decision = maker().sampler.should_sample(None, run_id.int, LAUNCH).decision
    flags = TraceFlags.SAMPLED if decision == Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT
    return SpanContext(run_id.int, _digest(run_id.bytes) or 1, is_remote=True, trace_flags=TraceFlags(flags))


def _parent() -> Context | None:
    """None: what is at work here."""
    run = known().get("run")
    if run is None or trace.get_current_span().get_span_context().is_valid:
        return None
    return trace.set_span_in_context(NonRecordingSpan(root_of(UUID(run))), Context())


def headers() -> dict[str, str]:
    carried: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carried)
    return carried


def ids() -> dict[str, str]:
    here = trace.get_current_span().get_span_context()
    return {"trace_id": f"{here.trace_id:032x}", "span_id": f"{here.span_id:016x}"} if here.is_valid else {}


def is_first(name: str, of: UUID) -> bool:
    if (name, of) in _seen:
        return False
    if len(_seen) >= SEEN_AT_MOST:
        _seen.clear()
    _seen[name, of] = None
    return True


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def _told(attributes: Mapping[str, object]) -> dict[str, str | bool | int | float]:
    return {
        name: value if isinstance(value, bool | int | float) else _text(value)
        for name, value in attributes.items()
        if value is not None and value != ""
    }


def _text(value: object) -> str:
    return redacted(str(value))[:VALUE_CHARACTERS]
