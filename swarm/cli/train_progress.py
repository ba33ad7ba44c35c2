"""What `swarm train` shows while it works: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from swarm.cli.progress import Lines, error_console


class TrainProgress:
    """Progress of a training on stderr; data go to stdout. Honours NO_COLOR."""

    def __init__(
        self,
        *,
        quiet: bool,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quiet, self._clock = quiet, clock
        self._console = console or error_console()
        self._lines = Lines(self._console)
        self._live = self._console.is_terminal and not quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[detail]}"),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._episodes, self._before, self._since = 0, 0, 0.0

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

    def begin(self, folder: Path, done: int, episodes: int) -> None:
        """See `swarm.runtime.train.Told`."""
        self._episodes, self._before, self._since = episodes, done, self._clock()
        resumed = f", {done} done before" if done else ""
        self._say(f"{folder}: {episodes} episodes{resumed}", now=True)
        self._task = self._bar.add_task("episode", total=episodes, completed=done, detail="")

    def episode(self, done: int, figures: Mapping[str, float], seconds: float) -> None:
        """See `swarm.runtime.train.Told`."""
        # By all the time that passed: scores and checkpoints take theirs too.
        passed = self._clock() - self._since
        left = passed / (done - self._before) * (self._episodes - done)
        detail = figure_words(figures, seconds, left)
        if self._live:
            assert self._task is not None
            self._bar.update(self._task, completed=done, detail=detail)
        else:
            self._say(f"episode {done}/{self._episodes}  {detail}", now=done == self._episodes)

    def scored(self, done: int, score: float, best: bool) -> None:
        """See `swarm.runtime.train.Told`."""
        self._say(f"score after {done}: {score:.4g}{', the best' if best else ''}", now=True)

    def note(self, text: str) -> None:
        """See `swarm.runtime.train.Told`."""
        self._say(f"note: {text}", now=True)

    def _say(self, line: str, *, now: bool) -> None:
        if self._quiet:
            return
        if now:
            # Scores and notes do not put off the lines of episodes.
            self._lines.print(line)
        else:
            self._lines.say(line, now=False)


def figure_words(figures: Mapping[str, float], seconds: float, left_seconds: float) -> str:
    """Reward and loss, each a mean over kinds, exploration, price, speed and the time left."""
    words = []
    for name in ("reward", "loss"):
        of_kinds = [value for key, value in figures.items() if key.startswith(f"{name}/")]
        if of_kinds:
            words.append(f"{name} {sum(of_kinds) / len(of_kinds):.4g}")
    if "epsilon" in figures:
        words.append(f"epsilon {figures['epsilon']:.2f}")
    if "price_per_mwh" in figures:
        words.append(f"price {figures['price_per_mwh']:,.2f}/MWh")
    if "agent_steps" in figures and seconds > 0:
        words.append(f"{figures['agent_steps'] / seconds:,.0f} agent-steps/s")
    words.append(f"{timedelta(seconds=round(left_seconds))} left")
    return "  ".join(words)
