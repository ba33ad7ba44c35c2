"""Runs of a comparison: every policy on the same seeds and days, in parallel processes.

`plan_comparison` refuses wrong input before anything starts; `carry_out` runs what it planned.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from swarm.agents.policy import load_policy
from swarm.errors import SwarmError, UsageError, nearest
from swarm.results.compare import CONFIDENCE, RESAMPLES, Failure, Row, summarize
from swarm.results.compare_metrics import figures
from swarm.results.folder import version
from swarm.runtime.session import EngineName, Options, Silent, run_scenario
from swarm.runtime.setup import plan
from swarm.scenario.load import load_scenario
from swarm.scenario.schema import Scenario
from swarm.world.world import build_world

Told = Callable[[int, int, Row | Failure], None]
"""Is told of each run as it ends: how many have, of how many, and what came of it."""
Ended = Generator[tuple[int, Row | Failure], None, None]
"""Runs as they end, each with its place in what was planned."""


@dataclass(frozen=True)
class Task:
    """One run to do: a scenario with its seed and day, and how it is run."""

    scenario: Scenario
    options: Options
    lost_load_value_per_mwh: float

    @property
    def day(self) -> str:
        """Local date of the first tick, ISO 8601."""
        return self.scenario.start.date().isoformat()


@dataclass(frozen=True)
class Planned:
    """A comparison that is valid and ready to start.

    Attributes:
        tasks: by policy, then day, then seed.
        policies: in the order given.
        against: the policy that the others are compared with.
        seeds: in the order given.
        days: local dates, ISO 8601, in the order given.
        lost_load_value_per_mwh: what a MWh that is not served costs, in the scenario's currency.
        jobs: most runs at a time.
        notes: what the user should know.
    """

    tasks: tuple[Task, ...]
    policies: tuple[str, ...]
    against: str
    seeds: tuple[int, ...]
    days: tuple[str, ...]
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
            "policies": list(planned.policies),
            "against": planned.against,
            "seeds": list(planned.seeds),
            "days": list(planned.days),
            "lost_load_value_per_mwh": planned.lost_load_value_per_mwh,
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "runs": {"planned": len(planned.tasks), "finished": len(self.rows)},
            "failures": [vars(failure) for failure in self.failures],
            "metrics": summarize(self.rows, planned.policies, planned.against, scenario.currency),
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
    policies: Sequence[str],
    seeds: Sequence[int],
    days: Sequence[date] = (),
    against: str | None = None,
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
        policies: names for `load_policy`, one at least.
        seeds: two at least: from one run no interval follows.
        days: local dates that replace the scenario's; its clock time and UTC offset stay.
        against: the policy that the others are compared with; None is the last.
        ticks, agents, replicate, sets, data, address: as of `swarm.run`.
        engine: `inline`, runs in parallel processes; `ray`, one run after the other.
        jobs: most processes; None is as many as CPUs.
        lost_load_value_per_mwh: what a MWh that is not served costs; None is the scenario's
            `market.price_cap`, at which load that must be served bids.

    Raises:
        UsageError: where anything is wrong.
    """
    _check_lists(policies, seeds, days)
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
    for policy in policies:
        try:
            load_policy(policy)
        except UsageError as error:
            raise UsageError(str(error).replace("--policy", "--policies", 1)) from None
    loaded = [
        load_scenario(
            str(scenario), sets=sets, seed=seed, ticks=ticks, agents=agents, replicate=replicate
        )
        for seed in seeds
    ]
    first = loaded[0].scenario
    place = None if data is None else Path(data)
    starts = [first.start]
    if days:
        starts = [first.start.replace(year=day.year, month=day.month, day=day.day) for day in days]
    notes = list(loaded[0].notes)
    for start in starts:
        world = build_world(first.model_copy(update={"start": start}), place)
        plan(world, policies[0])
        notes += [note for note in world.notes if note not in notes]
    lost = first.market.price_cap if lost_load_value_per_mwh is None else lost_load_value_per_mwh
    tasks = tuple(
        Task(
            each.scenario.model_copy(update={"start": start, "baseline": None}),
            Options(engine=engine, address=address, policy=policy, data=place, out=None),
            lost,
        )
        for policy in policies
        for start in starts
        for each in loaded
    )
    return Planned(
        tasks=tasks,
        policies=tuple(policies),
        against=against or policies[-1],
        seeds=tuple(seeds),
        days=tuple(start.date().isoformat() for start in starts),
        lost_load_value_per_mwh=lost,
        jobs=1 if engine == "ray" else min(jobs or os.cpu_count() or 1, len(tasks)),
        notes=tuple(notes),
    )


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
    results = _in_processes(planned) if planned.jobs > 1 else _one_by_one(planned)
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


def _one_by_one(planned: Planned) -> Ended:
    for at, task in enumerate(planned.tasks):
        yield at, run_task(task)


def _in_processes(planned: Planned) -> Ended:
    # Fresh processes: a fork would copy locks of threads that numpy and Arrow have started.
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(planned.jobs, mp_context=context, initializer=_leave_at_once)
    try:
        at_of = {pool.submit(run_task, task): at for at, task in enumerate(planned.tasks)}
        for future in as_completed(at_of):
            at = at_of[future]
            error = future.exception()
            if error is None:
                yield at, future.result()
            else:
                # The process died, for lack of memory say.
                yield at, _failure(planned.tasks[at], f"{type(error).__name__}: {error}")
    except BaseException:
        # Interrupted: runs that go on are not waited for.
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _leave_at_once() -> None:
    """Ctrl-C goes to all processes of a terminal: this one ends without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_task(task: Task) -> Row | Failure:
    """One run, in this process."""
    begin = time.perf_counter()
    try:
        done = run_scenario(task.scenario, task.options, Silent())
    except SwarmError as error:
        return _failure(task, str(error))
    except Exception as error:
        return _failure(task, f"{type(error).__name__}: {error}")
    return Row(
        scenario=task.scenario.name,
        policy=task.options.policy,
        seed=task.scenario.seed,
        day=task.day,
        digest=done.digest,
        figures=figures(done.metrics, task.lost_load_value_per_mwh),
        wall_seconds=time.perf_counter() - begin,
    )


def _failure(task: Task, error: str) -> Failure:
    return Failure(task.options.policy, task.scenario.seed, task.day, error)


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
