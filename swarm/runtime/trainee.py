"""What a training trains: a team of learners, on days that are for training."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.agents.policy import Exploration
from swarm.errors import UsageError, nearest
from swarm.learning.files import PolicySet
from swarm.learning.team import Member, Settings, Team, TeamSpec
from swarm.loop import CLOSING_STEPS
from swarm.rng import uniforms
from swarm.runtime.world import LearningWorld, mean
from swarm.scenario.days import FIRST_VALIDATION_SEED, training_seed
from swarm.scenario.fleets import rosters
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario

EVERY = 12
"""Ticks that agents act with the same weights."""
SCORED = 4
"""Validation days of a score."""


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Attributes:
        scenario: the world and its agents; day and seed are replaced.
        data: real data that it reads.
        days: days to train on; empty: the scenario's own start.
        scored: days to score on; empty likewise.
        worlds: run side by side, each of a day and a seed of its own.
        kinds: that learn; others follow the heuristic.
        shared: one policy for all agents of a kind.
        seed: of everything drawn in training.
        settings: hyperparameters.
    """

    scenario: Scenario
    data: Path | None
    days: tuple[date, ...]
    scored: tuple[date, ...]
    worlds: int
    kinds: tuple[str, ...]
    shared: bool
    seed: int
    settings: Settings


class TeamTrainee:
    """Trains the agents of a scenario together, see `swarm.runtime.train.Trainee`.

    An episode is the scenario from start to end, in several worlds on training days. All agents
    act with the same weights for `EVERY` ticks, then learn, and go on with new ones.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        members = members_of(rosters(plan.scenario), plan.kinds)
        self.team = Team(TeamSpec(plan.settings, plan.seed, members, plan.worlds, plan.shared))

    def episode(self, index: int) -> dict[str, float]:
        """Live through a day in every world and learn from it."""
        plan, team = self.plan, self.team
        worlds = [
            self._world(
                _drawn(plan.days, plan.seed, index, world), training_seed(plan.seed, index, world)
            )
            for world in range(plan.worlds)
        ]
        told: list[dict[str, float]] = []
        prices: list[float] = []
        while not worlds[0].over:
            learned = team.learned(team.exploration())
            lived = [world.advance(learned, EVERY) for world in worlds]
            told.append(team.learn([experience for experience, _ in lived], worlds[0].over))
            prices += [price for _, found in lived for price in found]
        figures = _means(told)
        figures["epsilon"] = team.exploration().epsilon
        figures["price_per_mwh"] = mean(prices)
        agents = sum(member.agents for member in team.members)
        figures["agent_steps"] = float(plan.worlds * plan.scenario.ticks * agents)
        return figures

    def score(self) -> float:
        """Mean reward of the kinds without exploration, on days and seeds for validation."""
        greedy = Exploration(0.0, 0.0, stochastic=False)
        learned = self.team.learned(greedy)
        rewards: list[float] = []
        many = len(self.plan.scored) > 0
        for at in range(SCORED if many else 1):
            day = self.plan.scored[at * len(self.plan.scored) // SCORED] if many else None
            world = self._world(day, FIRST_VALIDATION_SEED + at)
            lived, _ = world.advance(learned, self.plan.scenario.ticks + CLOSING_STEPS)
            of_kind = [
                float(part.reward.mean()) for nets in lived.values() for part in nets.values()
            ]
            rewards.append(float(np.mean(of_kind)))
        return float(np.mean(rewards))

    def policies(self) -> PolicySet:
        """What was learned so far."""
        return self.team.policies()

    def state(self) -> dict[str, NDArray[Any]]:
        """See `Team.state`."""
        return self.team.state()

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `Team.load`."""
        self.team.load(state)

    def _world(self, day: date | None, seed: int) -> LearningWorld:
        scenario = self.plan.scenario.model_copy(update={"seed": seed})
        if day is not None:
            start = scenario.start.replace(year=day.year, month=day.month, day=day.day)
            scenario = scenario.model_copy(update={"start": start})
        return LearningWorld(scenario, self.plan.data, self.team.learned(None))


def kinds_of(scenario: Scenario, asked: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds of a scenario's agents that learn: those asked for, or all.

    Raises:
        UsageError: one that the scenario has not.
    """
    there = tuple(roster.kind for roster in rosters(scenario))
    for kind in asked:
        if kind not in there:
            raise UsageError(
                f"--kinds {kind!r}: the scenario has no such agents{nearest(kind, there)}; "
                f"it has {', '.join(there)}"
            )
    return asked or there


def members_of(agents: Sequence[Roster], kinds: Container[str]) -> tuple[Member, ...]:
    """The agents of these kinds as members of a team."""
    return tuple(
        Member(roster.kind, roster.first, len(roster)) for roster in agents if roster.kind in kinds
    )


def _drawn(days: tuple[date, ...], seed: int, episode: int, world: int) -> date | None:
    """Day of one world of one episode, each as likely."""
    if not days:
        return None
    return days[int(uniforms(seed, "training/day", episode, world, 1)[0, 0] * len(days))]


def _means(told: list[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for each in told for name in each})
    return {name: mean([each[name] for each in told if name in each]) for name in names}
