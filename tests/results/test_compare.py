"""Statistics of a comparison against scipy, closed forms and whole runs."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy import stats

import swarm
from swarm.results.compare import (
    interquartile_mean,
    probability_of_improvement,
    resampled,
    resampled_means,
    runs_table,
    share_improved,
    summarize,
)
from swarm.results.compare_metrics import METRICS, Worth, demand_mwh, figures
from swarm.results.tables import parquet_bytes, read_parquet
from tests.results.compared import against, row

NOON = ("start=2025-06-18T10:00:00+02:00", "events=[]")


@pytest.mark.parametrize("count", range(1, 14))
def test_interquartile_mean_is_scipys_trimmed_mean(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25))


def test_interval_is_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(5).gamma(2.0, size=12)
    drawn = resampled_means(values[:, None], resampled(12))
    expected = stats.bootstrap(
        (values,),
        lambda x, axis: stats.trim_mean(x, 0.25, axis=axis),
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    ours = np.quantile(drawn, [0.025, 0.975])
    assert ours == pytest.approx(list(expected.confidence_interval), abs=0.04 * values.std())
    assert drawn.std() == pytest.approx(expected.standard_error, rel=0.03)


def test_resampled_means_follow_the_exact_distribution() -> None:
    """Four values have 256 equally likely resamples: their interquartile means by enumeration."""
    values = np.array([0.0, 1.0, 5.0, 20.0])
    exact = [stats.trim_mean(drawn, 0.25) for drawn in itertools.product(values, repeat=4)]
    drawn = resampled_means(values[:, None], resampled(4))
    for level in (0.5, 2.0, 4.0, 12.0):
        share = np.mean(np.array(exact) <= level)
        error = 4 * np.sqrt(share * (1 - share) / len(drawn))
        assert np.mean(drawn <= level) == pytest.approx(share, abs=error)


@pytest.mark.parametrize("count", [2, 3])
def test_interval_of_few_seeds_is_their_range(count: int) -> None:
    """All of two (three) drawn are the least one in 1/4 (1/27) of cases, which is above 2.5 %."""
    rows = [row(policy, seed, reward=seed**2) for policy in "ab" for seed in range(count)]
    about = summarize(rows, ("a", "b"), (("a", "b"),), "EUR")["reward"]["policies"]["a"]
    assert (about["low"], about["high"]) == (0, (count - 1) ** 2)
    assert about["iqm"] == pytest.approx(np.mean(np.arange(count) ** 2))


def test_days_are_strata() -> None:
    """Days far apart do not widen the interval: each resample has every day equally often."""
    values = np.tile([0.0, 100.0], (6, 1))
    assert (resampled_means(values, resampled(6)) == 50.0).all()


def test_days_of_one_seed_are_not_independent() -> None:
    """Saying everything twice is no more evidence."""
    values = np.random.default_rng(2).normal(size=(8, 1))
    once = resampled_means(values, resampled(8))
    twice = resampled_means(np.tile(values, 2), resampled(8))
    assert twice == pytest.approx(once)


def test_probability_of_improvement_is_mann_whitneys() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.integers(0, 6, (9, 4)) * 1.0, rng.integers(0, 5, (9, 4)) * 1.0
    found, drawn = probability_of_improvement(ours, theirs, resampled(9, 500))
    of_days = [stats.mannwhitneyu(ours[:, d], theirs[:, d]).statistic / 81 for d in range(4)]
    assert found == pytest.approx(np.mean(of_days))
    sample = resampled(9, 500)[7]
    again, _ = probability_of_improvement(ours[sample], theirs[sample], resampled(9, 1))
    assert drawn[7] == pytest.approx(again)


def test_lower_cost_and_higher_reward_are_improvements() -> None:
    rows = [row("a", seed, reward=2.0, total_cost=5.0, payments=1.0) for seed in range(4)]
    rows += [row("b", seed, reward=1.0, total_cost=10.0, payments=1.0) for seed in range(4)]
    found = summarize(rows, ("a", "b"), (("a", "b"),), "EUR")
    for name, difference, relative in (("reward", 1.0, 1.0), ("total_cost", -5.0, -0.5)):
        entry = against(found, name, "a", "b")
        assert entry["probability_of_improvement"] == {"value": 1.0, "low": 1.0, "high": 1.0}
        assert entry["difference"] == dict.fromkeys(("value", "low", "high"), difference)
        assert entry["relative"] == dict.fromkeys(("value", "low", "high"), relative)
    assert "probability_of_improvement" not in against(found, "payments", "a", "b")
    even = against(found, "comfort", "a", "b")
    assert even["probability_of_improvement"]["value"] == 0.5
    assert even["relative"] is None, "nothing is relative to 0"


def test_relative_difference_needs_a_base_of_one_sign() -> None:
    """Runs earn -1 or 2, some resamples nothing on the whole: a ratio to that says nothing."""
    rows = [row("a", seed, reward=3.0, total_cost=12.0) for seed in range(6)]
    rows += [row("b", s, reward=(-1.0, 2.0)[s % 2], total_cost=8.0 + 4 * (s % 2)) for s in range(6)]
    found = summarize(rows, ("a", "b"), (("a", "b"),), "EUR")
    assert against(found, "reward", "a", "b")["relative"] is None
    relative = against(found, "total_cost", "a", "b")["relative"]
    assert relative["value"] == pytest.approx(0.2)
    # Between the resamples of 12 alone and of 8 alone.
    assert 0.0 <= relative["low"] < 0.2 < relative["high"] <= 0.5


def test_runs_on_days_of_their_own_are_compared_day_by_day() -> None:
    """Days differ by far more than policies: `a` wins 3 of 4 days, ties count half."""
    day = ("2025-02-17", "2025-04-14", "2025-08-04", "2025-11-24")
    costs = {"a": (99.0, 999.0, 9.0, 60.0), "b": (100.0, 1000.0, 10.0, 50.0)}
    rows = [row(p, s, day[s], total_cost=costs[p][s]) for p in "ab" for s in range(4)]
    found = summarize(rows, ("a", "b"), (("a", "b"),), "EUR", paired=True)
    assert found["total_cost"]["seeds"] == 4
    assert found["total_cost"]["policies"]["a"]["max"] == 999.0
    chance = against(found, "total_cost", "a", "b")["probability_of_improvement"]
    assert chance["value"] == 0.75
    assert against(found, "comfort", "a", "b")["probability_of_improvement"]["value"] == 0.5
    # A day lost for one policy is lost for both, and for no other seed.
    fewer = summarize(rows[1:], ("a", "b"), (("a", "b"),), "EUR", paired=True)
    assert fewer["total_cost"]["seeds"] == 3
    assert fewer["total_cost"]["policies"]["b"]["max"] == 1000.0


def test_share_of_days_won_has_the_interval_of_a_binomial_count() -> None:
    """Resampling 20 days of which 14 are won draws binomial counts, 14/20 each (scipy)."""
    ours = np.array([1.0] * 14 + [-1.0] * 6)[:, None]
    found, drawn = share_improved(ours, np.zeros((20, 1)), resampled(20))
    assert found == pytest.approx(0.7)
    for wins in (10, 13, 14, 17):
        expected = stats.binom.cdf(wins, 20, 0.7)
        error = 4 * np.sqrt(expected * (1 - expected) / len(drawn))
        assert np.mean(drawn <= (wins + 0.5) / 20) == pytest.approx(expected, abs=error)


def test_policies_are_judged_on_the_same_seeds() -> None:
    """What one policy lacks at a seed is not counted for the other either."""
    rows = [row("a", seed, reward=float(seed), comfort=None) for seed in range(5)]
    rows += [row("b", seed, reward=0.0, comfort=1.0) for seed in range(4)]
    rows[1] = row("a", 1, reward=None, comfort=None)
    found = summarize(rows, ("a", "b"), (("a", "b"),), "EUR")
    assert found["reward"]["seeds"] == 3
    assert found["reward"]["policies"]["a"]["max"] == 3.0
    assert found["reward"]["policies"]["a"]["mean"] == pytest.approx(5 / 3)
    assert found["comfort"]["seeds"] == 0
    assert found["comfort"]["policies"] == {}
    assert found["comfort"]["comparisons"] == []


def test_a_policy_that_never_finished_does_not_hide_the_others() -> None:
    rows = [row("b", seed, reward=float(seed)) for seed in range(3)]
    found = summarize(rows, ("a", "b"), (("b", "a"),), "EUR")["reward"]
    assert found["policies"]["b"]["iqm"] == 1.0
    assert found["comparisons"] == []
    assert summarize([], ("a", "b"), (("a", "b"),), "EUR")["reward"]["policies"] == {}


def metrics_by_hand() -> dict[str, Any]:
    names = ("generation", "load", "charge", "activated", "held_back", "stored_at_end")
    energy = dict.fromkeys(names, 0.0)
    return {
        "scenario": "s",
        "seed": 3,
        "ticks": 12,
        "system_cost": 1000.0,
        "unserved_mwh": 2.0,
        "shed_mwh": 0.5,
        "shifted_mwh": 3.0,
        "backlog_end_mwh": 1.0,
        "missed_ev_mwh": 0.5,
        "curtailed_mwh": 7.0,
        "imports_mwh": 8.0,
        "emissions_tonnes": 9.0,
        "renewable_share": 0.4,
        "seconds_in_band_share": None,
        "price_cost_markup": 0.1,
        "profit_by_kind": {"consumer": -700.0, "generator": 300.0, "ev": -50.0},
        "received_by_kind": {"consumer": -600.0, "generator": 500.0, "ev": -40.0},
        "energy_mwh_by_kind": {
            "consumer": {**energy, "load": 99.0, "activated": 1.5},
            "generator": {**energy, "generation": 90.0, "activated": -3.0, "held_back": 2.0},
            "solar": {**energy, "generation": 10.0, "held_back": 3.0},
            "ev": {**energy, "charge": 4.0, "stored_at_end": 6.0},
        },
        "refusals_by_reason": {"expired": 2},
    }


def test_figures_of_a_run_by_hand() -> None:
    found = figures(metrics_by_hand(), Worth(3000.0, 50.0))
    # Wanted: 99 of which 1.5 were called off, 1 still owed, 1.5 without contract.
    assert demand_mwh(metrics_by_hand()) == pytest.approx(100.0)
    expected: Mapping[str, float | None] = {
        "reward": -450.0,
        "total_cost": 7000.0,
        "cost_less_stored": 7000.0 - 50.0 * 6.0,
        "seconds_in_band_share": None,
        "renewable_share": 0.4,
        # Generated 100, less 3 called down and 5 held back, and 8 from outside; of 7 curtailed 2
        # were held back from generators.
        "renewable_ceiling": 0.4 + 5.0 / 100.0,
        "curtailed_mwh": 7.0,
        "imports_mwh": 8.0,
        "demand_satisfied": 0.98,
        "comfort": 1 - 5.0 / 100.5,
        "emissions_tonnes": 9.0,
        "unserved_mwh": 2.0,
        "stored_at_end_mwh": 6.0,
        "payments": 640.0,
        "price_cost_markup": 0.1,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert list(expected) == [metric.name for metric in METRICS]
    assert found["profit_by_kind.consumer"] == -700.0
    assert found["energy_mwh_by_kind.ev.charge"] == 4.0
    assert found["system_cost"] == 1000.0
    assert "seed" not in found
    assert "scenario" not in found


def test_without_load_there_is_no_share_of_it() -> None:
    metrics = metrics_by_hand() | {
        "energy_mwh_by_kind": {},
        "received_by_kind": {"generator": 1.0},
        **dict.fromkeys(("unserved_mwh", "shed_mwh", "backlog_end_mwh", "missed_ev_mwh"), 0.0),
    }
    found = figures(metrics, Worth(3000.0))
    assert found["demand_satisfied"] is found["comfort"] is found["payments"] is None


def test_every_policy_meets_the_same_demand() -> None:
    """In an emergency with responses and load not served too: what loads want is the world's."""
    runs = [
        swarm.run(
            "emergency", seed=3, sets=["baseline=null"], engine="inline", policy=policy, out=None
        ).metrics
        for policy in ("random", "passive")
    ]
    assert demand_mwh(runs[0]) == pytest.approx(demand_mwh(runs[1]), rel=1e-9)
    assert runs[0]["shifted_mwh"] > 1
    assert runs[1]["unserved_mwh"] > 1


def test_renewable_ceiling_is_the_energy_that_the_weather_offered() -> None:
    """What sun and wind offered is the world's; over the supply of a run it is the ceiling."""
    offered = []
    for policy in ("random", "heuristic"):
        run = swarm.run(
            "normal_day", ticks=24, seed=1, sets=NOON, engine="inline", policy=policy, out=None
        )
        agents = run.agents.join(run.registry.select(["agent", "kind"]), "agent").to_pandas()
        driven = agents[agents.kind.isin(["solar", "wind"])]
        # Ticks of five minutes.
        used_mwh = driven.generation_w.sum() / 12e6
        offered.append(used_mwh + driven.curtailed_w.sum() / 12e6)
        supply_mwh = agents.generation_w.sum() / 12e6 + run.metrics["imports_mwh"]
        found = figures(run.metrics, Worth(3000.0))
        assert found["renewable_share"] == pytest.approx(used_mwh / supply_mwh)
        assert found["renewable_ceiling"] == pytest.approx(offered[-1] / supply_mwh)
        assert found["curtailed_mwh"] == pytest.approx(offered[-1] - used_mwh)
    assert offered[0] == pytest.approx(offered[1])
    assert found["renewable_share"] > 0.1


def test_table_of_runs_keeps_what_was_not_measured_null() -> None:
    rows = [row("a", 0, comfort=None), row("a", 1, **{"refusals_by_reason.expired": 2.0})]
    table = read_parquet(io.BytesIO(parquet_bytes(runs_table(rows))))
    assert table.column_names[:6] == ["scenario", "policy", "seed", "day", "digest", "reward"]
    assert table["comfort"].to_pylist() == [None, 0.0]
    assert table["refusals_by_reason.expired"].to_pylist() == [None, 2.0]
    assert len(runs_table([])) == 0
