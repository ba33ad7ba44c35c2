"""A run from start to end: scenario, world, engine, results. `swarm.run` and the command use it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from swarm.agents.shard import ShardSpec
from swarm.errors import UsageError
from swarm.grid.balance import Operated
from swarm.loop import Sink, steps
from swarm.market.record import Cleared
from swarm.results.audit import public_keys_bytes
from swarm.results.folder import new_run_folder, write_json, write_text
from swarm.results.run import Run, finished_run
from swarm.results.writer import ResultWriter
from swarm.runtime.audited import AuditedSink, audited, trust_section
from swarm.runtime.inline import InlineEngine
from swarm.runtime.lessons import Lessons, learning
from swarm.runtime.manifest import manifest_of, timings_of, true_to_the_end
from swarm.runtime.minds import Minds, minds_of, policies_section
from swarm.runtime.packing import contiguous, even, pack
from swarm.runtime.setup import Plan, plan
from swarm.runtime.telemetry import Telemetry, Watched
from swarm.runtime.timing import Phases, TimedEngine, TimedSink, alert_timings, negotiation_timings
from swarm.scenario.fleets import rosters
from swarm.scenario.load import baseline_of, load_scenario, scenario_yaml
from swarm.scenario.schema import Scenario
from swarm.world.world import build_world

if TYPE_CHECKING:
    from swarm.runtime.ray.cluster import Cluster
    from swarm.runtime.ray.engine import RayEngine

EngineName = Literal["ray", "inline"]


class Progress(Protocol):
    """Is told how a run goes on; all of it is for people and reaches no result."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def begin(self, scenario: Scenario, names: Sequence[str]) -> None:
        """What is about to run is complete and valid; ids of its agents in global order."""

    def starting(self, ready: int, actors: int) -> None:
        """Actors come up."""

    def traced(self, trace_id: str) -> None:
        """The run is traced under this id."""

    def tick(self, cleared: Cleared, operated: Operated) -> None:
        """A tick went by."""


class Silent:
    """A progress that says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""

    def begin(self, scenario: Scenario, names: Sequence[str]) -> None:
        """Says nothing."""

    def starting(self, ready: int, actors: int) -> None:
        """Says nothing."""

    def traced(self, trace_id: str) -> None:
        """Says nothing."""

    def tick(self, cleared: Cleared, operated: Operated) -> None:
        """Says nothing."""


@dataclass(frozen=True)
class Options:
    """How a scenario is run; policies, learning, data and keys change its results, the rest not.

    Attributes:
        policy: what agents follow; None: see `minds_of`.
        policies_from: folder of trained policies.
        learn: agents go on learning during the run.
        share_policies: one policy for all agents of a kind learns, instead of one for each.
        watched: metrics, traces and pace.
    """

    engine: EngineName = "ray"
    address: str | None = None
    agents_per_actor: int | Literal["auto"] = "auto"
    policy: str | None = "heuristic"
    data: Path | None = None
    out: Path | None = Path("runs")
    keys: Path | None = None
    policies_from: Path | None = None
    learn: bool = False
    share_policies: bool = False
    watched: Watched = field(default_factory=Watched)

    def told(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "engine": self.engine,
            "address": self.address,
            "agents_per_actor": self.agents_per_actor,
            "policy": self.policy,
            "policies_from": None if self.policies_from is None else str(self.policies_from),
            "learn": self.learn,
            "share_policies": self.share_policies,
            "data": None if self.data is None else str(self.data),
        }


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
        watched=watched or Watched(),
    )
    return run_scenario(scenario, options, told)


def run_scenario(scenario: Scenario, options: Options, progress: Progress) -> Run:
    """Run a validated scenario, after its baseline where it has one; see `run`."""
    _check(options)
    other = baseline_of(scenario)
    baseline = None if other is None else _prepare(other, options, progress)
    prepared = _prepare(scenario, options, progress)
    for note in prepared.notes:
        progress.note(note)
    telemetry = Telemetry(options.watched, progress.note)
    done = None
    try:
        # The cluster must answer before anything is written.
        with _connected(options) as cluster:
            compared = None
            if baseline is not None:
                assert scenario.baseline is not None
                progress.note(f"first {scenario.baseline.name}, to compare")
                compared = _simulate(baseline, options, progress, cluster, None, telemetry)
                if cluster is not None:
                    cluster.end_actors()
            done = _simulate(prepared, options, progress, cluster, compared, telemetry)
    finally:
        telemetry.close(hold=done is not None)
    return done


@dataclass(frozen=True)
class _Prepared:
    """A run that is valid and ready to start."""

    scenario: Scenario
    plan: Plan
    resolved: str
    notes: tuple[str, ...]
    seconds: float
    minds: Minds


def _prepare(scenario: Scenario, options: Options, progress: Progress) -> _Prepared:
    begin = time.perf_counter()
    world = build_world(scenario, options.data)
    agents = rosters(world.scenario)
    minds = minds_of(options.policy, options.policies_from, world.scenario, agents)
    if options.learn:
        minds = learning(minds)
    ready = plan(world, minds.policy, options.keys, minds.learned)
    resolved = scenario_yaml(world.scenario)
    notes = (*world.notes, *minds.notes)
    return _Prepared(world.scenario, ready, resolved, notes, time.perf_counter() - begin, minds)


def _simulate(
    prepared: _Prepared,
    options: Options,
    progress: Progress,
    cluster: Cluster | None,
    baseline: Run | None,
    telemetry: Telemetry,
) -> Run:
    scenario, ready = prepared.scenario, prepared.plan
    phases = Phases()
    phases.seconds["prepare"] = prepared.seconds
    begin = time.perf_counter()
    hosts = _pack(ready, options, cluster)
    now = datetime.now(UTC)
    manifest = manifest_of(scenario, ready, options.told(), len(hosts), prepared.notes, now)
    names = [name for roster in ready.rosters for name in roster.ids]
    keys = public_keys_bytes(names, ready.public_keys[:-1]) if ready.signing else b""
    manifest["trust"] = trust_section(ready, keys)
    manifest["policies"] = policies_section(
        prepared.minds, {spec.roster.kind: spec.policy for spec in ready.shards}
    )
    if baseline is not None and scenario.baseline is not None:
        folder = baseline.run_dir
        manifest["baseline"] = {
            "name": scenario.baseline.name,
            "run": None if folder is None else folder.name,
            "digest": baseline.digest,
        }
    folder = None
    if options.out is not None:
        folder = new_run_folder(options.out, scenario.name, scenario.seed, prepared.resolved, now)
    with ExitStack() as stack:
        stack.enter_context(_recorded(folder, manifest, prepared.resolved))
        progress.begin(scenario, names)
        writer = ResultWriter(scenario, ready.rosters, folder, ready.feeder)
        audit = stack.enter_context(audited(folder, ready, keys, manifest))
        engine = _engine(ready, hosts, cluster, progress, manifest)
        phases.seconds["start"] = time.perf_counter() - begin
        timed = TimedEngine(engine, phases)
        sink: Sink = writer if audit is None else AuditedSink(writer, audit)
        learned = None
        if options.learn:
            learned = Lessons(
                engine, prepared.minds, ready.rosters, scenario, options.share_policies, phases
            )
        seen = stack.enter_context(
            telemetry.observing(
                scenario,
                ready.rosters,
                engine,
                phases,
                {
                    "engine": options.engine,
                    "hosts": len(hosts),
                    "signed": ready.signing is not None,
                    "agents": ready.agents,
                },
                None if cluster is None else cluster.metrics(),
                progress.traced,
            )
        )
        sink, watch = seen.sink(TimedSink(sink, phases)), seen.watcher(progress.tick)
        for tick in seen.ticks(steps(timed, scenario.ticks, sink, watch)):
            if learned is not None:
                seen.learned(learned.after(tick))
        with phases.measure("write"):
            results = writer.finish()
        if learned is not None:
            learned.finish(folder, results.metrics)
        wall = prepared.seconds + time.perf_counter() - begin
        timings = timings_of(phases, wall, scenario.ticks, ready.agents)
        timings["alerts"] = alert_timings(engine.alert_seconds)
        timings["negotiation"] = negotiation_timings(engine.bargain)
        timings |= engine.facts()
        manifest |= {"status": "finished", "digest": results.digest}
        if folder is not None:
            write_json(folder / "metrics.json", results.metrics)
            write_json(folder / "timings.json", timings)
    log = audit.data() if audit is not None and folder is None else None
    return finished_run(folder, manifest, timings, results, log, baseline)


@contextmanager
def _connected(options: Options) -> Iterator[Cluster | None]:
    """The Ray cluster while the block lasts; None for the inline engine."""
    if options.engine == "inline":
        yield None
        return
    from swarm.runtime.local_ray import prepare

    address = prepare(options.address)
    from swarm.runtime.ray.cluster import Cluster

    cluster = Cluster(address)
    try:
        yield cluster
    finally:
        cluster.close()


def _pack(
    ready: Plan, options: Options, cluster: Cluster | None
) -> tuple[tuple[ShardSpec, ...], ...]:
    """Agents by host: as many to each as asked for, or as the cluster can carry."""
    if options.agents_per_actor != "auto":
        return contiguous(ready, options.agents_per_actor)
    hosts = 1 if cluster is None else cluster.hosts_for(ready.agents)
    return contiguous(ready, 1) if hosts is None else even(ready, hosts)


def _engine(
    ready: Plan,
    hosts: tuple[tuple[ShardSpec, ...], ...],
    cluster: Cluster | None,
    progress: Progress,
    manifest: dict[str, Any],
) -> InlineEngine | RayEngine:
    market, operator = pack(ready, hosts)
    if cluster is None:
        return InlineEngine(market, operator, hosts)
    engine = cluster.engine(market, operator, hosts, progress.starting)
    manifest["nodes"] = len({node for node, _ in engine.placements})
    return engine


def _check(options: Options) -> None:
    if options.engine not in ("ray", "inline"):
        raise UsageError(f"--engine {options.engine!r}: expected 'ray' or 'inline'")
    per_actor = options.agents_per_actor
    if per_actor != "auto" and (not isinstance(per_actor, int) or per_actor < 1):
        raise UsageError(f"--agents-per-actor {per_actor!r}: expected 'auto' or a number above 0")
    if options.engine == "inline" and options.address is not None:
        raise UsageError("--address is for --engine ray; the inline engine uses no cluster")


@contextmanager
def _recorded(folder: Path | None, manifest: dict[str, Any], resolved: str) -> Iterator[None]:
    """Keep the scenario, and a manifest whose status is true however the block ends."""

    def write() -> None:
        if folder is not None:
            write_json(folder / "manifest.json", manifest)

    def interrupted() -> str:
        return "" if folder is None else f"what was written until then is in {folder}"

    if folder is not None:
        write_text(folder / "scenario.resolved.yaml", resolved)
    with true_to_the_end(manifest, write, interrupted):
        yield
