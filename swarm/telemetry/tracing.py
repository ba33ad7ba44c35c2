"""The trace of a run as its driver sees it: run, tick, phase; hosts and market go on below.

A share of the ticks is traced. What happened in a tick that is not is kept until its end, as names
and times, and told after all where an emergency or an error comes up in it.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from swarm.telemetry.caller import Caller, otel_settings

GOLDEN = 0.6180339887498949
"""Share of a turn between two ticks. Its multiples fill [0, 1) evenly at any length (Weyl), and
meet no period of learners or results."""
_Kept = tuple[str, int, int]


class Trace(Protocol):
    """What the engine and the phases of a run tell; `Untraced` and `Tracing` are it."""

    def caller(self) -> Caller | None:
        """The span of the phase under way, for calls; None: this tick is not traced."""

    def begin(self, phase: str) -> None:
        """A phase of the tick begins."""

    def end(self, phase: str) -> None:
        """It ends."""


class Untraced:
    """No trace."""

    def caller(self) -> Caller | None:
        """Nobody."""
        return None

    def begin(self, phase: str) -> None:
        """Tells nothing."""

    def end(self, phase: str) -> None:
        """Tells nothing."""


class Tracing:
    """Traces one run."""

    def __init__(self, ratio: float, name: str, attributes: dict[str, Any]) -> None:
        """Begin the trace.

        Args:
            ratio: of the ticks, 0 to 1.
            name: of the run's span.
            attributes: of the run.

        Raises:
            UsageError: the variables `OTEL_*` ask for what is not there.
        """
        from swarm.telemetry.spans import Spans

        self.spans = Spans("driver")
        self._settings = otel_settings()
        self._tracer = self.spans.tracer(self._settings)
        self._ratio = ratio
        self._run = self._tracer.start_span(name, attributes=attributes)
        self._tick: Any = None
        self._phases: list[tuple[str, Any]] = []
        self._number, self._began = -1, 0
        self._kept: list[_Kept] = []
        self._open: list[tuple[str, int]] = []

    @property
    def trace_id(self) -> str:
        """Of the whole run, 32 hex digits."""
        return f"{self._run.get_span_context().trace_id:032x}"

    def begin_tick(self, tick: int) -> None:
        """A tick begins; what belongs to it follows."""
        self._number, self._began = tick, time.time_ns()
        self._kept, self._open = [], []
        if (tick * GOLDEN) % 1.0 < self._ratio:
            self._trace_tick()

    def end_tick(self, *, happened: bool = True) -> None:
        """It ends; without having `happened`, nothing is told of it."""
        if self._tick is not None and happened:
            self._tick.end()
        self._tick, self._phases = None, []

    def caller(self) -> Caller | None:
        """See `Trace`."""
        if self._tick is None:
            return None
        from swarm.telemetry.spans import traceparent

        span = self._phases[-1][1] if self._phases else self._tick
        return Caller(traceparent(span), self._settings)

    def begin(self, phase: str) -> None:
        """See `Trace`. An alert makes sure that its tick is traced."""
        if self._tick is None and phase == "alert":
            self._trace_tick()
        if self._tick is None:
            self._open.append((phase, time.time_ns()))
        else:
            self._phases.append((phase, self._below(phase)))

    def end(self, phase: str) -> None:
        """See `Trace`."""
        if self._tick is None:
            for at, (name, began) in enumerate(self._open):
                if name == phase:
                    self._kept.append((phase, began, time.time_ns()))
                    del self._open[at]
                    return
            return
        for at, (name, span) in enumerate(self._phases):
            if name == phase:
                span.end()
                del self._phases[at]
                return

    def failed(self, error: BaseException) -> None:
        """The run ends with an error: its tick is traced, whether it was to be or not."""
        from opentelemetry.trace import StatusCode

        if self._tick is None and self._number >= 0:
            self._trace_tick()
        spans = [span for _, span in self._phases]
        spans += [] if self._tick is None else [self._tick]
        for span in (*spans, self._run):
            span.record_exception(error)
            span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")
            if span is not self._run:
                span.end()
        self._tick, self._phases = None, []

    def finish(self) -> None:
        """The run is over."""
        self._run.end()

    def _trace_tick(self) -> None:
        from opentelemetry.trace import set_span_in_context

        self._tick = self._tracer.start_span(
            "tick",
            set_span_in_context(self._run),
            attributes={"swarm.tick": self._number},
            start_time=self._began,
        )
        for phase, began, ended in self._kept:
            self._below(phase, began).end(ended)
        self._phases = [(phase, self._below(phase, began)) for phase, began in self._open]
        self._kept, self._open = [], []

    def _below(self, phase: str, began: int | None = None) -> Any:
        from opentelemetry.trace import set_span_in_context

        return self._tracer.start_span(phase, set_span_in_context(self._tick), start_time=began)
