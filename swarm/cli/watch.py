"""`swarm run --watch`: a live dashboard on a terminal, plain lines of the same figures elsewhere.

The dashboard has the terminal's alternate screen to itself, so that a window of any size can be
redrawn from its first line. Whatever else is said meanwhile comes after it, and its last frame
stays on the normal screen.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live

from swarm.cli.progress import Lines, error_console
from swarm.cli.watch_figures import Figures
from swarm.cli.watch_frame import Frame

if TYPE_CHECKING:
    from swarm.grid.balance import Operated
    from swarm.market.record import Cleared
    from swarm.scenario.schema import Scenario

DRAW_SECONDS = 0.2
"""Least time between two frames."""
REDRAWS_PER_SECOND = 2
"""The last frame is drawn again this often: the window may have another size by now."""


class Watch:
    """Progress of a run as a dashboard on stderr; data go to stdout. Honours NO_COLOR."""

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is drawn before the first run begins.

        Args:
            console: None: stderr.
            clock: wall time in seconds.
        """
        self._console = console or error_console()
        self._clock = clock
        self._lines = Lines(self._console, clock)
        self._on_screen = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live: Live | None = None
        self._figures: Figures | None = None
        self._notes: list[str] = []
        self._about = ""
        self._drawn = 0.0
        self._streams = ExitStack()
        self._held: list[tuple[io.StringIO, Callable[[str], object]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is None:
            return
        try:
            self._live.stop()
        finally:
            self._live = None
            self._streams.close()
        if self._figures is not None:
            self._console.print(Frame(self._figures.shown()))
        for note in self._notes:
            self._lines.print(note)
        for held, write in self._held:
            write(held.getvalue())

    def note(self, text: str) -> None:
        """One line the user should know."""
        self._about = text
        line = f"note: {text}"
        if self._live is None:
            self._lines.print(line)
        else:
            self._notes.append(line)

    def begin(self, scenario: Scenario, names: Sequence[str]) -> None:
        """The run is valid and about to start; a second run starts anew.

        Args:
            scenario: of the run.
            names: of all agents, in global order.
        """
        if scenario.baseline is not None:
            self._about = f"compared with '{scenario.baseline.name}'"
        self._figures = Figures(scenario, names, self._about)
        self._about = ""
        if self._on_screen:
            self._draw(self._clock(), now=True)
        else:
            text = f"{scenario.name}: {len(names)} agents, {scenario.ticks} ticks"
            self._lines.say(text, now=True)

    def starting(self, ready: int, actors: int) -> None:
        """Ray actors come up."""
        assert self._figures is not None
        self._figures.starting(ready, actors)
        if self._on_screen:
            self._draw(self._clock(), now=False)
        else:
            self._lines.say(f"starting actors {ready}/{actors}", now=ready == actors)

    def traced(self, trace_id: str) -> None:
        """The run is traced under this id."""
        self._notes.append(f"trace: {trace_id}")

    def tick(self, cleared: Cleared, operated: Operated) -> None:
        """One tick was cleared."""
        figures = self._figures
        assert figures is not None
        was_settled, now = figures.settled, self._clock()
        figures.add(cleared, operated, now)
        # What came of the last tick is known with the first closing step: that line is the last.
        ended = figures.settled and not was_settled
        if self._on_screen:
            self._draw(now, now=ended)
        elif ended or (not was_settled and self._lines.due()):
            self._lines.say(figures.line(), now=True)

    def _draw(self, moment: float, *, now: bool) -> None:
        if not now and moment - self._drawn < DRAW_SECONDS:
            return
        assert self._figures is not None
        self._drawn = moment
        frame = Frame(self._figures.shown())
        if self._live is None:
            self._take_screen(frame)
        else:
            self._live.update(frame, refresh=True)

    def _take_screen(self, frame: Frame) -> None:
        """Open the alternate screen; what others print on this terminal is held back."""
        # The console keeps the stream it has: the one that is replaced here.
        self._console.file = self._console.file
        self._hold(redirect_stderr, sys.stderr.write)
        if sys.stdout.isatty():
            self._hold(redirect_stdout, sys.stdout.write)
        self._live = Live(
            frame,
            console=self._console,
            screen=True,
            refresh_per_second=REDRAWS_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def _hold(
        self,
        redirect: type[redirect_stderr[io.StringIO]] | type[redirect_stdout[io.StringIO]],
        write: Callable[[str], object],
    ) -> None:
        held = io.StringIO()
        self._streams.enter_context(redirect(held))
        self._held.append((held, write))
