"""From a world to specs: every agent once and in order, its own columns, its own events."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.agents.shard import ShardSpec
from swarm.errors import UsageError
from swarm.runtime.packing import contiguous, even, pack
from swarm.runtime.setup import Plan, _hourly, plan
from swarm.scenario.schema import Scenario
from swarm.world.world import World

TICKS = 36


def world(**given: Any) -> World:
    """A small world with three sites, its series telling tick and column apart."""
    base: dict[str, Any] = {
        "name": "small",
        "ticks": TICKS,
        "tick_minutes": 20,
        "outside": {"import_limit_mw": 5, "export_limit_mw": 4, "balancing_margin_mw": 1},
        "fleets": [
            {"name": "homes", "kind": "home", "count": 5, "parameters": {"load_mw": 1}},
            {"name": "sun", "kind": "solar", "count": 4, "parameters": {"capacity_mw": 2}},
            {"name": "cars", "kind": "ev", "count": 3},
            {"name": "gen", "kind": "generator", "count": 2},
            {"name": "shops", "kind": "consumer", "count": 7, "parameters": {"load_mw": 20}},
        ],
    }
    scenario = Scenario.model_validate({**base, **given})
    rows = np.arange(TICKS + 72.0)[:, None]
    series = {
        "flat": np.ones((TICKS + 72, 1)),
        "solar": rows / 1000 + np.array([[0.1, 0.2, 0.3]]),
        "h0": rows + 0.5,
        "daily_price": np.ones((TICKS + 72, 1)),
    }
    price = None if scenario.outside is None else scenario.outside.price_per_mwh * rows[:, 0]
    cap = np.full(TICKS, scenario.market.price_cap)
    return World(scenario, series, price, False, cap, np.zeros(TICKS), ())


@pytest.fixture(scope="module")
def ready() -> Plan:
    return plan(world(), "heuristic")


def check_cover(agents: Plan, hosts: tuple[tuple[ShardSpec, ...], ...]) -> None:
    """Every agent is hosted exactly once, with its own id, asset and columns."""
    whole = {
        spec.roster.first + row: (spec, row)
        for spec in agents.shards
        for row in range(len(spec.roster))
    }
    seen = []
    for specs in hosts:
        assert specs
        for spec in specs:
            assert len(spec.roster) > 0
            for row in range(len(spec.roster)):
                index = spec.roster.first + row
                seen.append(index)
                source, at = whole[index]
                assert spec.roster.ids[row] == source.roster.ids[at]
                assert spec.roster.assets[row] == source.roster.assets[at]
                for role, columns in spec.columns.items():
                    np.testing.assert_array_equal(
                        spec.series[role][:, columns[row]],
                        source.series[role][:, source.columns[role][at]],
                    )
    assert sorted(seen) == list(range(agents.agents))
    for told in pack(agents, hosts):
        assert [list(index) for index in told.host_agents] == [
            [s.roster.first + row for s in specs for row in range(len(s.roster))] for specs in hosts
        ]


@settings(max_examples=60)
@given(per_host=st.integers(1, 30))
def test_contiguous_hosts_hold_runs_of_agents(ready: Plan, per_host: int) -> None:
    hosts = contiguous(ready, per_host)
    check_cover(ready, hosts)
    sizes = [sum(len(spec.roster) for spec in specs) for specs in hosts]
    assert sizes[:-1] == [per_host] * (len(sizes) - 1)
    market, _ = pack(ready, hosts)
    order = np.concatenate(market.host_agents)
    np.testing.assert_array_equal(order, np.arange(ready.agents))


@settings(max_examples=60)
@given(count=st.integers(1, 30))
def test_even_hosts_share_every_kind(ready: Plan, count: int) -> None:
    hosts = even(ready, count)
    check_cover(ready, hosts)
    assert len(hosts) <= count
    for kind in {spec.roster.kind for spec in ready.shards}:
        shares = [
            sum(len(spec.roster) for spec in specs if spec.roster.kind == kind) for specs in hosts
        ]
        missing = count - len(hosts)
        assert max(shares) - min([*shares, *[0] * missing]) <= 1


def test_kinds_follow_each_other_in_order(ready: Plan) -> None:
    kinds = [roster.kind for roster in ready.rosters]
    assert kinds == ["consumer", "ev", "generator", "home", "solar"]
    assert [roster.first for roster in ready.rosters] == [0, 7, 10, 12, 17]
    assert all(list(roster.ids) == sorted(roster.ids) for roster in ready.rosters)


@settings(max_examples=60)
@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60),
    minutes=st.sampled_from([1, 5, 7, 15, 20, 60, 90, 120, 1440]),
)
def test_hourly_means_are_of_the_ticks_that_touch_the_hour(
    values: list[float], minutes: int
) -> None:
    found = _hourly(np.array(values), minutes)
    assert len(found) == max(1, -(-len(values) * minutes // 60))
    for hour, mean in enumerate(found):
        touching = [
            value
            for tick, value in enumerate(values)
            if tick * minutes < (hour + 1) * 60 and (tick + 1) * minutes > hour * 60
        ]
        assert mean == pytest.approx(np.mean(touching), abs=1e-9)


def columns_of(agents: Plan, kind: str, role: str) -> list[float]:
    """Fraction that tells the column of each agent apart, at tick 0."""
    spec = next(s for s in agents.shards if s.roster.kind == kind)
    return [float(spec.series[role][0, c]) for c in spec.columns[role]]


def test_agents_are_spread_over_the_sites_by_their_index(ready: Plan) -> None:
    # The first solar plant is agent 17, the first home agent 12; there are three sites.
    assert columns_of(ready, "solar", "availability") == [0.3, 0.1, 0.2, 0.3]
    assert columns_of(ready, "home", "availability") == [0.1, 0.2, 0.3, 0.1, 0.2]
    assert columns_of(ready, "home", "load") == [0.5] * 5


def test_a_named_site_is_kept_and_an_unknown_one_refused() -> None:
    def sun(site: int) -> Any:
        fleet = {"name": "sun", "kind": "solar", "count": 2, "parameters": {"site": site}}
        return plan(world(fleets=[fleet]), "heuristic")

    assert columns_of(sun(2), "solar", "availability") == [0.3, 0.3]
    with pytest.raises(UsageError, match=r"'sun-.*site 3 does not exist.*0\.\.2"):
        sun(3)


def test_series_cover_the_run_and_are_alike_in_length(ready: Plan) -> None:
    for spec in ready.shards:
        lengths = {len(series) for series in spec.series.values()}
        assert len(lengths) <= 1
        assert all(length >= TICKS for length in lengths)


def test_events_find_their_agents() -> None:
    events = [
        {"type": "outage", "tick": 3, "duration_minutes": 60, "agents": ["gen-0002", "sun-0001"]},
        {"type": "maintenance", "tick": 0, "fleets": ["cars"], "agents": ["gen-0001"]},
        {"type": "load_step", "tick": 5, "duration_minutes": 20, "fleets": ["shops"], "factor": 2},
        {"type": "cloud_front", "tick": 7, "duration_minutes": 40, "factor": 0.5},
        {"type": "price_spike", "tick": 9, "duration_minutes": 30, "price_per_mwh": 700},
    ]
    agents = plan(world(events=events), "heuristic")
    found = [(e.type, e.first, e.stop, e.agents, e.factor) for e in agents.shards[0].effects]
    assert found == [
        ("outage", 3, 6, (11, 17), 1.0),
        ("maintenance", 0, TICKS, (7, 8, 9, 10), 1.0),
        ("load", 5, 6, tuple(range(7)), 2.0),
        ("sun", 7, 9, None, 0.5),
    ]
    assert all(spec.effects == agents.shards[0].effects for spec in agents.shards)


def test_a_spike_reaches_the_forecast_with_its_notice_and_whole_hours() -> None:
    spike = {
        "type": "price_spike",
        "tick": 10,
        "duration_minutes": 60,
        "notice_minutes": 45,
        "price_per_mwh": 700,
    }
    spec = plan(world(events=[spike]), "heuristic").operator.forecast.spec
    # Ticks 10, 11 and 12 of 20 minutes touch hours 3 and 4; 45 minutes are two whole ticks.
    assert [(s.notice_tick, s.first_hour, s.stop_hour) for s in spec.spikes] == [(8, 3, 5)]


def test_the_forecast_sees_all_load_and_all_plants(ready: Plan) -> None:
    spec = ready.operator.forecast.spec
    assert len(spec.demand_mw) == len(spec.free_supply_mw) >= TICKS // 3
    hour = np.arange(len(spec.demand_mw))
    mean_row = 3 * hour + 1.0
    # 7 shops of 20 MW, flat, and 5 homes of 1 MW on h0, whose rows count up.
    np.testing.assert_allclose(spec.demand_mw, 140 + 5 * (mean_row + 0.5))
    # 4 plants of 2 MW on columns .3 .1 .2 .3 and 5 homes of 5 kW on .1 .2 .3 .1 .2.
    np.testing.assert_allclose(
        spec.free_supply_mw,
        2 * (4 * mean_row / 1000 + 0.9) + 0.005 * (5 * mean_row / 1000 + 0.9),
    )
    assert spec.step_mw.sum() == pytest.approx(400)
    assert (spec.import_limit_mw, spec.export_limit_mw) == (5, 4)


def test_outages_can_be_switched_off() -> None:
    failing = [
        {
            "name": "gen",
            "kind": "generator",
            "count": 2,
            "parameters": {"mean_time_to_failure_hours": 5},
        }
    ]
    for switch in (True, False):
        agents = plan(world(fleets=failing, outages=switch), "heuristic")
        given_assets = agents.shards[0].roster.assets
        assert all((a["mean_time_to_failure_hours"] == 5) == switch for a in given_assets)


def test_an_island_has_no_connection() -> None:
    agents = plan(world(outside=None), "heuristic")
    connection = agents.market.outside
    assert (connection.import_limit_w, connection.export_limit_w) == (0, 0)
    assert agents.market.outside is agents.operator.outside


def test_an_unknown_policy_is_refused_before_anything_is_made() -> None:
    with pytest.raises(UsageError, match="did you mean 'random'"):
        plan(world(), "randm")
