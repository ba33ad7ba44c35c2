"""What `swarm run` shows while it works: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from swarm.grid.balance import Operated
    from swarm.market.record import Cleared
    from swarm.scenario.schema import Scenario

PLAIN_SECONDS = 5.0
"""Least time between two plain lines."""


def error_console() -> Console:
    """The console on stderr. Honours NO_COLOR; only a terminal ever gets control codes."""
    return Console(
        stderr=True,
        no_color="NO_COLOR" in os.environ or None,
        force_terminal=sys.stderr.isatty(),
    )


def price_words(price_milli: int | None, currency: str) -> str:
    """A clearing price; None: no trade."""
    return "no trade" if price_milli is None else f"{price_milli / 1000:,.2f} {currency}/MWh"


class Lines:
    """Plain lines on a console, not too many of them."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._said = float("-inf")

    def due(self) -> bool:
        """The last line that may set the pace is long enough ago."""
        return self._clock() - self._said >= PLAIN_SECONDS

    def say(self, line: str, *, now: bool) -> None:
        """A plain line, unless one was printed just before and this one can wait."""
        if now or self.due():
            self._said = self._clock()
            self.print(line)

    def print(self, line: str) -> None:
        """A plain line that does not put off others."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class RunProgress:
    """Progress of a run on stderr; data go to stdout. Honours NO_COLOR."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = error_console()
        self._lines = Lines(self._console)
        self._live = self._console.is_terminal and not quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._phase = ""
        self._scenario: Scenario | None = None
        self._unserved_w = 0
        self._ticking_since = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """One line the user should know."""
        if not self._quiet:
            self._lines.print(f"note: {text}")

    def begin(self, scenario: Scenario, names: Sequence[str]) -> None:
        """The run is valid and about to start; `names` are of all agents, in global order."""
        self._scenario = scenario
        self._say(f"{scenario.name}: {len(names)} agents, {scenario.ticks} ticks", now=True)

    def starting(self, ready: int, actors: int) -> None:
        """Ray actors come up."""
        self._show("starting actors", ready, actors, "")

    def traced(self, trace_id: str) -> None:
        """The run is traced under this id."""
        self._say(f"trace: {trace_id}", now=True)

    def tick(self, cleared: Cleared, operated: Operated) -> None:
        """One tick was cleared."""
        assert self._scenario is not None
        if cleared.tick >= self._scenario.ticks:
            return
        if operated.balance is not None:
            self._unserved_w = operated.balance.unserved_w
        now = time.monotonic()
        done = cleared.tick + 1
        if cleared.tick == 0:
            self._ticking_since = now
        passed = now - self._ticking_since
        minutes = cleared.tick * self._scenario.tick_minutes
        clock = self._scenario.start + timedelta(minutes=minutes)
        shown = price_words(cleared.price_milli, self._scenario.currency)
        rate = f"{cleared.tick / passed:,.1f} ticks/s" if cleared.tick and passed > 0 else ""
        detail = (
            f"{clock:%Y-%m-%d %H:%M}  {shown}  {cleared.volume_w / 1e6:,.3f} MW  "
            f"unserved {self._unserved_w / 1e6:,.3f} MW  {rate}"
        )
        self._show("tick", done, self._scenario.ticks, detail)

    def _show(self, phase: str, done: int, total: int, detail: str) -> None:
        if self._live:
            if phase != self._phase:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task(phase, total=total, detail=detail)
            assert self._task is not None
            self._bar.update(self._task, completed=done, detail=detail)
        else:
            self._say(f"{phase} {done}/{total}  {detail}".rstrip(), now=done == total)
        self._phase = phase

    def _say(self, line: str, *, now: bool) -> None:
        if not self._quiet:
            self._lines.say(line, now=now)
