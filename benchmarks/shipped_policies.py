"""Train the policies that come with swarm, from nothing, and write them with their cards.

    python benchmarks/shipped_policies.py [--out swarm/learning/shipped] [--data FOLDER] [--jobs 2]
        [--only storage,consumer]

Lessons in a row: each kind learns where it matters most, and acts on what it has learned in the
lessons after that. All is drawn from one seed, on training days and seeds alone
(`swarm.scenario.days`); the best episode is chosen on validation days, but for storages, whose
weights are a mean over the last episodes. Measured prices of the Australian market are used for
half of the time where `--data` names their folder; without it the weights differ from the shipped
ones.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts
from numpy.typing import NDArray

from swarm.agents import battery
from swarm.learning import clone
from swarm.learning.files import PolicySet, load_policies, save_policies
from swarm.learning.state import nested, part
from swarm.learning.team import Settings
from swarm.loop import CLOSING_STEPS
from swarm.rng import uniforms
from swarm.runtime.train import Options, Outcome, train
from swarm.runtime.trainee import TeamTrainee, make_trainee
from swarm.runtime.worlds import Opening
from swarm.scenario.days import training_seed
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
    hindsight: clone.Settings | None = None
    """Storages learn in hindsight (`swarm.learning.clone`), and explore as `change` says."""
    spikes: tuple[str, ...] = ()
    """Price spikes told half an hour ahead, one of them in some of the built-in worlds."""


WEAR = tuple(
    f"fleets.{fleet}.parameters.degradation_cost_per_mwh={{uniform: [0, 45]}}" for fleet in range(4)
)
"""Dearer wear than the scenario's, so that small batteries are covered too."""
COMFORT = tuple(
    f"fleets.{fleet}.parameters.response_price_per_mwh={{uniform: [50, {most}]}}"
    for fleet, most in enumerate((130, 900))
)
"""Half of them respond to the prices of most days, the others to those of a few."""
PATIENT = {
    "discount": 0.97,
    "learning_rate": 0.0001,
    "target_rate": 0.02,
    "saturation": 0.1,
    "noise_start": 0.25,
    "noise_end": 0.1,
    "noise_ticks": 6000,
}
"""Load that is put off is caught up hours later. The dear `saturation` holds shares near one half,
the median of the window, where nothing is learned to the contrary."""
SPIKE_SHARE = 0.6
"""Of the built-in worlds that have a price spike."""
SPIKES = tuple(
    f"{{type: price_spike, at: '{at}', duration_minutes: {minutes}, price_per_mwh: {price}, "
    "notice_minutes: 30}"
    for at, minutes, price in (
        ("06:30", 60, 1200),
        ("08:00", 120, 6000),
        ("12:00", 90, 800),
        ("16:30", 120, 15000),
        ("17:30", 60, 3000),
        ("18:00", 180, 9000),
        ("19:00", 120, 12000),
        ("21:00", 60, 2000),
    )
)
"""Measured prices have spikes that come without being told and forecasts of spikes that do not
come; what is told of an event is true."""
LESSONS = (
    # Two days, as they are scored: one without and one with a day of prices behind it. With more
    # episodes the few measured days are fitted closer, and others go worse.
    Lesson(
        "storage_alone",
        ("storage",),
        16,
        8,
        ("ticks=576", *WEAR),
        measured=True,
        change={"storage": {"std_first": 0.2}},
        hindsight=clone.Settings(),
        spikes=SPIKES,
    ),
    Lesson(
        "consumers_alone",
        ("consumer",),
        10,
        2,
        ("ticks=288", *COMFORT),
        change={"consumer": PATIENT},
    ),
    Lesson("price_takers", ("generator", "solar", "wind", "ev", "home"), 40, 1),
    Lesson("emergency", ("operator",), 40, 2, change={"operator": {"epsilon_ticks": 4000}}),
)


class HindsightTrainee(TeamTrainee):
    """A trainee whose storages learn after each episode what their choices were worth."""

    def __init__(
        self, before: TeamTrainee, settings: clone.Settings, spiked: Sequence[Scenario] = ()
    ) -> None:
        """In the worlds of `before`, from its policies; `spiked` are its scenario with a spike."""
        self._spiked = spiked
        super().__init__(before.lesson, before._worlds)
        self.learner = clone.Learner(settings, before.lesson.team.seed)
        if "storage" in before.lesson.team.policies:
            self.learner.adopt(self.team.policies()["storage"]["storage"])
        self._give()

    def episode(self, index: int) -> dict[str, float]:
        """Live through the scenario in every world, then learn in hindsight."""
        lesson, ticks = self.lesson, self.lesson.scenario.ticks
        openings = [self._opening(index, world) for world in range(lesson.worlds)]
        acting = self._learned(self.team.exploration())
        self._worlds.open(openings, acting)
        lived = self._worlds.advance(acting, ticks + CLOSING_STEPS)
        rewards = []
        for opening, (kinds, prices) in zip(openings, lived, strict=True):
            there = rosters(lesson.scenario.model_copy(update={"seed": opening.seed}))
            batteries = battery.build(next(each for each in there if each.kind == "storage"))
            seen = kinds["storage"]["storage"]
            hours = lesson.scenario.tick_hours
            self.learner.observe(*clone.lesson(seen, batteries, prices, hours))
            rewards.append(float(seen.reward.mean()))
        gain = self.learner.update()
        self._give()
        steps = float(lesson.worlds * ticks * len(seen.agent))
        return {"reward/storage": float(np.mean(rewards)), "gain": gain, "agent_steps": steps}

    def state(self) -> dict[str, NDArray[Any]]:
        """Of the learner and of the team that acts."""
        return nested(learner=self.learner.state(), team=self.team.state())

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave."""
        self.learner.load(part(state, "learner"))
        self.team.load(part(state, "team"))

    def _opening(self, index: int, world: int) -> Opening:
        """One world of one episode, drawn as a `TeamTrainee` draws it."""
        lesson, seed = self.lesson, self.lesson.team.seed
        drawn = uniforms(seed, "training/place", index, world, 1)[0, 0]
        place = lesson.train[int(drawn * len(lesson.train))]
        scenario, chance = lesson.scenario, uniforms(seed, "training/spike", index, world, 1)[0]
        if self._spiked and place.data is None and chance[0] < SPIKE_SHARE:
            scenario = self._spiked[int(chance[1] * len(self._spiked))]
        return Opening(scenario, place, training_seed(seed, index, world))

    def _give(self) -> None:
        """Act with what was learned so far."""
        self.team.adopt({"storage": {"storage": self.learner.weights()}})


def settings_of(lesson: Lesson) -> Settings:
    """The defaults with the lesson's changes."""
    found = Settings()
    return found.model_copy(
        update={
            network: getattr(found, network).model_copy(update=change)
            for network, change in lesson.change.items()
        }
    )


def learn(
    lesson: Lesson, data: Path | None, start: PolicySet, work: Path, jobs: int
) -> tuple[Outcome, PolicySet]:
    """Train one lesson; what came of it, and the policies to go on with.

    The best on validation days; in hindsight the last, a mean over episodes itself.
    """
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
    if lesson.hindsight is not None:
        spiked = [
            load_scenario(
                lesson.scenario, sets=(*lesson.sets, f"events=[{text}]"), seed=SEED
            ).scenario
            for text in lesson.spikes
        ]
        trainee = HindsightTrainee(trainee, lesson.hindsight, spiked)
    options = Options(
        scenario=scenario.name,
        seed=SEED,
        resolved=scenario_yaml(scenario),
        settings={"kinds": list(lesson.kinds), "worlds": lesson.worlds, "change": lesson.change},
        episodes=lesson.episodes,
        every=max(1, lesson.episodes // (10 if lesson.hindsight is None else 2)),
        out=work,
    )
    try:
        done = train(trainee, options, _Lines())
        if lesson.hindsight is not None:
            return done, trainee.policies()
        return done, load_policies(done.policies).policies
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
            done, start = learn(lesson, data, start, Path(work), jobs)
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
                "hindsight": lesson.hindsight.model_dump() if lesson.hindsight else None,
                "spikes": list(lesson.spikes),
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
