"""Key figures against arithmetic done by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import MW, Stream, operated_of, record_of, row

from swarm.results.grid_kpis import GRID_DEFINITIONS
from swarm.results.kpis import DEFINITIONS, Totals, herfindahl_index
from swarm.results.trust_kpis import TRUST_DEFINITIONS
from swarm.results.writer import Results
from swarm.scenario.fleets import rosters
from swarm.scenario.schema import Scenario


@pytest.fixture
def found(
    write: Callable[..., Results], by_hand_scenario: Scenario, by_hand_stream: Stream
) -> dict[str, Any]:
    return write(by_hand_scenario, by_hand_stream).metrics


def test_every_figure_is_defined(found: dict[str, Any]) -> None:
    assert found.keys() == DEFINITIONS.keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ticks", 4),
        ("agents", 5),
        ("agents_by_kind", {"consumer": 1, "ev": 1, "generator": 2, "solar": 1}),
        ("currency", "EUR"),
        # 50, -10 and 3000 in the three ticks with trade.
        ("mean_price", 3040 / 3),
        ("min_price", -10),
        ("max_price", 3000),
        # 10 MW at 50, 6 MW at -10, 1 MW at 3000.
        ("volume_weighted_price", (500 - 60 + 3000) / 17),
        ("no_trade_ticks", 1),
        ("scarcity_ticks", 1),
        ("volume_mwh", 8.5),
        ("agents_cost", 105),
        ("outside_received", 85),
        ("operator_received", 5),
        ("system_cost", 190),
        ("ledger_residual_micro", 0),
        ("unserved_mwh", 4),
        ("shed_mwh", 1),
        ("spilled_mwh", 0.5),
        ("curtailed_mwh", 0.5),
        # Sun 1 and 6 MW, hydro 2 MW, half of 3 MW imported, over 14 MW made and 3 MW imported.
        ("renewable_share", 10.5 / 17),
        # 1.8 t of the plant, 1.5 MWh imported at 0.4 t/MWh.
        ("emissions_tonnes", 2.4),
        ("imports_mwh", 1.5),
        ("exports_mwh", 1),
        ("shifted_mwh", 0.5),
        ("backlog_end_mwh", 0.25),
        ("missed_ev_mwh", 0.25),
        # Sold: hydro 2, thermal 5, sun 7, outside 3 MW, 17 in all.
        ("herfindahl_index", 10_000 * (4 + 25 + 49 + 9) / 17**2),
        # 10 MW at 50 over imports at 48; 1 MW at 3000 over the plant's 40; not the negative tick.
        ("price_cost_markup", (10 * 2 / 50 + 2960 / 3000) / 11),
    ],
)
def test_by_hand(found: dict[str, Any], name: str, value: object) -> None:
    if isinstance(value, float | int):
        assert found[name] == pytest.approx(value, rel=1e-14, abs=0)
    else:
        assert found[name] == value


def test_by_kind(found: dict[str, Any]) -> None:
    received = {"consumer": -1730, "ev": 0, "generator": 1645.000001, "solar": -5}
    assert found["received_by_kind"] == received
    assert found["cost_by_kind"] == {"consumer": 0, "ev": 0, "generator": 105, "solar": 0}
    assert found["profit_by_kind"] == received | {"generator": 1540.000001}
    nothing = dict.fromkeys(
        (
            *("generation", "load", "charge", "discharge", "stored_at_end"),
            *("activated", "shed", "held_back"),
        ),
        0,
    )
    assert found["energy_mwh_by_kind"] == {
        "consumer": nothing | {"load": 7.5},
        "ev": nothing | {"charge": 0.25},
        "generator": nothing | {"generation": 3.5},
        "solar": nothing | {"generation": 3.5},
    }


def test_nothing_traded(write: Callable[..., Results], by_hand_scenario: Scenario) -> None:
    found = write(by_hand_scenario, [(record_of(0, 5), operated_of(0))]).metrics
    missing = {name for name, value in found.items() if value is None}
    assert missing - GRID_DEFINITIONS.keys() - TRUST_DEFINITIONS.keys() == {
        "mean_price",
        "min_price",
        "max_price",
        "volume_weighted_price",
        "renewable_share",
        "herfindahl_index",
        "price_cost_markup",
    }
    json.dumps(found, allow_nan=False)


def test_no_agents(write: Callable[..., Results]) -> None:
    scenario = Scenario(name="empty")
    found = write(scenario, [(record_of(0, 0), operated_of(0))]).metrics
    assert (found["agents"], found["profit_by_kind"], found["mean_price"]) == (0, {}, None)
    assert found["backlog_end_mwh"] == found["system_cost"] == 0


def test_a_loss_shows_in_the_residual(
    write: Callable[..., Results], by_hand_scenario: Scenario
) -> None:
    leak = record_of(0, 5, received_micro=row(a0=-7, a3=4), outside_micro=2)
    found = write(by_hand_scenario, [(leak, operated_of(0))]).metrics
    assert found["ledger_residual_micro"] == -1


def test_marginal_cost_counts_units_that_deliver_only(
    write: Callable[..., Results], by_hand_scenario: Scenario
) -> None:
    traded = {"price_milli": 100_000, "status": "cleared", "volume_w": MW}
    meters = {"generation_w": row(a2=MW), "marginal_cost_milli": row(a2=20_000, a3=90_000)}
    found = write(by_hand_scenario, [(record_of(0, 5, **traded, meters=meters), operated_of(0))])
    assert found.metrics["price_cost_markup"] == 0.8
    # The sun alone has no marginal cost to compare with.
    meters = {"generation_w": row(a4=MW)}
    found = write(by_hand_scenario, [(record_of(0, 5, **traded, meters=meters), operated_of(0))])
    assert found.metrics["price_cost_markup"] is None


def test_no_markup_at_a_negative_price(
    write: Callable[..., Results], by_hand_scenario: Scenario
) -> None:
    """(price - cost) / price would call a sale below cost a markup."""
    traded = {"price_milli": -10_000, "status": "cleared", "volume_w": MW}
    meters = {"generation_w": row(a3=MW), "marginal_cost_milli": row(a3=-20_000)}
    found = write(by_hand_scenario, [(record_of(0, 5, **traded, meters=meters), operated_of(0))])
    assert found.metrics["price_cost_markup"] is None


def test_a_unit_held_above_the_price_sets_none(
    write: Callable[..., Results], by_hand_scenario: Scenario
) -> None:
    traded = {"price_milli": 100_000, "status": "cleared", "volume_w": MW}
    meters = {
        "generation_w": row(a2=MW, a3=MW),
        "marginal_cost_milli": row(a2=60_000, a3=400_000),
    }
    found = write(by_hand_scenario, [(record_of(0, 5, **traded, meters=meters), operated_of(0))])
    assert found.metrics["price_cost_markup"] == 0.4


def test_long_runs_do_not_overflow(by_hand_scenario: Scenario) -> None:
    from swarm.results.by_kind import INT_COLUMNS, first_agents, sum_by_kind

    agents = rosters(by_hand_scenario)
    totals = Totals(by_hand_scenario, agents)
    rich = record_of(0, 5, received_micro=row(a0=2**62))
    for _ in range(4):
        totals.add(rich, operated_of(0), sum_by_kind(rich, first_agents(agents)))
    assert totals.by_kind[INT_COLUMNS.index("received_micro"), 0] == 2**64


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_herfindahl_bounds(sold: list[int]) -> None:
    index, sellers = herfindahl_index(sold), sum(amount > 0 for amount in sold)
    if sellers == 0:
        assert index is None
    else:
        assert index is not None
        assert 10_000 / sellers * (1 - 1e-12) <= index <= 10_000


@pytest.mark.parametrize("firms", [1, 2, 4, 5])
def test_herfindahl_of_equal_firms(firms: int) -> None:
    assert herfindahl_index([7] * firms) == 10_000 / firms
