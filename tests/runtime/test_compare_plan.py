"""What a comparison is about to run: days, seeds and policies."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from swarm.errors import UsageError
from swarm.runtime import compare as planner
from swarm.runtime import minds
from swarm.scenario.days import held_out_days
from tests.learning.sets import level, one_each, saved


def test_real_data_is_lived_through_on_the_scenarios_day(tmp_path: Path) -> None:
    """Held-out days need not be in it."""
    start = datetime.fromisoformat("2024-07-30T00:00:00+10:00")
    lines = [f"{start + timedelta(minutes=5 * at)},50.0\n" for at in range(1, 700)]
    (tmp_path / "prices.csv").write_text("interval_end,price_aud_per_mwh\n" + "".join(lines))
    planned = planner.plan_comparison(
        "price_spike",
        policies=["heuristic", "random"],
        seeds=[0, 1],
        ticks=4,
        agents=8,
        data=tmp_path / "prices.csv",
    )
    assert (planned.days, planned.days_are) == (("2024-07-30",), "own")
    assert planned.not_held_out == {"2024-07-30": "real data"}
    assert len(planned.tasks) == 4


def test_runs_of_several_days_stay_in_held_out_weeks() -> None:
    two_days = ["ticks=576", "start=2024-07-30T00:00:00+10:00"]
    planned = planner.plan_comparison("price_spike", seeds=range(4), agents=8, sets=two_days)
    assert planned.days == tuple(day.isoformat() for day in held_out_days(2024, 4, length=2))
    noon = ["ticks=288", "start=2024-07-30T12:00:00+10:00", "events=[]"]
    planned = planner.plan_comparison("price_spike", seeds=range(4), agents=8, sets=noon)
    assert planned.days == tuple(day.isoformat() for day in held_out_days(2024, 4, length=2))


def test_default_policies_are_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "set", one_each())
    for module in (planner, minds):
        monkeypatch.setattr(module, "SHIPPED", tmp_path / "none")
    without = planner.plan_comparison("price_spike", seeds=[0, 1], ticks=4, agents=8)
    assert without.policies == ("heuristic", "random")
    with pytest.raises(UsageError, match=r"no trained policies come.*--policies-from"):
        planner.plan_comparison("price_spike", policies=["trained", "random"], seeds=[0, 1])
    for module in (planner, minds):
        monkeypatch.setattr(module, "SHIPPED", tmp_path / "set")
    shipped = planner.plan_comparison("price_spike", seeds=[0, 1], ticks=4, agents=8)
    assert shipped.policies == ("trained", "heuristic", "random")
    assert shipped.trained is not None
    assert shipped.trained["policies"] == "shipped"


def test_policies_that_change_meanwhile_are_not_one_policy(tmp_path: Path) -> None:
    """A training goes on and writes better ones into the folder."""
    saved(tmp_path, one_each())
    planned = planner.plan_comparison(
        "price_spike",
        policies=["trained", "random"],
        policies_from=tmp_path,
        seeds=[0, 1],
        ticks=2,
        agents=8,
        jobs=1,
    )
    other = one_each()
    other["generator"]["generator"] = level(3)

    def told(done: int, total: int, result: object) -> None:
        saved(tmp_path, other)

    done = planner.carry_out(planned, told)
    assert [(each.policy, each.seed) for each in done.failures] == [("trained", 1)]
    assert "replaced" in done.failures[0].error
    assert len(done.rows) == 3
