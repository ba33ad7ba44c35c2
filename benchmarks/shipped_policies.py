"""Train the policies that come with swarm, from nothing, and write them with their cards.

    python benchmarks/shipped_policies.py [--out swarm/learning/shipped] [--data FOLDER] [--jobs 2]
        [--only storage,consumer] [--dry]

Lessons in a row: each kind learns where it matters most, and acts on what it has learned in the
lessons after that. All is drawn from one seed, on training days and seeds alone
(`swarm.scenario.days`); `best` is chosen on validation days. Measured prices of the Australian
market are used for half of the time where `--data` names their folder; without it the weights
differ from the shipped ones.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts

from swarm.learning.files import PolicySet, load_policies, save_policies
from swarm.learning.team import Settings
from swarm.runtime.train import Options, train
from swarm.runtime.trainee import make_trainee
from swarm.scenario.fleets import rosters
from swarm.scenario.load import load_scenario, scenario_yaml
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario

SEED = 20251121
COVERED = {
    "generator": (
        "marginal_cost_per_mwh",
        "capacity_mw",
        "start_cost",
        "min_up_hours",
        "min_down_hours",
    ),
    "consumer": ("response_price_per_mwh", "shift_window_hours"),
    "storage": ("round_trip_efficiency", "degradation_cost_per_mwh"),
    "ev": ("round_trip_efficiency", "degradation_cost_per_mwh"),
    "home": ("round_trip_efficiency", "degradation_cost_per_mwh"),
}
"""Parameters whose range a card states, by kind; all else reaches the networks as shares."""


PRICE_TAKERS = ("generator", "storage", "ev", "home")
"""Kinds that could move the price, and could not in their lessons. Solar, wind and consumers offer
at or below zero and at their comfort whatever the price."""


@dataclass(frozen=True)
class Lesson:
    """One training."""

    scenario: str
    kinds: tuple[str, ...]
    episodes: int
    worlds: int
    sets: tuple[str, ...] = ()
    measured: bool = False
    """On measured prices for half of the time."""
    change: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Hyperparameters other than the defaults, by network."""


WEAR = tuple(
    f"fleets.{fleet}.parameters.degradation_cost_per_mwh={{uniform: [0, 45]}}" for fleet in range(4)
)
"""Dearer wear than the scenario's, so that small batteries are covered too."""
MANY = tuple(f"fleets.{fleet}.count=16" for fleet in range(4))
COMFORT = tuple(
    f"fleets.{fleet}.parameters.response_price_per_mwh={{uniform: [50, 900]}}" for fleet in range(2)
)
STORAGE = ("ticks=288", *MANY, *WEAR)
FINER = {"learning_rate": 0.00025, "batch": 8192, "entropy": 0.0002, "std_least": 0.12}
BUILT_IN = Lesson(
    "storage_alone",
    ("storage",),
    40,
    8,
    ("ticks=288", *MANY, *WEAR[1:3]),
    change={"storage": {**FINER, "learning_rate": 0.0004}},
)
TWO_DAYS = Lesson(
    "storage_alone",
    ("storage",),
    24,
    8,
    (*MANY, WEAR[1]),
    change={"storage": {**FINER, "learning_rate": 0.0004}},
)
"""A day without and a day with a day of prices behind it."""
LESSONS = (
    Lesson("storage_alone", ("storage",), 40, 8, STORAGE, measured=True),
    Lesson("storage_alone", ("storage",), 40, 8, STORAGE, measured=True, change={"storage": FINER}),
    BUILT_IN,
    BUILT_IN,
    TWO_DAYS,
    Lesson("consumers_alone", ("consumer",), 10, 1, ("ticks=288", *COMFORT)),
    Lesson("price_takers", ("generator", "solar", "wind", "ev", "home"), 40, 1),
    Lesson("emergency", ("operator",), 40, 2, change={"operator": {"epsilon_ticks": 4000}}),
)


def settings_of(lesson: Lesson) -> Settings:
    """The defaults with the lesson's changes."""
    found = Settings()
    return found.model_copy(
        update={
            network: getattr(found, network).model_copy(update=change)
            for network, change in lesson.change.items()
        }
    )


def learn(lesson: Lesson, data: Path | None, start: PolicySet, work: Path, jobs: int) -> Any:
    """Train one lesson; what came of it."""
    scenario = load_scenario(lesson.scenario, sets=lesson.sets, seed=SEED).scenario
    place = data if lesson.measured else None
    trainee = make_trainee(
        scenario,
        data=place,
        worlds=lesson.worlds,
        kinds=lesson.kinds,
        start=start,
        jobs=min(jobs, lesson.worlds),
        settings=settings_of(lesson),
        built_in_too=True,
    )
    options = Options(
        scenario=scenario.name,
        seed=SEED,
        resolved=scenario_yaml(scenario),
        settings={"kinds": list(lesson.kinds), "worlds": lesson.worlds, "change": lesson.change},
        episodes=lesson.episodes,
        every=max(1, lesson.episodes // 10),
        out=work,
    )
    try:
        return train(trainee, options, _Lines())
    finally:
        trainee.close()


def covers(roster: Roster, scenario: Scenario) -> dict[str, Any]:
    """The range that a card states: what the agents of a lesson were."""
    found: dict[str, Any] = {
        "tick_minutes": [scenario.tick_minutes, scenario.tick_minutes],
        "mechanism": sorted({scenario.market.mechanism, "negotiated"}),
        "reserve": scenario.grid is not None and scenario.grid.reserves is not None,
    }
    if roster.kind in PRICE_TAKERS:
        found["price_taker"] = True
    for name in COVERED.get(roster.kind, ()):
        values = roster.column(name)
        values = values[np.isfinite(values)]
        if len(values):
            # A fifth more on both sides: what was drawn is not the edge of what is alike.
            edge = 0.2 * (values.max() - values.min())
            low = values.min() - edge
            least = low if values.min() < 0 else max(0.0, low)
            found[name] = [float(least), float(values.max() + edge)]
    return found


class _Lines:
    def begin(self, folder: Path, done: int, episodes: int) -> None:
        click.echo(f"  {folder.name}: {episodes} episodes", err=True)

    def episode(self, done: int, figures: Any, seconds: float) -> None:
        rewards = {k: round(v, 3) for k, v in figures.items() if k.startswith("reward")}
        click.echo(f"  {done} {seconds:.1f} s {rewards}", err=True)

    def scored(self, done: int, score: float, best: bool) -> None:
        click.echo(f"  {done} score {score:.4f}{' best' if best else ''}", err=True)

    def note(self, text: str) -> None:
        click.echo(f"  note: {text}", err=True)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("swarm/learning/shipped"))
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Measured prices.")
@click.option("--jobs", default=2, show_default=True)
@click.option("--only", help="Kinds to train; the others are taken from --out as they are.")
def main(out: Path, data: Path | None, jobs: int, only: str | None) -> None:
    """Train all lessons in a row and write the policies."""
    kinds = None if only is None else set(only.split(","))
    start: PolicySet = {}
    cards: dict[str, Any] = {}
    if kinds is not None:
        before = load_policies(out)
        start = {kind: nets for kind, nets in before.policies.items() if kind not in kinds}
        cards = {kind: card for kind, card in before.card["kinds"].items() if kind not in kinds}
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        for lesson in LESSONS:
            if kinds is not None and not kinds & set(lesson.kinds):
                continue
            click.echo(f"{lesson.scenario}: {', '.join(lesson.kinds)}", err=True)
            began = time.perf_counter()
            done = learn(lesson, data, start, Path(work), jobs)
            start = load_policies(done.policies).policies
            scenario = load_scenario(lesson.scenario, sets=lesson.sets, seed=SEED).scenario
            told = {
                "scenario": lesson.scenario,
                "changes": list(lesson.sets),
                "measured_prices": lesson.measured and data is not None,
                "episodes": done.episodes,
                "best_episode": done.best_episode,
                "validation_score": round(done.score, 5),
                "worlds": lesson.worlds,
                "seconds": round(time.perf_counter() - began),
                "hyperparameters": lesson.change,
            }
            there = {roster.kind: roster for roster in rosters(scenario)}
            for kind in lesson.kinds:
                cards[kind] = {
                    "covers": covers(there[kind], scenario) if kind in there else {},
                    "trained_on": [*cards.get(kind, {}).get("trained_on", ()), told],
                    "seed": SEED,
                    "days": "training days of swarm.scenario.days; test days and seeds not seen",
                    "command": "python benchmarks/shipped_policies.py --data FOLDER",
                }
    card = {"kinds": cards, "machine": facts(), "seconds": round(time.perf_counter() - begin)}
    sha256 = save_policies(out, start, card)
    click.echo(json.dumps({"sha256": sha256, "seconds": card["seconds"]}))


if __name__ == "__main__":
    sys.exit(main())
