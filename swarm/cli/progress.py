"""What `swarm run` shows while it works: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import os
import time
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from swarm.grid.balance import Operated
    from swarm.market.auctioneer import Cleared
    from swarm.scenario.schema import Scenario

PLAIN_SECONDS = 5.0
"""Least time between two plain lines."""


class RunProgress:
    """Progress of a run on stderr; data go to stdout. Honours NO_COLOR."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, no_color="NO_COLOR" in os.environ or None)
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
        self._said = self._ticking_since = 0.0

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
            self._console.print(f"note: {text}", markup=False, highlight=False, soft_wrap=True)

    def begin(self, scenario: Scenario, agents: int) -> None:
        """The run is valid and about to start."""
        self._scenario = scenario
        self._say(f"{scenario.name}: {agents} agents, {scenario.ticks} ticks", now=True)

    def starting(self, ready: int, actors: int) -> None:
        """Ray actors come up."""
        self._show("starting actors", ready, actors, "")

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
        price = math.nan if cleared.price_milli is None else cleared.price_milli / 1000
        shown = "no trade" if math.isnan(price) else f"{price:,.2f} {self._scenario.currency}/MWh"
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
        """A plain line, unless one was printed just before and this one can wait."""
        moment = time.monotonic()
        if self._quiet or (not now and moment - self._said < PLAIN_SECONDS):
            return
        self._said = moment
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
