"""The spans of a run as a real OTLP receiver gets them, from every process."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import swarm
from swarm.errors import RunError, UsageError
from swarm.runtime.session import Silent
from swarm.runtime.telemetry import Watched
from tests.telemetry.receiver import Receiver, received, receiving

TICKS = 3
SHORT: dict[str, Any] = {"ticks": TICKS, "agents": 8, "out": None}


class Told(Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.trace_id = ""

    def note(self, text: str) -> None:
        self.notes.append(text)

    def traced(self, trace_id: str) -> None:
        self.trace_id = trace_id


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        yield receiver


def check_tree(receiver: Receiver, trace_id: str) -> None:
    """One trace, in which every span but the run's lies below another and begins no earlier."""
    assert {span.trace_id.hex() for span in receiver.spans} == {trace_id}
    by_id = {span.span_id: span for span in receiver.spans}
    assert len(by_id) == len(receiver.spans)
    roots = [span for span in receiver.spans if not span.parent_id]
    assert [span.name for span in roots] == ["run price_spike"]
    for span in receiver.spans:
        assert span.start_ns <= span.end_ns
        if span.parent_id:
            parent = by_id[span.parent_id]
            assert parent.start_ns <= span.start_ns, (parent.name, span.name)
            assert span.end_ns <= parent.end_ns, (parent.name, span.name)


def test_the_tree_of_spans_spans_all_processes(ray_cluster: str, collector: Receiver) -> None:
    told = Told()
    run = swarm.run(
        "price_spike",
        engine="ray",
        agents_per_actor=4,
        watched=Watched(traced_ratio=1.0),
        progress=told,
        **SHORT,
    )
    check_tree(collector, told.trace_id)
    assert told.notes[-1] == f"traces: {len(collector.spans)} spans sent"
    ticks = collector.named("tick")
    # Two closing steps settle what is open.
    assert [span.attributes["swarm.tick"] for span in ticks] == list(range(TICKS + 2))
    for tick in ticks:
        phases = {span.name: span for span in collector.below(tick)}
        shards = collector.below(phases["step"])
        assert Counter(span.name for span in shards) == {"shard step": 2}
        assert {span.instance for span in shards} == {"host-0", "host-1"}
        work = {span.name: span for span in collector.below(phases["clear"])}
        assert {name: span.instance for name, span in work.items()} == {
            "clear": "market",
            "operate": "operator",
        }
        contract = [span.name for span in collector.below(work["clear"])]
        # Closing steps clear nothing.
        assert contract == ["contract"] * (tick.attributes["swarm.tick"] < TICKS)
    assert len(collector.named("write")) > 0
    untraced = swarm.run("price_spike", engine="ray", agents_per_actor=4, **SHORT)
    assert run.digest == untraced.digest


def test_a_share_of_the_ticks_is_traced(collector: Receiver) -> None:
    told = Told()
    swarm.run(
        "price_spike",
        ticks=38,
        agents=8,
        out=None,
        engine="inline",
        watched=Watched(traced_ratio=0.1),
        progress=told,
    )
    check_tree(collector, told.trace_id)
    assert len(collector.named("tick")) in (3, 4, 5), "of 38 and two closing steps"


def test_emergencies_are_traced_whatever_the_share(collector: Receiver) -> None:
    done = swarm.run("emergency", out=None, engine="inline", watched=Watched(traced_ratio=0.0))
    assert done.metrics["emergencies"] >= 1
    alerts = collector.named("alert")
    assert len(alerts) >= 1
    ticks = collector.named("tick")
    assert len(ticks) == len(alerts), "no other tick is traced"
    for alert, tick in zip(alerts, ticks, strict=True):
        assert alert.parent_id == tick.span_id
        assert [span.name for span in collector.below(alert)] == ["shard alert"]
        # What came before the alert was kept, and lies where it took place.
        phases = {span.name: span for span in collector.below(tick)}
        assert {"step", "clear", "alert"} <= set(phases)
        assert phases["clear"].end_ns <= alert.start_ns


def test_errors_are_traced_whatever_the_share(collector: Receiver) -> None:
    with pytest.raises(RunError, match="gave up"):
        swarm.run(
            "price_spike",
            engine="inline",
            policy="tests.runtime.test_session:FailsLater",
            watched=Watched(traced_ratio=0.0),
            **SHORT,
        )
    (tick,) = collector.named("tick")
    (run,) = collector.named("run price_spike")
    (step,) = collector.below(tick)
    assert tick.attributes["swarm.tick"] == 2
    for span in (run, tick, step):
        assert span.failed
        assert any("the policy gave up" in text for text in span.exceptions)


def test_lessons_are_traced(collector: Receiver) -> None:
    swarm.run(
        "price_spike",
        ticks=12,
        agents=8,
        out=None,
        engine="inline",
        policy="trained",
        learn=True,
        watched=Watched(traced_ratio=1.0),
    )
    (update,) = collector.named("update")
    lesson = next(span for span in collector.named("learn") if span.span_id == update.parent_id)
    assert lesson.parent_id == collector.named("tick")[11].span_id


def test_http_carries_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Receiver()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            request = ExportTraceServiceRequest()
            request.ParseFromString(body)
            taken.spans += received(request)
            assert self.path == "/v1/traces"
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    told = Told()
    try:
        swarm.run(
            "price_spike",
            engine="inline",
            watched=Watched(traced_ratio=1.0),
            progress=told,
            **SHORT,
        )
    finally:
        server.shutdown()
        server.server_close()
    check_tree(taken, told.trace_id)
    assert len(taken.named("tick")) == TICKS + 2


def test_a_receiver_that_is_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    told = Told()
    run = swarm.run(
        "price_spike", engine="inline", watched=Watched(traced_ratio=1.0), progress=told, **SHORT
    )
    assert run.digest == swarm.run("price_spike", engine="inline", **SHORT).digest
    assert re.match(r"traces: 0 spans sent, \d+ lost: ", told.notes[-1])


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon", "expected grpc or http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "expected otlp or console"),
    ],
)
def test_what_cannot_be_sent_to_is_refused(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=said):
        swarm.run(
            "price_spike",
            engine="inline",
            watched=Watched(traced_ratio=1.0),
            **{**SHORT, "out": tmp_path},
        )
    assert not list(tmp_path.iterdir()), "nothing is written"
