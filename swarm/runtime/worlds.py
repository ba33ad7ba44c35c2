"""Worlds that are learned in side by side: in this process, or in processes of their own."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from swarm.agents.experience import Experience
from swarm.agents.policy import Learned
from swarm.errors import RunError, SwarmError
from swarm.runtime.world import LearningWorld
from swarm.scenario.schema import Scenario

Lived = tuple[dict[str, dict[str, Experience]], list[float]]
"""What agents lived through, and the clearing prices."""


@dataclass(frozen=True)
class Place:
    """Where a world is: real data or none, and when it starts; None: as the scenario says."""

    data: Path | None = None
    start: datetime | None = None


@dataclass(frozen=True)
class Opening:
    """A world that is about to be lived in."""

    scenario: Scenario
    place: Place
    seed: int
    preference: tuple[float, ...] | None = None
    """Of an operator that learns; None: the scenario's."""

    def world(self, learned: Mapping[str, Learned]) -> LearningWorld:
        """The world, its agents acting with `learned` at first."""
        change: dict[str, Any] = {"seed": self.seed}
        if self.place.start is not None:
            change["start"] = self.place.start
        scenario = self.scenario.model_copy(update=change)
        return LearningWorld(scenario, self.place.data, learned, self.preference)


class Worlds(Protocol):
    """Several worlds that go on in step."""

    def open(self, openings: Sequence[Opening], learned: Mapping[str, Learned]) -> None:
        """Leave the worlds before and begin these."""

    def advance(self, learned: Mapping[str, Learned], ticks: int) -> list[Lived]:
        """Let some ticks go by in every world, agents acting with `learned`; in their order."""

    def close(self) -> None:
        """End what runs them."""


class Here:
    """Worlds in this process, one after the other."""

    def __init__(self) -> None:
        self._worlds: list[LearningWorld] = []

    def open(self, openings: Sequence[Opening], learned: Mapping[str, Learned]) -> None:
        """See `Worlds`."""
        self._worlds = [opening.world(learned) for opening in openings]

    def advance(self, learned: Mapping[str, Learned], ticks: int) -> list[Lived]:
        """See `Worlds`."""
        return [world.advance(learned, ticks) for world in self._worlds]

    def close(self) -> None:
        """See `Worlds`."""
        self._worlds = []


class Processes:
    """Worlds dealt out to processes of this machine; the same bytes as `Here`."""

    def __init__(self, processes: int) -> None:
        # Fresh processes: a fork would copy locks of threads that numpy and torch have started.
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self._count = 0

    def open(self, openings: Sequence[Opening], learned: Mapping[str, Learned]) -> None:
        """See `Worlds`."""
        self._count = len(openings)
        for at, pipe in enumerate(self._pipes):
            pipe.send(("open", openings[at :: len(self._pipes)], learned))
        self._answers()

    def advance(self, learned: Mapping[str, Learned], ticks: int) -> list[Lived]:
        """See `Worlds`."""
        for pipe in self._pipes:
            pipe.send(("advance", learned, ticks))
        answers = self._answers()
        n = len(answers)
        return [answers[at % n][at // n] for at in range(self._count)]

    def _answers(self) -> list[Any]:
        answers = []
        for pipe in self._pipes:
            try:
                answer = pipe.recv()
            except EOFError:
                raise RunError("a process that runs worlds died; memory may be short") from None
            if isinstance(answer, SwarmError):
                raise answer
            answers.append(answer)
        return answers

    def close(self) -> None:
        """See `Worlds`."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()


def _serve(pipe: Connection) -> None:
    """Run worlds until the other end of the pipe is gone; Ctrl-C is for the process there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    here = Here()
    while True:
        try:
            message, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(getattr(here, message)(*arguments))
        except SwarmError as error:
            pipe.send(error)
