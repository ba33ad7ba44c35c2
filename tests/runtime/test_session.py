"""`swarm.run`: what it returns, what it leaves behind, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import swarm
from swarm.agents.policy import Heuristic
from swarm.agents.view import View
from swarm.errors import RunError, UsageError
from swarm.messages import Float
from swarm.scenario.schema import Scenario

SHORT: dict[str, Any] = {"ticks": 4, "agents": 8, "engine": "inline"}


class FailsLater(Heuristic):
    """Fails in tick 2, when the run is under way."""

    def act(self, state: Any, view: View) -> Float:
        if view.signal.tick == 2:
            raise RunError("the policy gave up")
        return super().act(state, view)


def test_in_memory_and_on_disk_are_the_same_run(tmp_path: Path) -> None:
    kept, memory = (
        swarm.run("price_spike", out=tmp_path, **SHORT),
        swarm.run("price_spike", out=None, **SHORT),
    )
    assert memory.run_dir is None
    assert kept.run_dir is not None
    assert kept.digest == memory.digest
    assert kept.metrics == memory.metrics
    for name in ("market", "grid", "kinds", "agents", "registry"):
        assert kept.table(name).equals(memory.table(name))
    again = swarm.read_run(kept.run_dir)
    assert again.digest == kept.digest
    assert again.metrics == json.loads((kept.run_dir / "metrics.json").read_text())


def test_the_resolved_scenario_runs_again_to_the_same_digest(tmp_path: Path) -> None:
    first = swarm.run("price_spike", out=tmp_path, **SHORT)
    assert first.run_dir is not None
    resolved = first.run_dir / "scenario.resolved.yaml"
    assert swarm.run(resolved, engine="inline", out=None).digest == first.digest


def test_orders_are_kept_when_asked_for() -> None:
    run = swarm.run("price_spike", out=None, sets=("results.orders=true",), **SHORT)
    orders = run.table("orders")
    accepted = orders["accepted_w"].to_numpy() * orders["side"].to_numpy()
    assert len(orders) > 0
    assert accepted.sum() == 0, "what is sold is bought"


def test_a_validated_scenario_runs_as_it_is() -> None:
    scenario = Scenario(name="empty", ticks=3)
    assert swarm.run(scenario, engine="inline", out=None).metrics["ticks"] == 3
    with pytest.raises(UsageError, match="name or path"):
        swarm.run(scenario, seed=3, engine="inline", out=None)


def test_a_run_that_fails_says_so_in_its_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="gave up"):
        swarm.run("price_spike", out=tmp_path, policy=f"{__name__}:FailsLater", **SHORT)
    folder = next(tmp_path.iterdir())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert "gave up" in manifest["error"]
    assert not (folder / "metrics.json").exists()


def test_the_manifest_says_how_it_was_run(tmp_path: Path) -> None:
    run = swarm.run("price_spike", out=tmp_path, policy="random", agents_per_actor=3, **SHORT)
    assert run.manifest["status"] == "finished"
    assert run.manifest["digest"] == run.digest
    assert run.manifest["hosts"] == 3
    assert run.manifest["options"]["policy"] == "random"
    assert run.manifest["versions"]["numpy"]


def test_progress_is_told_everything() -> None:
    heard: list[str] = []

    class Ears:
        def note(self, text: str) -> None:
            heard.append("note")

        def begin(self, scenario: Scenario, names: Sequence[str]) -> None:
            heard.append(f"begin {len(names)}")

        def starting(self, ready: int, actors: int) -> None:
            heard.append("starting")

        def traced(self, trace_id: str) -> None:
            heard.append("traced")

        def tick(self, cleared: Any, operated: Any) -> None:
            heard.append(f"tick {cleared.tick}")

    swarm.run("price_spike", out=None, progress=Ears(), **SHORT)
    assert heard[heard.index("begin 8") :] == ["begin 8", *(f"tick {t}" for t in range(6))]
    assert "note" in heard
