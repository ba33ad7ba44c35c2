"""The determinism contract: the same bytes on any engine and packing, other bytes for another seed.

The run is the evening of `price_spike`: every kind trades, a price spike, an outage event and
random forced outages occur, and loads and forecasts err.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import swarm
from swarm.results.run import Run

SPIKE = (
    "{type: price_spike, at: '18:00', price_per_mwh: 12000, notice_minutes: 30},"
    "{type: cloud_front, at: '16:30', duration_minutes: 20, factor: 0.4},"
    "{type: outage, at: '18:15', duration_minutes: 30, agents: [diesels-0001]}"
)
EVENING = (
    "start=2024-07-30T16:00:00+10:00",
    "ticks=36",
    f"events=[{SPIKE}]",
    "fleets.diesels.parameters.mean_time_to_failure_hours=3",
    "fleets.diesels.parameters.mean_time_to_repair_hours=1",
    "fleets.diesels.parameters.marginal_cost_per_mwh=60",
    "fleets.diesels.count=3",
)
AGENTS = 34
FEW = 8
"""Agents where each has an actor of its own: to start one takes a second."""


def evening(
    out: Path | None, sets: tuple[str, ...] = (), agents: int = AGENTS, **options: object
) -> Run:
    return swarm.run(
        "price_spike",
        sets=(*EVENING, *sets),
        agents=agents,
        out=out,
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return evening(tmp_path_factory.mktemp("inline"), engine="inline")


def test_every_kind_trades_and_chance_strikes(reference: Run) -> None:
    registry = reference.table("registry").to_pylist()
    kinds = np.array([row["kind"] for row in registry])
    agents = reference.table("agents")
    traded = np.zeros(len(registry), dtype=bool)
    contract = agents["contract_w"].to_numpy()
    traded[np.unique(agents["agent"].to_numpy()[contract != 0])] = True
    for kind in ("consumer", "ev", "generator", "home", "solar", "storage", "wind"):
        assert traded[kinds == kind].any(), f"no {kind} traded"
    is_generator = np.isin(agents["agent"].to_numpy(), np.flatnonzero(kinds == "generator"))
    sold_nothing_delivered = (contract > 0) & (agents["delivered_w"].to_numpy() == 0)
    assert (is_generator & sold_nothing_delivered).any(), "no outage struck a unit that had sold"
    assert max(reference.table("market")["price_milli_per_mwh"].to_pylist()) > 10_000_000


@pytest.mark.parametrize("per_actor", [1, 7, AGENTS])
def test_inline_packing_changes_no_byte(reference: Run, per_actor: int) -> None:
    assert evening(None, engine="inline", agents_per_actor=per_actor).digest == reference.digest


@pytest.mark.parametrize("per_actor", [pytest.param(1, marks=pytest.mark.slow), 12, "auto"])
def test_ray_changes_no_byte(
    ray_cluster: str, reference: Run, per_actor: int | str, tmp_path: Path
) -> None:
    run = evening(tmp_path, engine="ray", agents_per_actor=per_actor)
    assert run.digest == reference.digest
    assert run.run_dir is not None
    assert reference.run_dir is not None
    for name in ("metrics.json", "scenario.resolved.yaml", "audit.log"):
        assert (run.run_dir / name).read_bytes() == (reference.run_dir / name).read_bytes()
    hosts = json.loads((run.run_dir / "manifest.json").read_text())["hosts"]
    if per_actor != "auto":
        assert hosts == -(-AGENTS // int(per_actor))


def test_an_actor_for_each_agent_changes_no_byte(
    ray_cluster: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run = evening(None, agents=FEW, engine="ray", agents_per_actor=1)
    said = capfd.readouterr()
    assert run.manifest["hosts"] == FEW
    assert run.digest == evening(None, agents=FEW, engine="inline").digest
    assert said.out == ""
    assert "raylet" not in said.err, "Ray needs no words"


def test_hosts_are_worker_processes_of_their_own(ray_cluster: str) -> None:
    import os

    from swarm.runtime.packing import contiguous, pack
    from swarm.runtime.ray.cluster import Cluster
    from swarm.runtime.setup import plan
    from swarm.scenario.load import load_scenario
    from swarm.world.world import build_world

    ready = plan(build_world(load_scenario("price_spike", agents=12).scenario, None), "heuristic")
    hosts = contiguous(ready, 5)
    cluster = Cluster(None)
    engine = cluster.engine(*pack(ready, hosts), hosts, lambda ready, actors: None)
    processes = {process for _, process in engine.placements}
    assert len(processes) == len(hosts) == 3
    assert os.getpid() not in processes
    cluster.close()


def test_large_replies_travel_by_reference_and_change_nothing(
    ray_cluster: str, monkeypatch: pytest.MonkeyPatch, reference: Run
) -> None:
    import swarm.runtime.ray.engine as engine

    monkeypatch.setattr(engine, "REFERENCE_FROM_AGENTS", 1)
    assert evening(None, engine="ray", agents_per_actor=12).digest == reference.digest


@pytest.mark.parametrize("by_reference", [False, True])
def test_negotiation_on_ray_changes_no_byte(
    ray_cluster: str, monkeypatch: pytest.MonkeyPatch, by_reference: bool
) -> None:
    import swarm.runtime.ray.engine as engine

    if by_reference:
        monkeypatch.setattr(engine, "REFERENCE_FROM_AGENTS", 1)
    sets = ("market.mechanism=negotiated", "market.negotiation.lost_share=0.1")
    runs = [
        evening(None, sets, engine=name, agents_per_actor=per_actor)
        for name, per_actor in (("inline", AGENTS), ("ray", 12))
    ]
    assert runs[0].digest == runs[1].digest
    assert runs[0].audit_log == runs[1].audit_log is not None


def test_another_seed_gives_other_bytes(reference: Run) -> None:
    assert evening(None, engine="inline", seed=8).digest != reference.digest


def test_the_order_of_one_draw_matters(reference: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import swarm.agents.shard as shard

    drawn = shard.uniforms

    def swapped(seed: int, stream: str, tick: int, first: int, count: int) -> np.ndarray:
        values = drawn(seed, stream, tick, first, count)
        return values[:, ::-1] if (stream, tick) == ("nature", 20) else values

    monkeypatch.setattr(shard, "uniforms", swapped)
    assert evening(None, engine="inline").digest != reference.digest


def test_a_shorter_run_is_a_prefix_of_a_longer_one(reference: Run) -> None:
    short = evening(None, sets=("ticks=30",), engine="inline")
    whole = reference.table("market").slice(0, 30).drop_columns(["tick"]).to_pydict()
    assert short.table("market").drop_columns(["tick"]).to_pydict() == whole
