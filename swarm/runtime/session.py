"""A run from start to end: scenario, world, engine, results. `swarm.run` and the command use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from swarm.errors import UsageError
from swarm.results.run import Run
from swarm.runtime.options import EngineName, Options, Progress, Silent
from swarm.runtime.simulation import prepare, simulate
from swarm.runtime.telemetry import Telemetry, Watched
from swarm.scenario.load import baseline_of, load_scenario
from swarm.scenario.schema import Scenario

if TYPE_CHECKING:
    from swarm.runtime.ray.cluster import Cluster

__all__ = ["EngineName", "Options", "Progress", "Silent", "connected", "run", "run_scenario"]


def run(
    scenario: str | Path | Scenario,
    *,
    ticks: int | None = None,
    seed: int | None = None,
    agents: int | None = None,
    replicate: bool = False,
    sets: Sequence[str] = (),
    data: str | Path | None = None,
    engine: EngineName = "ray",
    address: str | None = None,
    agents_per_actor: int | Literal["auto"] = "auto",
    policy: str | None = None,
    out: str | Path | None = "runs",
    keys: str | Path | None = None,
    policies_from: str | Path | None = None,
    learn: bool = False,
    share_policies: bool = False,
    checkpoint_every: int | None = None,
    watched: Watched | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run a scenario to its end.

    Args:
        scenario: a built-in name, a path, or a validated scenario.
        ticks: replaces the scenario's; not with a validated scenario.
        seed: replaces the scenario's; not with a validated scenario.
        agents: scale the drawn fleets to this many agents in all.
        replicate: let `agents` repeat explicit lists.
        sets: fields to replace, each as `path.to.field=value`.
        data: real data, as the scenario's `data` section says.
        engine: `ray`, or `inline` for this process alone; the results are the same bytes.
        address: a running Ray cluster; None starts Ray on this machine.
        agents_per_actor: agents that share a Ray actor; `auto` decides by the number of CPUs.
        policy: `trained`, `heuristic`, `random` or `package.module:Class`; None: `trained` for
            kinds that were trained on agents like the scenario's, `heuristic` for others.
        out: folder that gets the run's folder; None keeps the results in memory.
        keys: folder with the key of each agent and of `market`; None derives them from the seed.
        policies_from: folder of trained policies instead of those that come with the package.
        learn: let agents that follow `trained` go on learning; what they learned is in the run's
            folder.
        share_policies: one policy for all agents of a kind learns, instead of one for each.
        checkpoint_every: ticks between two checkpoints, from which `resume` goes on; None: as many
            as keep their cost below 2 %, 0: none.
        watched: metrics, traces and pace; see `swarm.runtime.telemetry.Watched`.
        progress: is told how it goes.

    Returns:
        The run: metrics, timings, digest, and its tables as Arrow.

    Raises:
        UsageError: wrong input; nothing was started or written.
        RunError: the run could not go on; its folder says so.
    """
    told = progress or Silent()
    if isinstance(scenario, Scenario):
        overridden = (ticks, seed, agents) != (None, None, None) or sets
        if overridden:
            raise UsageError("ticks, seed, agents and sets need a scenario's name or path")
    else:
        loaded = load_scenario(
            str(scenario), sets=sets, seed=seed, ticks=ticks, agents=agents, replicate=replicate
        )
        for note in loaded.notes:
            told.note(note)
        scenario = loaded.scenario
    options = Options(
        engine=engine,
        address=address,
        agents_per_actor=agents_per_actor,
        policy=policy,
        data=None if data is None else Path(data),
        out=None if out is None else Path(out),
        keys=None if keys is None else Path(keys),
        policies_from=None if policies_from is None else Path(policies_from),
        learn=learn,
        share_policies=share_policies,
        checkpoint_every=checkpoint_every,
        watched=watched or Watched(),
    )
    return run_scenario(scenario, options, told)


def run_scenario(scenario: Scenario, options: Options, progress: Progress) -> Run:
    """Run a validated scenario, after its baseline where it has one; see `run`."""
    check(options)
    other = baseline_of(scenario)
    baseline = None if other is None else prepare(other, options, progress)
    prepared = prepare(scenario, options, progress)
    for note in prepared.notes:
        progress.note(note)
    telemetry = Telemetry(options.watched, progress.note)
    done = None
    try:
        # The cluster must answer before anything is written.
        with connected(options) as cluster:
            compared = None
            if baseline is not None:
                assert scenario.baseline is not None
                progress.note(f"first {scenario.baseline.name}, to compare")
                compared = simulate(baseline, options, progress, cluster, None, telemetry)
                if cluster is not None:
                    cluster.end_actors()
            done = simulate(prepared, options, progress, cluster, compared, telemetry)
    finally:
        telemetry.close(hold=done is not None)
    return done


@contextmanager
def connected(options: Options) -> Iterator[Cluster | None]:
    """The Ray cluster while the block lasts; None for the inline engine."""
    if options.engine == "inline":
        yield None
        return
    from swarm.runtime import local_ray

    address = local_ray.prepare(options.address)
    from swarm.runtime.ray.cluster import Cluster

    cluster = Cluster(address)
    try:
        yield cluster
    finally:
        cluster.close()


def check(options: Options) -> None:
    """Raise UsageError where options make no sense."""
    if options.engine not in ("ray", "inline"):
        raise UsageError(f"--engine {options.engine!r}: expected 'ray' or 'inline'")
    per_actor = options.agents_per_actor
    if per_actor != "auto" and (not isinstance(per_actor, int) or per_actor < 1):
        raise UsageError(f"--agents-per-actor {per_actor!r}: expected 'auto' or a number above 0")
    if options.engine == "inline" and options.address is not None:
        raise UsageError("--address is for --engine ray; the inline engine uses no cluster")
    every = options.checkpoint_every
    if every is not None and every < 0:
        raise UsageError(f"--checkpoint-every {every}: expected ticks, 0 or more")
