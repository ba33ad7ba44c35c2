"""Logs as JSON, one object a line on stderr, for machines that collect them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from swarm.errors import SwarmError

if TYPE_CHECKING:
    from swarm.grid.balance import Operated
    from swarm.market.record import Cleared
    from swarm.scenario.schema import Scenario

TICK_SECONDS = 5.0
"""Least wall-clock time between two lines of ticks."""


class JsonLog:
    """Progress of a run as lines of JSON; see `swarm.runtime.session.Progress`.

    Every line has `time` (UTC), `level` and `message`, and once they are known `scenario` and
    `trace_id`, by which a line is found in the traces.
    """

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """With `quiet` only errors are told."""
        self._quiet, self._clock = quiet, clock
        self._known: dict[str, Any] = {}
        self._scenario: Scenario | None = None
        self._said = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, SwarmError):
            self._write("error", str(error), exit_code=error.exit_code)
            error.told = True
        elif isinstance(error, KeyboardInterrupt):
            self._write("warning", "interrupted")

    def note(self, text: str) -> None:
        """Something the user should know."""
        self._say(text)

    def begin(self, scenario: Scenario, names: Sequence[str]) -> None:
        """A run is valid and about to start."""
        self._scenario = scenario
        self._known = {"scenario": scenario.name}
        self._say("run starts", agents=len(names), ticks=scenario.ticks, seed=scenario.seed)

    def starting(self, ready: int, actors: int) -> None:
        """Actors come up."""
        if ready == actors:
            self._say("actors are up", actors=actors)

    def traced(self, trace_id: str) -> None:
        """The run is traced under this id."""
        self._known["trace_id"] = trace_id
        self._say("run is traced")

    def tick(self, cleared: Cleared, operated: Operated) -> None:
        """A tick went by: a line now and then, one for the last, and one for each emergency."""
        scenario = self._scenario
        assert scenario is not None
        for event in operated.events:
            if event.step == "detection":
                hertz = round(event.frequency_hz, 4)
                self._write("warning", "emergency detected", tick=event.tick, frequency_hz=hertz)
        done, now = cleared.tick + 1, self._clock()
        if done > scenario.ticks or (done < scenario.ticks and now - self._said < TICK_SECONDS):
            return
        self._said = now
        simulated = scenario.start + timedelta(minutes=cleared.tick * scenario.tick_minutes)
        price = cleared.price_milli
        self._say(
            "tick",
            tick=cleared.tick,
            simulated=simulated.isoformat(),
            price_per_mwh=None if price is None else price / 1000,
            volume_w=cleared.volume_w,
            contracts=cleared.contracts,
            violations=cleared.violations,
        )

    def _say(self, message: str, **more: Any) -> None:
        if not self._quiet:
            self._write("info", message, **more)

    def _write(self, level: str, message: str, **more: Any) -> None:
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "message": message,
            **self._known,
            **more,
        }
        print(json.dumps(line, allow_nan=False), file=sys.stderr, flush=True)
