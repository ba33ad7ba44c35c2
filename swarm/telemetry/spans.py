"""Spans of OpenTelemetry that one process makes and sends, wherever it runs.

The parent of a span comes from its caller as a W3C `traceparent` (https://www.w3.org/TR/
trace-context), handed over as an argument of the call: a call without one costs nothing. What
receives the spans, and the service's name, are the standard variables `OTEL_*` of whoever started
the run, which travel along.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.trace import Span, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from swarm.errors import UsageError
from swarm.telemetry.caller import Caller, Sent

PROTOCOLS = {"grpc": "grpc", "http/protobuf": "http"}
FLUSH_MILLIS = 5_000
_PROPAGATOR = TraceContextTextMapPropagator()


class _Counted(SpanExporter):
    """Counts what an exporter did; without a receiver it is the run that goes on, not a log."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter, self._lock = exporter, threading.Lock()
        self.count = Sent()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        with self._lock:
            if result is SpanExportResult.SUCCESS:
                self.count.sent += len(spans)
            else:
                self.count.lost += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class Spans:
    """Makes and sends the spans of one process; starts with the first of them."""

    def __init__(self, instance: str) -> None:
        """`instance` names the process among those of a run."""
        self._instance = instance
        self._provider: TracerProvider | None = None
        self._exporter: _Counted | None = None

    def tracer(self, settings: Mapping[str, str]) -> Tracer:
        """Of this process; `settings` are the variables OTEL_*, which count the first time.

        Raises:
            UsageError: a variable asks for what is not there.
        """
        if self._provider is None:
            for name, value in settings.items():
                os.environ.setdefault(name, value)
            os.environ.setdefault("OTEL_SERVICE_NAME", "swarm")
            # A receiver that is away is told of once, at the end, and not every few seconds.
            logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
            self._exporter = _Counted(make_exporter())
            resource = Resource.create({"service.instance.id": self._instance})
            self._provider = TracerProvider(resource=resource)
            self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        return self._provider.get_tracer("swarm")

    @contextmanager
    def span(self, name: str, caller: Caller, attributes: dict[str, Any]) -> Iterator[Span]:
        """A span below the caller's while the block lasts."""
        tracer = self.tracer(caller.settings)
        with tracer.start_as_current_span(name, parent_of(caller), attributes=attributes) as span:
            yield span

    def past(self, span: Span, name: str, times: tuple[int, int]) -> None:
        """A span below `span` of work in it that is over: begin and end, ns since 1970."""
        began = getattr(span, "start_time", None)
        if self._provider is None or began is None or times[0] < began:
            return
        tracer = self._provider.get_tracer("swarm")
        tracer.start_span(name, set_span_in_context(span), start_time=times[0]).end(times[1])

    def flush(self) -> Sent:
        """Send what is left; what became of all spans so far."""
        if self._provider is None or self._exporter is None:
            return Sent()
        self._provider.force_flush(FLUSH_MILLIS)
        return self._exporter.count


def parent_of(caller: Caller) -> Context:
    """The context of a caller's span."""
    return _PROPAGATOR.extract({"traceparent": caller.traceparent})


def traceparent(span: Span) -> str:
    """What a call below `span` is told."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, set_span_in_context(span))
    return carrier["traceparent"]


def make_exporter() -> SpanExporter:
    """As the standard variables ask for; UsageError where they ask for what is not there."""
    kind = os.environ.get("OTEL_TRACES_EXPORTER", "otlp")
    if kind == "console":
        return ConsoleSpanExporter(out=sys.stderr)
    if kind != "otlp":
        raise UsageError(f"OTEL_TRACES_EXPORTER={kind!r}: expected otlp or console")
    name = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
    if name not in os.environ:
        name = "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = os.environ.get(name, "http/protobuf")
    if protocol not in PROTOCOLS:
        raise UsageError(f"{name}={protocol!r}: expected {' or '.join(PROTOCOLS)}")
    try:
        module = importlib.import_module(
            f"opentelemetry.exporter.otlp.proto.{PROTOCOLS[protocol]}.trace_exporter"
        )
    except ModuleNotFoundError:
        raise UsageError(
            f"{name}={protocol}: the exporter is not installed\n"
            "hint: pip install 'grid-swarm[grpc]', or use http/protobuf"
        ) from None
    exporter: SpanExporter = module.OTLPSpanExporter()
    return exporter
