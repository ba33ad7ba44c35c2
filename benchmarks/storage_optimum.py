"""What storage policies earn on held-out days, as a share of the optimum under perfect foresight.

    python benchmarks/storage_optimum.py [--policies heuristic,random] [--policies-from DIR]
        [--data sa1_5min.csv] [--validation] [--seeds 2] [--optima FILE] [--json FILE]

Runs the scenario `storage_alone` for two days from each held-out day (`swarm.scenario.days`) with
each seed. A run's score is what all its batteries earned, money less wear and the energy gained at
its value, over what the optimum of each (`swarm.learning.optimum`) earns at the same prices. Shown
are the interquartile mean over runs and its bootstrap interval, which draws days and not runs: the
batteries of two seeds on one day meet the same weather or the same measured prices.
"""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts

from swarm.results.compare import interquartile_mean, resampled, resampled_means
from swarm.runtime.session import Options, Silent, run_scenario
from swarm.scenario.days import (
    FIRST_VALIDATION_SEED,
    days_of,
    held_out_days,
    nem_windows,
)
from swarm.scenario.load import load_scenario
from swarm.scenario.schema import Scenario

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.oracles.storage_score import Batteries, optima, profits, read_batteries

SCENARIO = str(Path(__file__).parents[1] / "scenarios" / "storage_alone.yaml")
YEAR = 2025
DAYS = 10
LENGTH_DAYS = 2


def starts(template: Scenario, data: Path | None, validation: bool) -> list[datetime]:
    """First ticks of the runs: `DAYS` days of the built-in world, or all windows of a file."""
    if data is not None:
        region = data.name.split("_")[0]
        windows = nem_windows("validation" if validation else "test", LENGTH_DAYS)
        return [window.start for window in windows if window.region == region]
    days = held_out_days(YEAR, DAYS, LENGTH_DAYS)
    if validation:
        every = days_of("validation", YEAR)
        days = tuple(every[(2 * part + 1) * len(every) // (2 * DAYS)] for part in range(DAYS))
    return [template.start.replace(year=d.year, month=d.month, day=d.day) for d in days]


def held_out_cases(
    path: str, sets: tuple[str, ...], data: Path | None, validation: bool, seeds: int
) -> list[list[Scenario]]:
    """A scenario on every held-out day, with as many seeds each: (days, seeds)."""
    first = FIRST_VALIDATION_SEED if validation else 0
    template = load_scenario(path, sets=sets).scenario
    return [
        [
            template.model_copy(update={"start": start, "seed": first + place * seeds + each})
            for each in range(seeds)
        ]
        for place, start in enumerate(starts(template, data, validation))
    ]


class Optima:
    """Optima of fleets, in a file where one is given: measured prices take minutes."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        known = file is not None and file.exists()
        self._known: dict[str, float] = json.loads(file.read_text()) if file and known else {}

    def of(self, batteries: Batteries) -> float:
        """The sum of the optima of all batteries, currency."""
        digest = hashlib.sha256(batteries.price_per_mwh.tobytes())
        for column in vars(batteries.parameters).values():
            digest.update(column.tobytes())
        key = digest.hexdigest()
        if key not in self._known:
            self._known[key] = float(optima(batteries).sum())
            if self._file is not None:
                self._file.write_text(json.dumps(self._known, indent=1) + "\n")
        return self._known[key]


def score(
    cases: list[list[Scenario]], policy: str, more: dict[str, Any], kept: Optima
) -> np.ndarray:
    """Share of the optimum of every run, (days, seeds)."""
    shares = np.zeros((len(cases), len(cases[0])))
    for at in np.ndindex(shares.shape):
        scenario = cases[at[0]][at[1]]
        options = Options(engine="inline", policy=policy, out=None, **more)
        batteries = read_batteries(scenario, run_scenario(scenario, options, Silent()))
        shares[at] = profits(batteries).sum() / kept.of(batteries)
    return shares


@click.command()
@click.option("--policies", default="heuristic,random", show_default=True)
@click.option("--policies-from", type=click.Path(path_type=Path), help="Folder of a training.")
@click.option("--data", type=click.Path(path_type=Path), help="Measured prices, sa1_5min.csv.")
@click.option("--profile", default=None, help="Another built-in price, like daily_price.")
@click.option("--validation", is_flag=True, help="On validation days, to choose settings by.")
@click.option("--optima", "optima_file", type=click.Path(path_type=Path), help="Keep them here.")
@click.option("--seeds", default=2, show_default=True, help="Fleets drawn for each day.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write JSON here.")
def main(
    policies: str,
    policies_from: Path | None,
    data: Path | None,
    profile: str | None,
    validation: bool,
    optima_file: Path | None,
    seeds: int,
    json_file: Path | None,
) -> None:
    """Run every policy on the same days and fleets, and show their scores."""
    sets = () if profile is None else (f"outside.profile={profile}",)
    cases = held_out_cases(SCENARIO, sets, data, validation, seeds)
    kept = Optima(optima_file)
    found = {}
    index = resampled(len(cases))
    for policy in policies.split(","):
        more: dict[str, Any] = {"data": data}
        if policy == "trained" and policies_from is not None:
            more["policies_from"] = policies_from
        shares = score(cases, policy, more, kept)
        drawn = resampled_means(shares, index)
        low, high = np.quantile(drawn, (0.025, 0.975))
        found[policy] = {
            "iqm": float(interquartile_mean(shares.ravel())),
            "low": float(low),
            "high": float(high),
            "mean": float(shares.mean()),
            "min": float(shares.min()),
            "max": float(shares.max()),
            "shares": shares.tolist(),
        }
        entry = {name: value for name, value in found[policy].items() if name != "shares"}
        click.echo(f"{policy:10} " + "  ".join(f"{k} {v:6.3f}" for k, v in entry.items()))
    if json_file is not None:
        answer = {
            "machine": facts(),
            "data": None if data is None else data.name,
            "profile": profile,
            "starts": [row[0].start.isoformat() for row in cases],
            "seeds": [[scenario.seed for scenario in row] for row in cases],
            "validation": validation,
            "policies": found,
        }
        json_file.write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()
