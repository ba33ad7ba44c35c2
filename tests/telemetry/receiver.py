"""A real receiver of OTLP over gRPC, as a collector runs it: the protocol's own service."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)


@dataclass(frozen=True)
class Received:
    """One span."""

    name: str
    instance: str
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    start_ns: int
    end_ns: int
    failed: bool
    attributes: dict[str, Any]
    exceptions: list[str]


@dataclass
class Receiver(TraceServiceServicer):  # type: ignore[misc]
    """Keeps every span it is sent."""

    spans: list[Received] = field(default_factory=list)
    address: str = ""

    def Export(self, request: Any, context: Any) -> Any:
        self.spans += received(request)
        return messages.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Received]:
        """All spans of a name, by start."""
        return sorted((s for s in self.spans if s.name == name), key=lambda span: span.start_ns)

    def below(self, parent: Received) -> list[Received]:
        """Spans right below another."""
        return [span for span in self.spans if span.parent_id == parent.span_id]


def received(request: Any) -> list[Received]:
    """The spans of an export request."""
    found = []
    for resource in request.resource_spans:
        about = {each.key: each.value.string_value for each in resource.resource.attributes}
        assert about["service.name"] == "swarm"
        for scope in resource.scope_spans:
            for span in scope.spans:
                values = {
                    each.key: getattr(each.value, each.value.WhichOneof("value"))
                    for each in span.attributes
                }
                thrown = [
                    each.value.string_value
                    for event in span.events
                    for each in event.attributes
                    if each.key == "exception.message"
                ]
                found.append(
                    Received(
                        span.name,
                        about["service.instance.id"],
                        span.trace_id,
                        span.span_id,
                        span.parent_span_id,
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        span.status.code == span.status.STATUS_CODE_ERROR,
                        values,
                        thrown,
                    )
                )
    return found


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of this machine while the block lasts."""
    receiver, server = Receiver(), grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(receiver, server)
    receiver.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(None).wait()
