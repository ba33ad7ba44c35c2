"""What the agents of a run follow, by what is asked for and what is at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.agents.policy import Exploration
from swarm.errors import UsageError
from swarm.learning.files import save_policies
from swarm.runtime import minds
from swarm.runtime.lessons import learning
from swarm.runtime.minds import Minds, minds_of
from swarm.scenario.fleets import rosters
from swarm.scenario.load import load_scenario
from swarm.scenario.schema import Scenario
from tests.learning.sets import drawn

SCENARIO = Scenario.model_validate(
    {
        "name": "three",
        "ticks": 4,
        "tick_minutes": 5,
        "fleets": [
            {"name": "loads", "kind": "consumer", "count": 3},
            {"name": "cells", "kind": "storage", "count": 2, "parameters": {"power_mw": 7}},
            {"name": "wind", "kind": "wind", "count": 1},
        ],
    }
)
COVERS: dict[str, Any] = {
    "tick_minutes": [5, 60],
    "power_mw": [1, 10],
    "mechanism": ["uniform_price"],
}


@pytest.fixture(autouse=True)
def _nothing_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minds, "SHIPPED", tmp_path / "shipped")


def trained(
    folder: Path, covers: dict[str, Any] | None = None, **counts: int
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Policies of these kinds; what storages were trained on."""
    policies = drawn(counts or {"storage": 1, "wind": 1})
    card = {"kinds": {"storage": {"covers": COVERS | (covers or {})}}}
    save_policies(folder, policies, card)
    return policies


def follow(policy: str | None = None, folder: Path | None = None) -> Minds:
    return minds_of(policy, folder, SCENARIO, rosters(SCENARIO))


def test_without_trained_policies_all_follow_the_heuristic() -> None:
    assert follow() == Minds("heuristic")


@pytest.mark.parametrize("policy", ["heuristic", "random", "my.module:Class"])
def test_what_is_asked_for_is_followed(policy: str, tmp_path: Path) -> None:
    trained(tmp_path / "shipped")
    assert follow(policy) == Minds(policy)


def test_kinds_that_were_trained_follow_what_is_shipped(tmp_path: Path) -> None:
    policies = trained(tmp_path / "shipped", ev=1, storage=1)
    found = follow()
    assert found.policy == "trained"
    assert found.learned.keys() == {"storage"}
    assert found.notes == ()
    held = found.learned["storage"]
    assert held.exploration is None
    for name, array in policies["storage"]["storage"].items():
        np.testing.assert_array_equal(held.weights["storage"][name], array)
    assert found.source is not None
    assert found.source["policies"] == "shipped"


@pytest.mark.parametrize(
    ("covers", "told"),
    [
        ({"tick_minutes": [15, 60]}, "tick_minutes is 5, trained on 15 to 60"),
        ({"power_mw": [10, 40]}, "power_mw is 7, trained on 10 to 40"),
        ({"power_mw": [1, 6.5]}, "power_mw is 7, trained on 1 to 6.5"),
        (
            {"mechanism": ["negotiated", "pay_as_bid"]},
            "market.mechanism is uniform_price, trained on negotiated, pay_as_bid",
        ),
    ],
)
def test_kinds_beyond_their_training_follow_the_heuristic_unless_asked(
    covers: dict[str, Any], told: str, tmp_path: Path
) -> None:
    policies = tmp_path / "shipped"
    trained(policies, covers)
    found = follow()
    assert (found.policy, set(found.learned)) == ("trained", {"wind"})
    assert found.notes == (
        f"storage follows the heuristic: {told}",
        "`--policy trained` uses trained policies all the same",
    )
    for asked in (follow("trained"), follow(None, policies)):
        assert set(asked.learned) == {"storage", "wind"}
        assert asked.notes == (
            "no policy was trained for consumer: heuristic",
            f"storage is trained, but not for this: {told}",
        )
    trained(policies, covers, storage=1)
    alone = follow()
    assert (alone.policy, alone.learned, len(alone.notes)) == ("heuristic", {}, 2)


@pytest.mark.parametrize("edge", [[5, 5], [7, 7]])
def test_the_ends_of_what_is_covered_belong_to_it(edge: list[int], tmp_path: Path) -> None:
    trained(tmp_path / "shipped", {"tick_minutes" if edge[0] == 5 else "power_mw": edge})
    assert set(follow().learned) == {"storage", "wind"}


def test_a_folder_of_policies_is_followed_and_named(tmp_path: Path) -> None:
    sha256 = save_policies(tmp_path / "mine", drawn({"wind": 1}, seed=3), {})
    for policy in (None, "trained"):
        found = follow(policy, tmp_path / "mine")
        assert set(found.learned) == {"wind"}
        assert found.source == {"policies": str(tmp_path / "mine"), "sha256": sha256}
        assert len(found.notes) == 2


def test_a_folder_is_for_the_trained_policy(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(UsageError, match="--policies-from is for --policy trained, not for random"):
        follow("random", tmp_path)


@pytest.mark.parametrize("folder", [None, "mine"])
def test_policies_that_are_not_there_are_refused(folder: str | None, tmp_path: Path) -> None:
    at = tmp_path / (folder or "shipped")
    with pytest.raises(UsageError, match=f"{at}.*is missing"):
        follow("trained", None if folder is None else at)


def test_policies_of_other_kinds_alone_are_refused(tmp_path: Path) -> None:
    trained(tmp_path / "shipped", ev=1, home=1)
    told = r"the scenario has no agents of a trained kind \(ev, home\)"
    with pytest.raises(UsageError, match=told):
        follow("trained")
    assert follow() == Minds("heuristic")


def test_policies_of_an_unknown_kind_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swarm.learning import files

    policies = drawn({"wind": 1})
    policies["turbine"] = policies.pop("wind")
    with monkeypatch.context() as patch:
        patch.setattr(files, "check_policies", lambda policies: None)
        save_policies(tmp_path, policies, {})
    with pytest.raises(UsageError, match="kind 'turbine' is not known"):
        follow(None, tmp_path)


def test_own_policies_must_be_as_many_as_the_agents(tmp_path: Path) -> None:
    trained(tmp_path, storage=2)
    assert len(follow(None, tmp_path).learned["storage"].weights["storage"]["layer0.bias"]) == 2
    trained(tmp_path, storage=3)
    with pytest.raises(UsageError) as caught:
        follow(None, tmp_path)
    assert str(caught.value) == (
        "--policies-from: storage/storage is of 3 agents; the scenario has 2, expected as many or "
        "one policy for all"
    )


def test_who_learns_explores(tmp_path: Path) -> None:
    trained(tmp_path)
    plain = follow(None, tmp_path)
    found = learning(plain)
    assert found.learned.keys() == plain.learned.keys()
    for kind, each in found.learned.items():
        assert isinstance(each.exploration, Exploration)
        assert each.exploration.stochastic
        assert 0 < each.exploration.epsilon < 0.5
        assert each.weights is plain.learned[kind].weights


@pytest.mark.parametrize("policy", ["heuristic", "random", "my.module:Class"])
def test_whoever_does_not_follow_trained_cannot_learn(policy: str) -> None:
    with pytest.raises(UsageError, match=f"--learn: the agents follow {policy}, which does not"):
        learning(follow(policy))


def test_price_takers_must_fit_through_the_connection(tmp_path: Path) -> None:
    trained(tmp_path / "shipped", {"price_taker": True})
    # Two batteries of 7 MW each, and nothing outside; then a connection as wide, and one narrower.
    said = "all storage agents together have 14 MW, more than the {} MW of the connection outside"
    assert said.format(0) in follow().notes[0]
    for limit, fits in ((14, True), (13, False)):
        outside = {"import_limit_mw": limit, "export_limit_mw": 50, "price_per_mwh": 60}
        scenario = Scenario.model_validate({**SCENARIO.model_dump(), "outside": outside})
        found = minds_of(None, None, scenario, rosters(scenario))
        assert ("storage" in found.learned) is fits
        assert fits or said.format(13) in found.notes[0]


def test_the_shipped_policies_are_used_where_no_reserve_is_bought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the policies of the package: each kind of `price_takers`, and none of `emergency`."""
    package = Path(minds.__file__).parents[1]
    monkeypatch.setattr(minds, "SHIPPED", package / "learning" / "shipped")
    for name, expected in (("price_takers", "trained"), ("emergency", "heuristic")):
        scenario = load_scenario(name).scenario
        found = minds_of(None, None, scenario, rosters(scenario))
        assert found.policy == expected
        if expected == "trained":
            assert found.learned.keys() == {roster.kind for roster in rosters(scenario)}
        else:
            assert any("reserve is bought" in note for note in found.notes)
