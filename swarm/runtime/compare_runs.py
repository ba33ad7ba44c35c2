"""Runs of a comparison, one after the other or in parallel processes."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from swarm.errors import SwarmError
from swarm.results.compare import Failure, Row
from swarm.results.compare_metrics import Worth, figures
from swarm.runtime.session import Options, Silent, run_scenario
from swarm.scenario.schema import Scenario

Ended = Generator[tuple[int, Row | Failure], None, None]
"""Runs as they end, each with its place in what was planned."""


@dataclass(frozen=True)
class Task:
    """One run to do: a scenario with its seed and day, and how it is run.

    Attributes:
        weights: SHA-256 of the trained policies' arrays; None: the run is without.
    """

    scenario: Scenario
    policy: str
    options: Options
    lost_load_value_per_mwh: float
    weights: str | None = None

    @property
    def day(self) -> str:
        """Local date of the first tick, ISO 8601."""
        return self.scenario.start.date().isoformat()


def results_of(tasks: Sequence[Task], jobs: int) -> Ended:
    """Run tasks, at most `jobs` at a time, and say what came of each as it ends.

    Where it is closed or interrupted, runs that go on end too.
    """
    return _in_processes(tasks, jobs) if jobs > 1 else _one_by_one(tasks)


def _one_by_one(tasks: Sequence[Task]) -> Ended:
    for at, task in enumerate(tasks):
        yield at, run_task(task)


def _in_processes(tasks: Sequence[Task], jobs: int) -> Ended:
    # Fresh processes: a fork would copy locks of threads that numpy and Arrow have started.
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_leave_at_once)
    try:
        at_of = {pool.submit(run_task, task): at for at, task in enumerate(tasks)}
        for future in as_completed(at_of):
            at = at_of[future]
            error = future.exception()
            if error is None:
                yield at, future.result()
            else:
                # The process died, for lack of memory say.
                yield at, _failure(tasks[at], f"{type(error).__name__}: {error}")
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
    used = done.manifest["policies"]["trained"]
    if task.weights is not None and used is not None and used["sha256"] != task.weights:
        return _failure(task, "the trained policies were replaced since the comparison began")
    return Row(
        scenario=task.scenario.name,
        policy=task.policy,
        seed=task.scenario.seed,
        day=task.day,
        digest=done.digest,
        figures=figures(done.metrics, worth_of(task)),
        wall_seconds=time.perf_counter() - begin,
    )


def _failure(task: Task, error: str) -> Failure:
    return Failure(task.policy, task.scenario.seed, task.day, error)


def worth_of(task: Task) -> Worth:
    """What energy is worth in a run's comparison."""
    outside = task.scenario.outside
    return Worth(task.lost_load_value_per_mwh, 0.0 if outside is None else outside.price_per_mwh)
