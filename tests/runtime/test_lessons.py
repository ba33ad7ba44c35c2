"""Learning during a run: the same bytes wherever the agents are, and what it changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import swarm
from swarm.agents.policy import Exploration, Learned
from swarm.errors import UsageError
from swarm.learning.files import load_policies
from swarm.learning.team import Team
from swarm.loop import simulate
from swarm.results.run import Run
from swarm.runtime import lessons
from swarm.runtime.inline import InlineEngine
from swarm.runtime.packing import even, pack
from swarm.runtime.setup import plan
from swarm.runtime.trainee import Lesson, Member, Settings, TeamSpec, TeamTrainee
from swarm.runtime.worlds import Here, Place
from swarm.scenario.schema import Scenario
from swarm.world.world import build_world
from tests.contract.test_packing import Tape
from tests.learning.sets import always, drawn, one_each, saved

COUNTS = {
    "consumer": 3,
    "ev": 2,
    "generator": 2,
    "home": 2,
    "solar": 1,
    "storage": 2,
    "wind": 1,
}
TICKS = 40
CHANGED = 24
"""The first tick after a lesson that had enough to learn from: storages begin with 12 ticks, others
with 32, so that all have learned after the third lesson."""


def town(**change: Any) -> Scenario:
    """Ticks of half an hour with prices outside that change from hour to hour."""
    return Scenario.model_validate(
        {
            "name": "town",
            "ticks": TICKS,
            "tick_minutes": 30,
            "trust": {"signatures": "none"},
            "outside": {"import_limit_mw": 300, "export_limit_mw": 300},
            "fleets": [
                {"name": kind, "kind": kind, "count": count} for kind, count in COUNTS.items()
            ],
            **change,
        }
    )


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where they are: one policy for each agent, and one for all of a kind."""
    at = {name: tmp_path_factory.mktemp(name) for name in ("own", "shared")}
    saved(at["own"], drawn(COUNTS))
    saved(at["shared"], one_each())
    return at


@pytest.fixture(scope="module")
def learned(policies: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    return {name: learn(policies, name, tmp_path_factory.mktemp("run")) for name in policies}


def learn(policies: dict[str, Path], name: str, out: Path | None, **options: Any) -> Run:
    given: dict[str, Any] = {"engine": "inline", "learn": True, "share_policies": name == "shared"}
    return swarm.run(town(), policies_from=policies[name], out=out, **given | options)


def policies_sha256(run: Run) -> str:
    assert run.run_dir is not None
    data = (run.run_dir / "policies" / "policies.safetensors").read_bytes()
    return hashlib.sha256(data).hexdigest()


both = pytest.mark.parametrize("name", ["own", "shared"])


@both
@pytest.mark.parametrize("per_actor", [1, 4])
def test_any_packing_learns_the_same(
    policies: dict[str, Path], learned: dict[str, Run], name: str, per_actor: int, tmp_path: Path
) -> None:
    again = learn(policies, name, tmp_path, agents_per_actor=per_actor)
    assert again.digest == learned[name].digest
    assert policies_sha256(again) == policies_sha256(learned[name])
    assert again.metrics == learned[name].metrics


def test_ray_learns_the_same(
    ray_cluster: str, policies: dict[str, Path], learned: dict[str, Run], tmp_path: Path
) -> None:
    run = learn(policies, "own", tmp_path, engine="ray", agents_per_actor=5)
    assert run.digest == learned["own"].digest
    assert policies_sha256(run) == policies_sha256(learned["own"])
    assert run.metrics == learned["own"].metrics


@both
def test_every_network_learned_from_where_it_began(
    policies: dict[str, Path], learned: dict[str, Run], name: str
) -> None:
    run = learned[name]
    assert run.run_dir is not None
    before = load_policies(policies[name])
    after = load_policies(run.run_dir / "policies")
    assert after.card == {"learned_during": run.run_dir.name, "kinds": {}}
    for kind, networks in after.policies.items():
        for network, weights in networks.items():
            first = before.policies[kind][network]
            assert weights.keys() == first.keys()
            change = np.abs(weights["layer0.weight"] - first["layer0.weight"])
            assert len(change) == (COUNTS[kind] if name == "own" else 1)
            assert (change.max(axis=(1, 2)) > 0).all(), (kind, network)
            assert change.max() < 0.05, (kind, network)
    told = run.metrics["learning"]
    assert told["lessons"] == 3
    assert {key.partition("/")[2] for key in told if key.startswith("reward/")} == set(COUNTS)
    manifest = json.loads((run.run_dir / "manifest.json").read_text())
    assert manifest["policies"] == {
        "by_kind": dict.fromkeys(COUNTS, "trained"),
        "trained": {"policies": str(policies[name]), "sha256": before.sha256},
    }


def test_a_lesson_changes_what_follows_and_nothing_before(
    policies: dict[str, Path], learned: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lessons, "EVERY", 10 * TICKS)
    without = learn(policies, "own", None)
    assert without.metrics["learning"] == {"lessons": 0}
    assert without.digest != learned["own"].digest
    early = [
        run.table("agents").slice(0, CHANGED * sum(COUNTS.values()))
        for run in (without, learned["own"])
    ]
    assert max(early[0]["tick"].to_pylist()) == CHANGED - 1
    for column in early[0].column_names:
        assert early[0][column].equals(early[1][column]), column


def test_learning_needs_somebody_who_learns(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--learn: the agents follow heuristic, which does not"):
        swarm.run(town(), policy="heuristic", learn=True, engine="inline", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_rewards_in_a_run_are_what_its_records_say() -> None:
    """The books of the market and the meters know nothing of learning; prices differ by the hour.

    Consumers that put nothing off owe nothing for what they buy, as long as it is counted at the
    price of its own tick. Wind is paid for what it sells, 1 for its capacity over a tick at 50.
    """
    patient = {"load_noise": 0, "response_price_per_mwh": 5000}
    scenario = town(
        ticks=20,
        world={"forecast": "perfect"},
        fleets=[
            {"name": "loads", "kind": "consumer", "count": 3, "parameters": patient},
            {"name": "wind", "kind": "wind", "count": 2},
        ],
    )
    greedy = Exploration(0.0, 0.0, stochastic=False)
    minds = {
        "consumer": Learned({"consumer": always("consumer", -20.0)}, greedy),
        "wind": Learned(one_each()["wind"], Exploration(0.3, 0.1)),
    }
    ready = plan(build_world(scenario, None), "trained", learned=minds)
    hosts = even(ready, 2)
    tape, engine = Tape(), InlineEngine(*pack(ready, hosts), hosts)
    simulate(engine, 20, tape, lambda cleared, operated: None)
    found = engine.experience()
    records = [record for record, _ in tape.written]
    assert len({record.price_milli for record in records}) > 5
    profit = np.array([r.received_micro - r.meters.cost_micro for r in records]) / 1e6
    wind, loads = found["wind"]["generator"], found["consumer"]["consumer"]
    for part, agents in ((loads, [0, 1, 2]), (wind, [3, 4])):
        # Of the last tick nobody knows what followed.
        assert part.tick.tolist() == list(range(19))
        assert part.agent.tolist() == agents
    scaled = profit[:19, 3:] / (ready.rosters[1].column("capacity_mw") * 0.5 * 50)
    np.testing.assert_allclose(wind.reward, scaled, rtol=1e-5, atol=1e-6)
    assert len(np.unique(wind.reward.round(3))) > 10
    assert (profit[:, :3] < -1).all()
    np.testing.assert_allclose(loads.reward, 0.0, atol=1e-4)


@pytest.mark.parametrize("ticks", [10, 11, 12])
def test_learners_are_told_of_the_end_with_the_last_experience(
    ticks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[list[int], bool]] = []

    def noted(team: Team, worlds: Any, last: bool) -> dict[str, float]:
        parts = [world["wind"]["generator"].tick.tolist() for world in worlds if "wind" in world]
        told.append((parts[0] if parts else [], last))
        return {}

    monkeypatch.setattr(Team, "learn", noted)
    scenario = town(ticks=ticks, fleets=[{"name": "wind", "kind": "wind", "count": 1}])
    team = TeamSpec(Settings(), 1, (Member("wind", 0, 1),), 2)
    trainee = TeamTrainee(Lesson(scenario, (Place(),), (Place(),), 2, team), Here())
    trainee.episode(0)
    assert [last for _, last in told] == [False] * (len(told) - 1) + [True]
    assert [tick for ticks, _ in told for tick in ticks] == list(range(ticks - 1))
    assert told[-1][0], "the end came alone"
