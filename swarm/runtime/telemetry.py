"""What watches a run from outside: metrics, traces, and the pace a person can follow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from swarm.errors import UsageError
from swarm.grid.balance import Operated
from swarm.loop import Boundary, Sink, Watcher
from swarm.market.record import Cleared, TickRecord
from swarm.runtime.bargain import Bargain
from swarm.runtime.timing import Phases
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario
from swarm.telemetry.caller import Sent
from swarm.telemetry.metrics import PHASES, Outlet
from swarm.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from swarm.telemetry.meter import Meter
    from swarm.telemetry.prometheus import Endpoint

ASK_SECONDS = 5.0
"""Least wall-clock time between two looks at what costs a call to every host."""
TRACED = 0.1
"""Share of the ticks that is traced unless somebody says otherwise."""


@dataclass(frozen=True)
class Watched:
    """How a run is watched. None of it changes a result.

    Attributes:
        metrics_port: of the endpoint for Prometheus; 0 takes a free one, None opens none.
        metrics_host: that it listens on.
        traced_ratio: share of the ticks to trace; None traces nothing.
        pace_s: least wall-clock time of a tick.
        hold_s: how long the endpoint stays after the end, so that the last figures are seen.
    """

    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    traced_ratio: float | None = None
    pace_s: float = 0.0
    hold_s: float = 0.0

    def check(self) -> None:
        """Raise UsageError where a value makes no sense."""
        if self.metrics_port is not None and not 0 <= self.metrics_port < 2**16:
            raise UsageError(f"--metrics-port {self.metrics_port}: expected 0 to 65535")
        if self.traced_ratio is not None and not 0 <= self.traced_ratio <= 1:
            raise UsageError(f"--otel-ratio {self.traced_ratio}: expected 0 to 1")
        for name, value in (("--pace", self.pace_s), ("--hold", self.hold_s)):
            if not 0 <= value < 1e6:
                raise UsageError(f"{name} {value}: expected seconds, 0 or more")
        if self.hold_s and self.metrics_port is None:
            raise UsageError("--hold keeps the endpoint of --metrics-port open: give a port too")


class WatchedEngine(Protocol):
    """What is told of an engine beside the tick."""

    alert_seconds: list[float]
    bargain: Bargain
    trace: Any

    def facts(self) -> dict[str, Any]:
        """Messages by lane and fate, among others."""

    def processes(self) -> Sequence[int]:
        """Ids of the processes of its hosts on this machine, this one's not among them."""

    def flush_traces(self) -> Sequence[Sent | None]:
        """Send the spans that its parts still hold."""


class Telemetry:
    """The endpoint and the outlets of one command, through all its simulations."""

    def __init__(self, watched: Watched, say: Callable[[str], None]) -> None:
        """Open what is asked for; `say` is told where it is.

        Raises:
            UsageError: a value makes no sense, or the port is taken.
        """
        watched.check()
        if watched.traced_ratio is not None:
            from swarm.telemetry.spans import make_exporter

            make_exporter().shutdown()
        self.watched, self._say = watched, say
        self._endpoint: Endpoint | None = None
        if watched.metrics_port is not None:
            from swarm.telemetry.prometheus import Endpoint

            self._endpoint = Endpoint(watched.metrics_host, watched.metrics_port)
            say(f"metrics: {self._endpoint.url}")

    def close(self, *, hold: bool) -> None:
        """Close the endpoint; with `hold` not before the figures had time to be seen."""
        if self._endpoint is None:
            return
        try:
            if hold and self.watched.hold_s:
                url, seconds = self._endpoint.url, self.watched.hold_s
                self._say(f"metrics stay at {url} for {seconds:g} s; Ctrl-C ends that")
                with suppress(KeyboardInterrupt):
                    time.sleep(seconds)
        finally:
            self._endpoint.close()

    @contextmanager
    def observing(
        self,
        scenario: Scenario,
        rosters: Sequence[Roster],
        engine: WatchedEngine,
        phases: Phases,
        about: Mapping[str, Any],
        cluster: Outlet | None,
        traced: Callable[[str], None],
    ) -> Iterator[Observed]:
        """Watch one simulation while the block lasts.

        Args:
            scenario: of it.
            rosters: its agents by kind.
            engine: that runs it.
            phases: that are timed.
            about: "engine", "hosts", "signed" and "agents" of the run.
            cluster: takes the metrics too; None: nobody else does.
            traced: is told the id of the trace.
        """
        outlets: list[Outlet] = [] if cluster is None else [cluster]
        if self._endpoint is not None:
            outlets.append(self._endpoint.outlet())
        meter = None
        if outlets:
            from swarm.telemetry.meter import Meter

            out = outlets[0] if len(outlets) == 1 else _All(outlets)
            meter = Meter(
                out, scenario, rosters, about["engine"], about["hosts"], bool(about["signed"])
            )
        tracing = None
        if self.watched.traced_ratio is not None:
            told = {f"swarm.{name}": value for name, value in about.items()}
            told |= {"swarm.scenario": scenario.name, "swarm.seed": scenario.seed}
            tracing = Tracing(self.watched.traced_ratio, f"run {scenario.name}", told)
            traced(tracing.trace_id)
            engine.trace = phases.trace = tracing
        observed = Observed(meter, tracing, engine, phases, self.watched.pace_s)
        try:
            yield observed
        except BaseException as error:
            if tracing is not None:
                tracing.failed(error)
            raise
        finally:
            if tracing is not None:
                tracing.finish()
                self._say(_sent([tracing.spans.flush(), *observed.flush()]))


class Observed:
    """One simulation under watch."""

    def __init__(
        self,
        meter: Meter | None,
        tracing: Tracing | None,
        engine: WatchedEngine,
        phases: Phases,
        pace_s: float,
    ) -> None:
        self._meter, self._tracing, self._engine = meter, tracing, engine
        self._phases, self._pace_s = phases, pace_s
        self._before = dict(phases.seconds)
        self._rounds = self._alerts = 0
        self._asked = float("-inf")

    def watcher(self, watch: Watcher) -> Watcher:
        """Tells `watch` and the metrics."""
        meter = self._meter
        if meter is None:
            return watch

        def both(cleared: Cleared, operated: Operated) -> None:
            meter.cleared(cleared, operated)
            watch(cleared, operated)

        return both

    def sink(self, sink: Sink) -> Sink:
        """Writes to `sink` and tells the metrics."""
        return sink if self._meter is None else _MeteredSink(sink, self._meter)

    def ticks(self, steps: Iterator[Boundary], first: int = 0) -> Iterator[Boundary]:
        """The steps of a run from tick `first`, each measured with what is done after it."""
        tick = first
        while True:
            begin = time.perf_counter()
            if self._tracing is not None:
                self._tracing.begin_tick(tick)
            try:
                yield next(steps)
            except StopIteration:
                if self._tracing is not None:
                    self._tracing.end_tick(happened=False)
                self._ask(last=True)
                return
            if self._tracing is not None:
                self._tracing.end_tick()
            took = time.perf_counter() - begin
            if self._meter is not None:
                self._measure(self._meter, took)
                self._ask(last=False)
            tick += 1
            if self._pace_s > took:
                time.sleep(self._pace_s - took)

    def learned(self, figures: Mapping[str, float]) -> None:
        """A lesson is over."""
        if self._meter is not None:
            self._meter.learned(figures)

    def flush(self) -> list[Sent]:
        """What became of the spans of the engine's parts; nothing where they cannot be asked."""
        try:
            return [sent for sent in self._engine.flush_traces() if sent is not None]
        except Exception:
            # The run has ended with an error of its own, which is told; the actors are gone.
            return []

    def _measure(self, meter: Meter, took: float) -> None:
        now = dict(self._phases.seconds)
        phases = {
            phase: seconds - self._before.get(phase, 0.0)
            for phase, seconds in now.items()
            if phase in PHASES and seconds > self._before.get(phase, 0.0)
        }
        self._before = now
        meter.took(took, phases)
        rounds, alerts = self._engine.bargain.seconds, self._engine.alert_seconds
        meter.called(rounds[self._rounds :], alerts[self._alerts :])
        self._rounds, self._alerts = len(rounds), len(alerts)

    def _ask(self, *, last: bool) -> None:
        if self._meter is None or (not last and time.monotonic() - self._asked < ASK_SECONDS):
            return
        self._meter.posted(self._engine.facts()["messages"])
        sizes = {"driver": [os.getpid()], "hosts": self._engine.processes()}
        self._meter.memory(
            {
                role: sum(found)
                for role, pids in sizes.items()
                if (found := [size for pid in pids if (size := _resident(pid))])
            }
        )
        self._asked = time.monotonic()


class _MeteredSink:
    def __init__(self, sink: Sink, meter: Meter) -> None:
        self._sink, self._meter = sink, meter

    def write(self, record: TickRecord, operated: Operated) -> None:
        """See `Sink`."""
        self._sink.write(record, operated)
        self._meter.write(record, operated)


class _All:
    """Every outlet gets everything."""

    def __init__(self, outlets: Sequence[Outlet]) -> None:
        self._outlets = outlets

    def set(self, name: str, value: float, *labels: str) -> None:
        """See `Outlet`."""
        for outlet in self._outlets:
            outlet.set(name, value, *labels)

    def add(self, name: str, amount: float, *labels: str) -> None:
        """See `Outlet`."""
        for outlet in self._outlets:
            outlet.add(name, amount, *labels)

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """See `Outlet`."""
        for outlet in self._outlets:
            outlet.observe(name, seconds, *labels)


def _resident(pid: int) -> int | None:
    """Resident memory of a process in bytes; None where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _sent(counts: Sequence[Sent]) -> str:
    sent, lost = sum(each.sent for each in counts), sum(each.lost for each in counts)
    if not lost:
        return f"traces: {sent:,} spans sent"
    return (
        f"traces: {sent:,} spans sent, {lost:,} lost: the receiver did not take them\n"
        "hint: OTEL_EXPORTER_OTLP_ENDPOINT says where it is"
    )
