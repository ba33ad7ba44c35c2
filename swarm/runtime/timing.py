"""Wall-clock time by phase, kept outside the simulation: it must never reach the results."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from swarm.grid.balance import Operated
from swarm.loop import Closed, Engine, Sink
from swarm.market.record import Cleared, TickRecord
from swarm.messages import Alert, Signal
from swarm.runtime.bargain import Bargain
from swarm.telemetry.tracing import Trace, Untraced


class Phases:
    """Seconds spent in each phase.

    Attributes:
        seconds: so far, by phase.
        trace: is told when a phase begins and ends.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.trace: Trace = Untraced()

    @contextmanager
    def measure(self, phase: str, begins: bool = True, ends: bool = True) -> Iterator[None]:
        """Add the time of the block to `phase`, which begins or ends in another block if not so."""
        if begins:
            self.trace.begin(phase)
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - begin
        if ends:
            self.trace.end(phase)


class TimedEngine:
    """An engine that times its steps (`step`) and the market and operator (`clear`)."""

    def __init__(self, engine: Engine, phases: Phases) -> None:
        self._engine, self._phases = engine, phases

    def first_signal(self) -> Signal:
        """See `Engine`."""
        return self._engine.first_signal()

    def send(self, signal: Signal, notices: Sequence[Any] | None) -> None:
        """See `Engine`."""
        with self._phases.measure("step", ends=False):
            self._engine.send(signal, notices)

    def gather(self) -> Sequence[Any]:
        """See `Engine`."""
        with self._phases.measure("step", begins=False):
            return self._engine.gather()

    def close(self, tick: int, last: Cleared | None, replies: Sequence[Any]) -> Closed:
        """See `Engine`."""
        with self._phases.measure("clear"):
            return self._engine.close(tick, last, replies)

    def alert(self, alert: Alert) -> None:
        """See `Engine`."""
        with self._phases.measure("alert"):
            self._engine.alert(alert)

    def fetch(self, record: Any) -> TickRecord:
        """See `Engine`."""
        with self._phases.measure("write"):
            return self._engine.fetch(record)


class TimedSink:
    """A sink that times its writing (`write`)."""

    def __init__(self, sink: Sink, phases: Phases) -> None:
        self._sink, self._phases = sink, phases

    def write(self, record: TickRecord, operated: Operated) -> None:
        """See `Sink`."""
        with self._phases.measure("write"):
            self._sink.write(record, operated)


def alert_timings(seconds: Sequence[float]) -> dict[str, float] | None:
    """Wall-clock time from detection to the last acknowledgement, in ms; None without an alert."""
    if not seconds:
        return None
    p50, p99, most = np.percentile(1000 * np.array(seconds), [50, 99, 100]).round(3).tolist()
    return {"alerts": len(seconds), "p50_ms": p50, "p99_ms": p99, "max_ms": most}


def negotiation_timings(bargain: Bargain) -> dict[str, float] | None:
    """Wall-clock figures of all rounds of negotiation; None where there was none."""
    if not bargain.seconds:
        return None
    seconds = np.array(bargain.seconds)
    p50, p99 = np.percentile(1000 * seconds, [50, 99]).round(3).tolist()
    return {
        "calls": len(seconds),
        "answers": bargain.answers,
        "answers_per_second": round(bargain.answers / float(seconds.sum()), 1),
        "p50_ms": p50,
        "p99_ms": p99,
    }
