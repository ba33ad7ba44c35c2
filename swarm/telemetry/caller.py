"""Who called, for traces: travels with a call, so it must not need OpenTelemetry."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from swarm.telemetry.spans import Spans


@dataclass
class Sent:
    """Spans that reached the receiver, and those that did not."""

    sent: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Caller:
    """The span that a call is made in.

    Attributes:
        traceparent: W3C Trace Context.
        settings: variables `OTEL_*` of the process that started the run.
    """

    traceparent: str
    settings: dict[str, str] = field(repr=False)
    """Not shown: headers may hold a key."""


def otel_settings() -> dict[str, str]:
    """The variables `OTEL_*` of this process."""
    return {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}


class Below:
    """Spans of a process below those of its callers; OpenTelemetry is loaded with the first."""

    def __init__(self, instance: str) -> None:
        """`instance` names the process among those of a run."""
        self._instance = instance
        self._spans: Spans | None = None

    def span(
        self, name: str, caller: Caller | None, **attributes: Any
    ) -> AbstractContextManager[Span | None]:
        """A span below the caller's while the block lasts; nothing where there is no caller."""
        if caller is None:
            return nullcontext()
        if self._spans is None:
            from swarm.telemetry.spans import Spans

            self._spans = Spans(self._instance)
        return self._spans.span(name, caller, attributes)

    def past(self, span: Span | None, name: str, times: tuple[int, int]) -> None:
        """A span below `span` of work that is over: begin and end, ns since 1970.

        Nothing where there is no span, or the work was done before it began.
        """
        if span is not None and self._spans is not None:
            self._spans.past(span, name, times)

    def flush(self) -> Sent | None:
        """Send what is left; what became of all spans so far. None: there were none."""
        return None if self._spans is None else self._spans.flush()
