"""What a training trains: a team of learners, in worlds that are for training."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.agents.policy import Exploration, Learned
from swarm.errors import UsageError, nearest
from swarm.learning.files import PolicySet
from swarm.learning.operator import episode_preference
from swarm.learning.team import Member, Settings, Team, TeamSpec
from swarm.loop import CLOSING_STEPS
from swarm.rng import uniforms
from swarm.runtime.lessons import EVERY, means
from swarm.runtime.worlds import Here, Opening, Place, Processes, Worlds
from swarm.scenario.days import (
    FIRST_VALIDATION_SEED,
    NEM_REGIONS,
    Split,
    days_of,
    nem_windows,
    training_seed,
)
from swarm.scenario.fleets import rosters
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario

SCORED = 4
"""Validation worlds of a score."""
YEAR_TICK_MINUTES, WEEK = 60, 7
"""A year is lived through in weeks of hours."""


@dataclass(frozen=True)
class Lesson:
    """What is trained, and where.

    Attributes:
        scenario: the agents and their world; its start and seed are replaced.
        train: places to train in; a world is in one of them, each as likely.
        validate: places to score in.
        worlds: run side by side.
        team: the learners.
        settled: policies of kinds that act on what they have learned before, and learn no more.
    """

    scenario: Scenario
    train: tuple[Place, ...]
    validate: tuple[Place, ...]
    worlds: int
    team: TeamSpec
    settled: PolicySet = field(default_factory=dict)


class TeamTrainee:
    """Trains the agents of a scenario together, see `swarm.runtime.train.Trainee`.

    An episode is the scenario from start to end, in several worlds. All agents act with the same
    weights for `EVERY` ticks, then learn from what all worlds saw, and go on with new ones.
    """

    def __init__(self, lesson: Lesson, worlds: Worlds) -> None:
        self.lesson, self._worlds = lesson, worlds
        self.team = Team(lesson.team)

    def episode(self, index: int) -> dict[str, float]:
        """Live through the scenario in every world and learn from it."""
        lesson, team = self.lesson, self.team
        # The last closing step settles a tick that nothing follows, and so teaches nothing: alone,
        # it could not tell the learners that the worlds end.
        seed, ticks = lesson.team.seed, lesson.scenario.ticks + CLOSING_STEPS - 1
        openings = [
            Opening(
                lesson.scenario,
                _drawn(lesson.train, seed, index, world),
                training_seed(seed, index, world),
                episode_preference(seed, index * lesson.worlds + world),
            )
            for world in range(lesson.worlds)
        ]
        self._worlds.open(openings, self._learned(None))
        told: list[dict[str, float]] = []
        prices: list[float] = []
        for start in range(0, ticks, EVERY):
            lived = self._worlds.advance(self._learned(team.exploration()), EVERY)
            told.append(team.learn([each for each, _ in lived], start + EVERY >= ticks))
            prices += [price for _, found in lived for price in found]
        agents = sum(member.agents for member in team.members)
        return {
            **means(told),
            "epsilon": team.exploration().epsilon,
            "price_per_mwh": float(np.mean(prices)) if prices else 0.0,
            "agent_steps": float(lesson.worlds * lesson.scenario.ticks * agents),
        }

    def score(self) -> float:
        """Mean reward of the kinds without exploration, on days and seeds for validation."""
        lesson, count = self.lesson, SCORED
        places = [lesson.validate[at * len(lesson.validate) // count] for at in range(count)]
        openings = [
            Opening(lesson.scenario, place, FIRST_VALIDATION_SEED + at)
            for at, place in enumerate(places)
        ]
        learned = self._learned(Exploration(0.0, 0.0, stochastic=False))
        self._worlds.open(openings, learned)
        lived = self._worlds.advance(learned, lesson.scenario.ticks + CLOSING_STEPS)
        rewards = [
            np.mean([part.reward.mean() for nets in kinds.values() for part in nets.values()])
            for kinds, _ in lived
        ]
        return float(np.mean(rewards))

    def policies(self) -> PolicySet:
        """What was learned so far, and what was settled before."""
        return {**self.lesson.settled, **self.team.policies()}

    def state(self) -> dict[str, NDArray[Any]]:
        """See `Team.state`."""
        return self.team.state()

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `Team.load`."""
        self.team.load(state)

    def close(self) -> None:
        """End the worlds' processes."""
        self._worlds.close()

    def _learned(self, exploration: Exploration | None) -> dict[str, Learned]:
        settled = {kind: Learned(nets) for kind, nets in self.lesson.settled.items()}
        return {**settled, **self.team.learned(exploration)}


def make_trainee(
    scenario: Scenario,
    *,
    data: Path | None = None,
    year: bool = False,
    worlds: int = 1,
    kinds: tuple[str, ...] = (),
    shared: bool = True,
    start: PolicySet | None = None,
    engine: str = "inline",
    jobs: int | None = None,
    settings: Settings | None = None,
    built_in_too: bool = False,
) -> TeamTrainee:
    """The agents of a scenario, about to be trained.

    Args:
        scenario: whose seed all of the training is drawn from.
        data: real data. A folder with the prices of the Australian market is cut into the windows
            of `swarm.scenario.days`; other data is lived through as the scenario says.
        year: train in hours, in the training weeks of a year of 8,760 hours.
        worlds: run side by side.
        kinds: that learn; empty: all.
        shared: one policy for all agents of a kind, instead of one for each.
        start: policies to go on from; kinds that do not learn act on theirs as they are.
        engine: `inline`, worlds in `jobs` processes, or `ray`, each world in an actor.
        jobs: processes; None is one, this process.
        settings: hyperparameters.
        built_in_too: with data, live half of the time in the built-in world.

    Raises:
        UsageError: kinds that the scenario has not, or data without training days.
    """
    if year:
        hours = {"tick_minutes": YEAR_TICK_MINUTES, "ticks": 24 * WEEK, "events": ()}
        scenario = scenario.model_copy(update=hours)
    there = rosters(scenario)
    present = [roster.kind for roster in there]
    learning = kinds_of(present if scenario.grid is None else [*present, "operator"], kinds)
    members = members_of(there, learning)
    if "operator" in learning:
        members = (*members, Member("operator", 0, 1))
    team = TeamSpec(settings or Settings(), scenario.seed, members, worlds, shared, start or {})
    train, validate = (places_of(scenario, data, split, year) for split in ("train", "validation"))
    if built_in_too and data is not None:
        train = _evenly(train, places_of(scenario, None, "train", year))
        validate = _evenly(validate, places_of(scenario, None, "validation", year))
    settled = {kind: nets for kind, nets in (start or {}).items() if kind not in learning}
    lesson = Lesson(scenario, train, validate, worlds, team, settled)
    if engine == "ray":
        from swarm.runtime.local_ray import prepare

        prepare(None)
        from swarm.runtime.ray.worlds import RayWorlds

        return TeamTrainee(lesson, RayWorlds())
    many = min(jobs or 1, worlds)
    return TeamTrainee(lesson, Processes(many) if many > 1 else Here())


def places_of(scenario: Scenario, data: Path | None, split: Split, year: bool) -> tuple[Place, ...]:
    """Where a scenario is lived through for a split.

    Raises:
        UsageError: a folder of data without a file of a region that is known.
    """
    if data is not None and data.is_dir() and not scenario_reads_folder(data):
        files = {region: data / f"{region}_5min.csv" for region in NEM_REGIONS}
        days = max(1, scenario.ticks * scenario.tick_minutes // 1440)
        found = [
            Place(files[window.region], window.start)
            for window in nem_windows(split, days)
            if files[window.region].exists()
        ]
        if not found:
            raise UsageError(f"--data {data}: no {split} days are in it")
        return tuple(found)
    if data is not None:
        return (Place(data),)
    days_ = days_of(split, scenario.start.year)
    if year:
        days_ = tuple(day for day in days_ if day.isoweekday() == 1)
    return tuple(Place(None, _on(scenario, day)) for day in days_)


def _evenly(one: tuple[Place, ...], other: tuple[Place, ...]) -> tuple[Place, ...]:
    """Both lists, each repeated until a draw is as likely to be from the one as from the other."""
    return one * len(other) + other * len(one)


def scenario_reads_folder(data: Path) -> bool:
    """Whether a folder is one data set, and not several files of prices."""
    return not any((data / f"{region}_5min.csv").exists() for region in NEM_REGIONS)


def kinds_of(there: Sequence[str], asked: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds that learn: those asked for, or all that are there.

    Raises:
        UsageError: one that is not there.
    """
    for kind in asked:
        if kind not in there:
            raise UsageError(
                f"--kinds {kind!r}: the scenario has no such agents{nearest(kind, there)}; "
                f"it has {', '.join(there)}"
            )
    return asked or tuple(there)


def members_of(agents: Sequence[Roster], kinds: Container[str]) -> tuple[Member, ...]:
    """The agents of these kinds as members of a team."""
    return tuple(
        Member(roster.kind, roster.first, len(roster)) for roster in agents if roster.kind in kinds
    )


def _on(scenario: Scenario, day: date) -> Any:
    return scenario.start.replace(year=day.year, month=day.month, day=day.day)


def _drawn(places: tuple[Place, ...], seed: int, episode: int, world: int) -> Place:
    """Place of one world of one episode, each as likely."""
    return places[int(uniforms(seed, "training/place", episode, world, 1)[0, 0] * len(places))]
