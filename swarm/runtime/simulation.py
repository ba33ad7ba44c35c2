"""One simulation from its plan to its results, from the start or from a checkpoint."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from swarm.agents.shard import ShardSpec
from swarm.errors import SwarmError
from swarm.loop import Boundary, Sink, steps
from swarm.results.audit import AuditWriter, public_keys_bytes
from swarm.results.folder import new_run_folder, write_json, write_text
from swarm.results.run import Run, finished_run
from swarm.results.writer import ResultWriter
from swarm.runtime.audited import AuditedSink, audited, trust_section
from swarm.runtime.checkpoint import Checkpoint, Checkpoints, drop, inputs_of, kept_in, layout_of
from swarm.runtime.inline import InlineEngine
from swarm.runtime.lessons import Lessons, learning
from swarm.runtime.manifest import manifest_of, timings_of, true_to_the_end
from swarm.runtime.minds import Minds, minds_of, policies_section
from swarm.runtime.options import Options, Progress
from swarm.runtime.packing import as_laid_out, contiguous, even, pack
from swarm.runtime.setup import Plan, plan
from swarm.runtime.telemetry import Telemetry
from swarm.runtime.timing import Phases, TimedEngine, TimedSink, alert_timings, negotiation_timings
from swarm.scenario.fleets import rosters
from swarm.scenario.load import scenario_yaml
from swarm.scenario.schema import Scenario
from swarm.snapshot import capture, restore, unpack
from swarm.snapshot import pack as packed
from swarm.world.world import build_world

if TYPE_CHECKING:
    from swarm.runtime.ray.cluster import Cluster
    from swarm.runtime.ray.engine import RayEngine


@dataclass(frozen=True)
class Prepared:
    """A run that is valid and ready to start."""

    scenario: Scenario
    plan: Plan
    resolved: str
    notes: tuple[str, ...]
    seconds: float
    minds: Minds


def prepare(scenario: Scenario, options: Options, progress: Progress) -> Prepared:
    """Make a scenario's world and plan; UsageError where it cannot be run as the options say."""
    begin = time.perf_counter()
    world = build_world(scenario, options.data)
    agents = rosters(world.scenario)
    minds = minds_of(options.policy, options.policies_from, world.scenario, agents)
    if options.learn:
        minds = learning(minds)
    ready = plan(world, minds.policy, options.keys, minds.learned)
    resolved = scenario_yaml(world.scenario)
    notes = (*world.notes, *minds.notes)
    return Prepared(world.scenario, ready, resolved, notes, time.perf_counter() - begin, minds)


@dataclass(frozen=True)
class Resumed:
    """A run to go on with.

    Attributes:
        folder: of the run.
        manifest: as it was left.
        checkpoint: where to go on.
    """

    folder: Path
    manifest: dict[str, Any]
    checkpoint: Checkpoint


def simulate(
    prepared: Prepared,
    options: Options,
    progress: Progress,
    cluster: Cluster | None,
    baseline: Run | None,
    telemetry: Telemetry,
    resumed: Resumed | None = None,
) -> Run:
    """Run what was prepared.

    Args:
        prepared: valid and complete.
        options: how.
        progress: is told how it goes.
        cluster: that the Ray engine runs on; None: the inline engine.
        baseline: the run to compare with.
        telemetry: watches.
        resumed: go on with this run; None: a new one.

    Raises:
        RunError: the run could not go on; its folder says so.
    """
    scenario, ready = prepared.scenario, prepared.plan
    phases = Phases()
    phases.seconds["prepare"] = prepared.seconds
    begin = time.perf_counter()
    if resumed is None:
        hosts = _pack(ready, options, cluster)
    else:
        hosts = as_laid_out(ready, resumed.checkpoint.layout)
    names = [name for roster in ready.rosters for name in roster.ids]
    keys = public_keys_bytes(names, ready.public_keys[:-1]) if ready.signing else b""
    if resumed is None:
        now = datetime.now(UTC)
        manifest = manifest_of(scenario, ready, options.told(), len(hosts), prepared.notes, now)
        manifest["trust"] = trust_section(ready, keys)
        manifest["policies"] = policies_section(
            prepared.minds, {spec.roster.kind: spec.policy for spec in ready.shards}
        )
        _compare_with(manifest, scenario, baseline)
        folder = None
        if options.out is not None:
            folder = new_run_folder(
                options.out, scenario.name, scenario.seed, prepared.resolved, now
            )
    else:
        manifest, folder = resumed.manifest, resumed.folder
        manifest["status"] = "started"
        manifest["resumed_after_ticks"] = [
            *manifest.get("resumed_after_ticks", []),
            resumed.checkpoint.tick,
        ]
    with ExitStack() as stack:
        stack.enter_context(_recorded(folder, manifest, prepared.resolved))
        progress.begin(scenario, names)
        writer = ResultWriter(scenario, ready.rosters, folder, ready.feeder)
        parts = {} if resumed is None else resumed.checkpoint.parts
        kept_log = unpack(parts["audit"]) if "audit" in parts else None
        audit = stack.enter_context(audited(folder, ready, keys, manifest, kept_log))
        engine = _engine(ready, hosts, cluster, progress, manifest)
        phases.seconds["start"] = time.perf_counter() - begin
        timed = TimedEngine(engine, phases)
        sink: Sink = writer if audit is None else AuditedSink(writer, audit)
        learned = None
        if options.learn:
            learned = Lessons(
                engine, prepared.minds, ready.rosters, scenario, options.share_policies, phases
            )
        since = None
        if resumed is not None:
            since = engine.restore(parts)
            restore(writer, unpack(parts["writer"]))
            writer.check_parts()
            if learned is not None:
                restore(learned, unpack(parts["lessons"]))
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
        keeper = None
        if folder is not None and options.checkpoint_every != 0:
            about = {
                "layout": layout_of(hosts),
                "inputs": inputs_of(ready, prepared.resolved),
            }
            made = Checkpoints(folder, options.checkpoint_every, about)
            keeper = _Keeper(made, engine, writer, audit, learned, phases, progress)
        sink, watch = seen.sink(TimedSink(sink, phases)), seen.watcher(progress.tick)
        with _Stop(active=keeper is not None) as stop:
            for at in seen.ticks(
                steps(timed, scenario.ticks, sink, watch, since),
                0 if since is None else since.tick + 1,
            ):
                if learned is not None:
                    seen.learned(learned.after(at.tick))
                if keeper is not None:
                    keeper.after(at, now=stop.asked.is_set())
                if stop.asked.is_set():
                    raise KeyboardInterrupt
        with phases.measure("write"):
            results = writer.finish()
        if learned is not None:
            learned.finish(folder, results.metrics)
        wall = prepared.seconds + time.perf_counter() - begin
        ticked = scenario.ticks if since is None else max(0, scenario.ticks - since.tick - 1)
        timings = timings_of(phases, wall, ticked, ready.agents)
        timings["alerts"] = alert_timings(engine.alert_seconds)
        timings["negotiation"] = negotiation_timings(engine.bargain)
        timings["checkpoints"] = None if keeper is None else keeper.timings(wall)
        timings |= engine.facts()
        manifest |= {"status": "finished", "digest": results.digest}
        manifest.pop("error", None)
        if folder is not None:
            write_json(folder / "metrics.json", results.metrics)
            write_json(folder / "timings.json", timings)
    if folder is not None:
        # Not before the manifest says that the run is finished.
        drop(folder)
    log = audit.data() if audit is not None and folder is None else None
    return finished_run(folder, manifest, timings, results, log, baseline)


class _Keeper:
    """Makes the checkpoints of a run."""

    def __init__(
        self,
        made: Checkpoints,
        engine: InlineEngine | RayEngine,
        writer: ResultWriter,
        audit: AuditWriter | None,
        learned: Lessons | None,
        phases: Phases,
        progress: Progress,
    ) -> None:
        self._made, self._engine, self._writer = made, engine, writer
        self._audit, self._learned, self._phases = audit, learned, phases
        self._progress = progress
        self._able = True

    def after(self, at: Boundary, *, now: bool) -> None:
        """Make one if it is time, or asked for now."""
        if not self._able or not (now or self._made.due(at.tick)):
            return
        begin = time.perf_counter()
        with self._phases.measure("checkpoint"):
            try:
                parts = self._engine.capture(at)
            except SwarmError as error:
                # A policy of the user's that cannot be kept is no reason to end the run.
                self._able = False
                self._progress.note(f"no checkpoints: {error}")
                return
            parts["writer"] = packed(capture(self._writer))
            if self._audit is not None:
                self._audit.anchor()
                parts["audit"] = packed(capture(self._audit))
            if self._learned is not None:
                parts["lessons"] = packed(capture(self._learned))
            self._made.write(at.tick, parts, begin)

    def timings(self, wall: float) -> dict[str, float]:
        """What they took."""
        seconds = self._made.seconds
        return {
            "made": len(seconds),
            "seconds": round(sum(seconds), 6),
            "share_of_run": round(sum(seconds) / wall, 6) if wall else 0.0,
        }


class _Stop:
    """Turns Ctrl-C into a wish to stop between two ticks; the second one stops at once."""

    def __init__(self, *, active: bool) -> None:
        """Only where Ctrl-C would raise KeyboardInterrupt here, and only if `active`."""
        self.asked = threading.Event()
        self._active = (
            active
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )

    def __enter__(self) -> _Stop:
        if self._active:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *failure: object) -> None:
        if self._active:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked.is_set():
            raise KeyboardInterrupt
        self.asked.set()


def _compare_with(manifest: dict[str, Any], scenario: Scenario, baseline: Run | None) -> None:
    if baseline is not None and scenario.baseline is not None:
        folder = baseline.run_dir
        manifest["baseline"] = {
            "name": scenario.baseline.name,
            "run": None if folder is None else folder.name,
            "digest": baseline.digest,
        }


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


@contextmanager
def _recorded(folder: Path | None, manifest: dict[str, Any], resolved: str) -> Iterator[None]:
    """Keep the scenario, and a manifest whose status is true however the block ends."""

    def write() -> None:
        if folder is not None:
            write_json(folder / "manifest.json", manifest)

    def interrupted() -> str:
        if folder is None:
            return ""
        said = f"what was written until then is in {folder}"
        if kept_in(folder):
            said += f"\nhint: swarm resume {folder}"
        return said

    if folder is not None:
        write_text(folder / "scenario.resolved.yaml", resolved)
    with true_to_the_end(manifest, write, interrupted):
        yield
