"""Learning during a run: after every few ticks agents learn and go on with what they learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from swarm.agents.policy import Exploration
from swarm.errors import UsageError
from swarm.runtime.minds import Minds
from swarm.runtime.timing import Phases
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario

if TYPE_CHECKING:
    from swarm.learning.files import PolicySet
    from swarm.learning.team import TeamSpec

EVERY = 12
"""Ticks between two lessons, in training too: an hour of five-minute ticks."""
EPSILON, NOISE = 0.05, 0.05
"""How agents explore that learn while they are at work; see `Exploration`."""


class LearningEngine(Protocol):
    """An engine whose agents can learn."""

    def start_learning(self, spec: TeamSpec) -> None:
        """Have the agents learn."""

    def learn(self, last: bool) -> dict[str, float]:
        """Learn from what was lived through since the last call, and act on that."""

    def policies(self) -> PolicySet:
        """What was learned so far."""


def learning(minds: Minds) -> Minds:
    """Minds that explore while they are at work.

    Raises:
        UsageError: none of the agents follows a policy that learns.
    """
    explores = Exploration(EPSILON, NOISE, EPSILON)
    if minds.policy != "trained":
        raise UsageError(
            f"--learn: the agents follow {minds.policy}, which does not learn; expected "
            "--policy trained"
        )
    learned = {kind: replace(each, exploration=explores) for kind, each in minds.learned.items()}
    return replace(minds, learned=learned)


class Lessons:
    """The lessons of one run."""

    STATE = ("_told",)
    """See `swarm.snapshot`."""

    def __init__(
        self,
        engine: LearningEngine,
        minds: Minds,
        agents: Sequence[Roster],
        scenario: Scenario,
        shared: bool,
        phases: Phases,
    ) -> None:
        """Start what learns, from the policies that agents act with.

        Args:
            engine: runs the agents.
            minds: what they follow.
            agents: of the scenario, by kind.
            scenario: what is run.
            shared: one policy for all agents of a kind.
            phases: is told what learning takes.
        """
        from swarm.learning.team import Member, TeamSpec, at_work

        self._engine, self._phases, self._ticks = engine, phases, scenario.ticks
        self._told: list[dict[str, float]] = []
        members = tuple(
            Member(roster.kind, roster.first, len(roster))
            for roster in agents
            if roster.kind in minds.learned
        )
        if "operator" in minds.learned:
            members = (*members, Member("operator", 0, 1))
        policies = {kind: each.weights for kind, each in minds.learned.items()}
        spec = TeamSpec(at_work(EPSILON, NOISE), scenario.seed, members, 1, shared, policies)
        with phases.measure("learn"):
            engine.start_learning(spec)

    def after(self, tick: int) -> Mapping[str, float]:
        """Tick `tick` was cleared: learn, if it is time; the figures of the lesson."""
        if (tick + 1) % EVERY or tick >= self._ticks:
            return {}
        with self._phases.measure("learn"):
            self._told.append(self._engine.learn(last=False))
        return self._told[-1]

    def finish(self, folder: Path | None, metrics: dict[str, Any]) -> None:
        """Put the figures into `metrics`, and what was learned into the run's folder."""
        metrics["learning"] = {"lessons": len(self._told), **means(self._told)}
        if folder is not None:
            from swarm.learning.files import save_policies

            card = {"learned_during": folder.name, "kinds": {}}
            save_policies(folder / "policies", self._engine.policies(), card)


def means(told: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each figure over the lessons that have it."""
    names = sorted({name for each in told for name in each})
    return {name: float(np.mean([each[name] for each in told if name in each])) for name in names}
