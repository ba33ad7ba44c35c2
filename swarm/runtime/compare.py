"""Runs of a comparison: every policy on the same seeds and days, in parallel processes.

`plan_comparison` refuses wrong input before anything starts; `carry_out` runs what it planned.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from swarm.agents.policy import load_policy
from swarm.errors import UsageError, nearest
from swarm.results.compare import CONFIDENCE, RESAMPLES, Failure, Row, pairs_of, summarize
from swarm.results.folder import version
from swarm.runtime.compare_days import Days, DaysAre, not_held_out, notes_on_seeds, starts_of
from swarm.runtime.compare_runs import Task, results_of
from swarm.runtime.minds import SHIPPED, Minds, minds_of
from swarm.runtime.session import EngineName, Options
from swarm.runtime.setup import plan
from swarm.scenario.fleets import rosters
from swarm.scenario.grid import Grid
from swarm.scenario.load import load_scenario
from swarm.scenario.schema import Scenario
from swarm.world.world import build_world

Told = Callable[[int, int, Row | Failure], None]
"""Is told of each run as it ends: how many have, of how many, and what came of it."""


@dataclass(frozen=True)
class Planned:
    """A comparison that is valid and ready to start.

    Attributes:
        tasks: by policy, then day, then seed.
        policies: in the order given.
        pairs: a policy, and another that it is compared with.
        seeds: in the order given.
        days: local dates, ISO 8601, in the order given.
        days_are: `held-out`: seed number i runs on day number i; else every seed on every day.
        not_held_out: days that trainings may use, and what for.
        learned: policies that were trained.
        trained: where the trained policies come from; None: none are compared.
        lost_load_value_per_mwh: what a MWh that is not served costs, in the scenario's currency.
        jobs: most runs at a time.
        notes: what the user should know.
    """

    tasks: tuple[Task, ...]
    policies: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    seeds: tuple[int, ...]
    days: tuple[str, ...]
    days_are: DaysAre
    not_held_out: Mapping[str, str]
    learned: tuple[str, ...]
    trained: Mapping[str, str] | None
    lost_load_value_per_mwh: float
    jobs: int
    notes: tuple[str, ...]

    @property
    def scenario(self) -> Scenario:
        """That of the first run; the others differ in seed and start."""
        return self.tasks[0].scenario


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes:
        planned: what was to run.
        rows: runs that finished, in the order planned.
        failures: runs that did not, likewise.
        interrupted: Ctrl-C ended it before all had run.
        wall_seconds: how long all of it took.
    """

    planned: Planned
    rows: tuple[Row, ...]
    failures: tuple[Failure, ...]
    interrupted: bool
    wall_seconds: float

    def summary(self) -> dict[str, Any]:
        """What was compared and how it came out, for JSON; a function of scenario and seeds."""
        planned, scenario = self.planned, self.planned.scenario
        return {
            "scenario": scenario.name,
            "version": version(),
            "ticks": scenario.ticks,
            "currency": scenario.currency,
            "operator": None if scenario.grid is None else _operator(scenario.grid),
            "policies": list(planned.policies),
            "seeds": list(planned.seeds),
            "days": list(planned.days),
            "days_are": planned.days_are,
            "not_held_out": dict(planned.not_held_out),
            "learned": list(planned.learned),
            "trained": planned.trained and dict(planned.trained),
            "notes": list(planned.notes),
            "lost_load_value_per_mwh": planned.lost_load_value_per_mwh,
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "runs": {"planned": len(planned.tasks), "finished": len(self.rows)},
            "failures": [vars(failure) for failure in self.failures],
            "metrics": summarize(
                self.rows,
                planned.policies,
                planned.pairs,
                scenario.currency,
                paired=planned.days_are == "held-out",
            ),
        }

    def timings(self) -> dict[str, Any]:
        """Wall-clock seconds, of each run and of all."""
        runs = [
            {
                "policy": row.policy,
                "seed": row.seed,
                "day": row.day,
                "wall_seconds": row.wall_seconds,
            }
            for row in self.rows
        ]
        return {"jobs": self.planned.jobs, "wall_seconds": self.wall_seconds, "runs": runs}


def plan_comparison(
    scenario: str | Path,
    *,
    policies: Sequence[str] | None = None,
    seeds: Sequence[int],
    days: Days = None,
    against: str | None = None,
    policies_from: Path | None = None,
    ticks: int | None = None,
    agents: int | None = None,
    replicate: bool = False,
    sets: Sequence[str] = (),
    data: str | Path | None = None,
    engine: EngineName = "inline",
    address: str | None = None,
    jobs: int | None = None,
    lost_load_value_per_mwh: float | None = None,
) -> Planned:
    """Check everything that can be known before the first run.

    A scenario's own baseline is not run.

    Args:
        scenario: a built-in name or a path.
        policies: names for `load_policy`, one at least; None: heuristic and random, and trained
            where there are trained policies.
        seeds: two at least: from one run no interval follows.
        days: local dates that replace the scenario's, every seed on every day; its clock time and
            UTC offset stay. None without `data`: seed number i on day number i of as many
            `held_out_days` of the scenario's year.
        against: the policy that the others are compared with; None: each with all after it.
        policies_from: folder of trained policies; None: those that come with the package.
        ticks, agents, replicate, sets, data, address: as of `swarm.run`.
        engine: `inline`, runs in parallel processes; `ray`, one run after the other.
        jobs: most processes; None is as many as CPUs.
        lost_load_value_per_mwh: what a MWh that is not served costs; None is the scenario's
            `market.price_cap`, at which load that must be served bids.

    Raises:
        UsageError: where anything is wrong.
    """
    if policies is None:
        known = policies_from is not None or SHIPPED.exists()
        policies = ("trained", "heuristic", "random") if known else ("heuristic", "random")
    elif "trained" in policies and policies_from is None and not SHIPPED.exists():
        raise UsageError(
            "--policies trained: no trained policies come with this swarm; give a folder of them "
            "with --policies-from"
        )
    _check_lists(policies, seeds, () if days is None or days == "own" else days)
    if against is not None and against not in policies:
        raise UsageError(
            f"--against {against!r}: not one of --policies{nearest(against, policies)}"
        )
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: expected a number above 0")
    if engine == "ray" and jobs not in (None, 1):
        raise UsageError(f"--jobs {jobs} is for --engine inline; Ray runs go one after the other")
    if engine == "inline" and address is not None:
        raise UsageError("--address is for --engine ray; the inline engine uses no cluster")
    if lost_load_value_per_mwh is not None and not 0 <= lost_load_value_per_mwh < float("inf"):
        raise UsageError(
            f"--lost-load-value {lost_load_value_per_mwh:g}: expected a number of 0 or more"
        )
    learned = [policy for policy in policies if _learns(policy)]
    loaded = [
        load_scenario(
            str(scenario), sets=sets, seed=seed, ticks=ticks, agents=agents, replicate=replicate
        )
        for seed in seeds
    ]
    first = loaded[0].scenario
    operated = first.grid is not None and first.grid.operator == "trained"
    if operated:
        learned.append("the grid operator")
    from_folder = tuple(each for each in policies if operated or each == "trained")
    if policies_from is not None and not from_folder:
        raise UsageError(
            f"--policies-from {policies_from}: is for the policy trained, which is not one of "
            f"--policies {','.join(policies)}"
        )
    notes = notes_on_seeds(seeds, learned)
    place = None if data is None else Path(data)
    starts, days_are = starts_of(first, days, place, len(seeds))
    cells = [(each.scenario, start) for start in starts for each in loaded]
    if days_are == "held-out":
        cells = [(each.scenario, start) for each, start in zip(loaded, starts, strict=True)]
    runs = [each.model_copy(update={"start": start, "baseline": None}) for each, start in cells]
    notes += loaded[0].notes
    minds: list[Minds] = []
    # One run of each day: seeds change parameters and no series that could be missing.
    for each in runs if days_are == "held-out" else runs[:: len(seeds)]:
        world = build_world(each, place)
        there = rosters(world.scenario)
        of_day = [
            minds_of(_followed(policy, policies_from), policies_from, world.scenario, there)
            for policy in from_folder
        ]
        plan(world, policies[0], learned=of_day[0].learned if operated else {})
        notes += [note for note in world.notes if note not in notes]
        minds += of_day
    lost = first.market.price_cap if lost_load_value_per_mwh is None else lost_load_value_per_mwh
    trained = minds[0].source if minds else None
    tasks = tuple(
        Task(
            each,
            policy,
            Options(
                engine=engine,
                address=address,
                policy=_followed(policy, policies_from),
                policies_from=policies_from if policy in from_folder else None,
                data=place,
                out=None,
            ),
            lost,
            trained["sha256"] if trained and policy in from_folder else None,
        )
        for policy in policies
        for each in runs
    )
    return Planned(
        tasks=tasks,
        policies=tuple(policies),
        pairs=pairs_of(policies, against),
        seeds=tuple(seeds),
        days=tuple(start.date().isoformat() for start in starts),
        days_are=days_are,
        not_held_out=not_held_out(first, starts, place),
        learned=tuple(learned),
        trained=trained,
        lost_load_value_per_mwh=lost,
        jobs=1 if engine == "ray" else min(jobs or os.cpu_count() or 1, len(tasks)),
        notes=(*notes, *_told(minds)),
    )


def _operator(grid: Grid) -> dict[str, Any]:
    """The policy of the grid operator, and what a trained one weighs."""
    weights = grid.operator_weights.model_dump() if grid.operator == "trained" else None
    return {"policy": grid.operator, "weights": weights}


def _followed(policy: str, policies_from: Path | None) -> str | None:
    """What `swarm run` is asked for: shipped policies are followed by the kinds they cover."""
    return None if policy == "trained" and policies_from is None else policy


def _learns(policy: str) -> bool:
    """Whether a policy, which must be there, is one that was trained."""
    try:
        return load_policy(policy).traits.needs_training
    except UsageError as error:
        raise UsageError(str(error).replace("--policy", "--policies", 1)) from None


def _told(minds: Sequence[Minds]) -> list[str]:
    """The first note on each kind of agent: parameters drawn with other seeds change its figure."""
    told: dict[str, str] = {}
    for each in minds:
        for note in each.notes:
            told.setdefault(note.partition(":")[0], note)
    return list(told.values())


def carry_out(planned: Planned, told: Told | None = None) -> Comparison:
    """Run everything; a run that fails, or Ctrl-C, does not lose the others.

    The rows do not depend on how many run at a time.

    Args:
        planned: see `plan_comparison`.
        told: is told of each run as it ends.
    """
    begin = time.perf_counter()
    ended: dict[int, Row | Failure] = {}
    interrupted = False
    results = results_of(planned.tasks, planned.jobs)
    try:
        with closing(results):
            for at, result in results:
                ended[at] = result
                if told is not None:
                    told(len(ended), len(planned.tasks), result)
    except KeyboardInterrupt:
        interrupted = True
    in_order = [ended[at] for at in sorted(ended)]
    return Comparison(
        planned=planned,
        rows=tuple(result for result in in_order if isinstance(result, Row)),
        failures=tuple(result for result in in_order if isinstance(result, Failure)),
        interrupted=interrupted,
        wall_seconds=time.perf_counter() - begin,
    )


def _check_lists(policies: Sequence[str], seeds: Sequence[int], days: Sequence[date]) -> None:
    lists: tuple[tuple[str, Sequence[Any]], ...] = (
        ("--policies", policies),
        ("--seeds", seeds),
        ("--days", days),
    )
    for name, values in lists:
        twice = [value for at, value in enumerate(values) if value in values[:at]]
        if twice:
            raise UsageError(f"{name}: {twice[0]} is given twice")
    if not policies:
        raise UsageError("--policies: expected one policy at least, like heuristic,random")
    if len(seeds) < 2:
        raise UsageError(
            f"--seeds: {len(seeds)} given, expected two at least (ten are usual): from one run "
            "no interval follows"
        )
