"""What the schema cannot see: parameters by kind, draws, agent names, targets, prices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from swarm.errors import UsageError
from swarm.scenario.check import AgentIds
from swarm.scenario.draws import parse_draw, reached
from swarm.scenario.load import load_scenario
from swarm.scenario.schema import Choice, Normal, Scenario, Uniform


def scenario(tmp_path: Path, **fields: Any) -> Scenario:
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump({"name": "s", **fields}))
    return load_scenario(str(file)).scenario


def refusal(tmp_path: Path, **fields: Any) -> str:
    with pytest.raises(UsageError) as caught:
        scenario(tmp_path, **fields)
    return str(caught.value)


def drawn(kind: str, **parameters: Any) -> dict[str, Any]:
    return {"name": "f", "kind": kind, "count": 2, "parameters": parameters}


def listed(*agents: dict[str, Any], kind: str = "generator", **parameters: Any) -> dict[str, Any]:
    return {"name": "f", "kind": kind, "agents": list(agents), "parameters": parameters}


@pytest.mark.parametrize(
    ("kind", "parameters", "parts"),
    [
        ("home", {"enrgy_mwh": 1}, ["enrgy_mwh: unknown parameter of home", "'energy_mwh'"]),
        ("storage", {"power_mw": -1}, ["power_mw: got -1, expected at least 0"]),
        ("storage", {"power_mw": float("nan")}, ["got nan, expected a finite number"]),
        ("storage", {"power_mw": float("inf")}, ["got inf, expected a finite number"]),
        ("storage", {"power_mw": "1"}, ["got '1', expected a number"]),
        ("storage", {"power_mw": True}, ["got true, expected a number"]),
        ("storage", {"round_trip_efficiency": 1.1}, ["got 1.1, expected at most 1"]),
        (
            "storage",
            {"round_trip_efficiency": {"uniform": [0.8, 1.2]}},
            ["round_trip_efficiency: {uniform: [0.8, 1.2]}", "got 1.2, expected at most 1"],
        ),
        ("storage", {"power_mw": {"uniform": [-1, 2]}}, ["got -1.0, expected at least 0"]),
        ("storage", {"power_mw": {"normal": [2, 1]}}, ["got -1.0, expected at least 0"]),
        ("storage", {"power_mw": {"choice": [2, -3, 4]}}, ["got -3.0, expected at least 0"]),
        ("storage", {"power_mw": {"choice": [2, "x"]}}, ["got 'x', expected a number"]),
        ("storage", {"power_mw": {"uniform": [0, float("nan")]}}, ["uniform[1]: got nan"]),
        ("storage", {"power_mw": {"uniform": [2, 1]}}, ["uniform: 2 is above 1"]),
        ("storage", {"power_mw": {"uniform": [2]}}, ["expected uniform: [lowest, highest]"]),
        ("storage", {"power_mw": {"normal": [2]}}, ["normal: [mean, standard deviation]"]),
        ("storage", {"power_mw": {"unifrom": [1, 2]}}, ["unknown draw 'unifrom'", "'uniform'"]),
        ("storage", {"power_mw": {"uniform": [1, 2], "x": 1}}, ["one of uniform, normal and cho"]),
        ("storage", {"power_mw": {"choice": []}}, ["choice: has 0 items, expected at least 1"]),
        ("storage", {"power_mw": [1, 2]}, ["power_mw: got [1, 2], expected a number"]),
        ("ev", {"vehicle_to_grid": {"uniform": [0, 1]}}, ["draws fractions", "choice"]),
        ("ev", {"vehicle_to_grid": 1}, ["vehicle_to_grid: got 1, expected true or false"]),
        ("solar", {"site": {"uniform": [0, 3]}}, ["site", "draws fractions"]),
        ("solar", {"offer_price_per_mwh": 5}, ["offer_price_per_mwh 5 must be at or below zero"]),
        (
            "generator",
            {"min_output_mw": 300},
            ["min_output_mw 300 is above capacity_mw 200"],
        ),
        (
            "generator",
            {"min_output_mw": {"uniform": [0, 50]}, "capacity_mw": {"uniform": [40, 90]}},
            ["min_output_mw 50 is above capacity_mw 40", "drawn values can reach this"],
        ),
        (
            "ev",  # equal only where both are at their second value
            {"arrival_hour": {"choice": [8, 10]}, "departure_hour": {"choice": [6, 10]}},
            ["arrival_hour equals departure_hour", "drawn values can reach this"],
        ),
        (
            "generator",
            {"cost_steps": [{"up_to": 200, "cost_per_mwh": 3}]},
            ["cost_steps[0].up_to: unknown field", "'up_to_mw'"],
        ),
    ],
)
def test_parameters_are_held_against_their_kind(
    tmp_path: Path, kind: str, parameters: dict[str, Any], parts: list[str]
) -> None:
    message = refusal(tmp_path, fleets=[drawn(kind, **parameters)])
    assert "fleets[0].parameters" in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("storage", {"round_trip_efficiency": {"uniform": [0.8, 1.0]}, "charge_efficiency": None}),
        ("storage", {"power_mw": {"normal": [3.0, 1.0]}}),
        ("ev", {"vehicle_to_grid": {"choice": [True, False]}}),
        ("solar", {"site": {"choice": [0, 1, 2]}, "profile": {"choice": ["a", "b"]}}),
        (
            "generator",
            {"min_output_mw": {"uniform": [0, 40]}, "capacity_mw": {"uniform": [40, 9e9]}},
        ),
        ("generator", {"capacity_mw": 9, "cost_steps": [{"up_to_mw": 9, "cost_per_mwh": 3}]}),
        ("generator", {"ramp_mw_per_minute": {"uniform": [1, 2]}}),
    ],
)
def test_good_parameters_pass(tmp_path: Path, kind: str, parameters: dict[str, Any]) -> None:
    assert scenario(tmp_path, fleets=[drawn(kind, **parameters)]).fleets[0].parameters == parameters


def test_an_empty_fleet_may_carry_parameters_of_agents_it_had(tmp_path: Path) -> None:
    half = [{"up_to_mw": 9, "cost_per_mwh": 3}]  # fits the capacity of agents that are not there
    empty = {**drawn("generator", cost_steps=half), "count": 0}
    assert scenario(tmp_path, fleets=[empty]).fleets[0].count == 0


@pytest.mark.parametrize(
    ("agent", "parts"),
    [
        ({"capacity_mw": 5}, ["fleets[0].agents[0]: an agent needs a 'name'"]),
        ({"name": 5}, ["fleets[0].agents[0].name: got 5, expected text"]),
        ({"name": "a b"}, ["agents[0].name: got 'a b', expected text that matches"]),
        ({"name": "a", "capcity_mw": 5}, ["agents[0].capcity_mw: unknown", "'capacity_mw'"]),
        ({"name": "a", "capacity_mw": -5}, ["agents[0].capacity_mw: got -5"]),
        ({"name": "a", "capacity_mw": {"uniform": [-5, 5]}}, ["agents[0].capacity_mw", "-5"]),
        ({"name": "a", "capacity_mw": 5}, ["agents[0]: min_output_mw 10 is above capacity_mw 5"]),
    ],
)
def test_explicit_agents_are_checked_with_the_fleet_s_parameters(
    tmp_path: Path, agent: dict[str, Any], parts: list[str]
) -> None:
    message = refusal(tmp_path, fleets=[listed(agent, min_output_mw=10)])
    for part in parts:
        assert part in message


def test_parameters_of_an_explicit_fleet_need_not_fit_by_themselves(tmp_path: Path) -> None:
    agent = {"name": "a", "capacity_mw": {"uniform": [400, 500]}}
    assert scenario(tmp_path, fleets=[listed(agent, min_output_mw=300)]).fleets[0].agents == (
        agent,
    )


def test_agent_names_are_unique_over_all_fleets(tmp_path: Path) -> None:
    one = listed({"name": "a"}, {"name": "b"}, {"name": "a"})
    assert "agents[2].name: duplicate agent name 'a'" in refusal(tmp_path, fleets=[one])
    other = {**listed({"name": "b"}), "name": "g"}
    message = refusal(tmp_path, fleets=[listed({"name": "b"}), other])
    assert "fleets[1].agents[0].name: duplicate agent name 'b', also in fleet 'f'" in message
    homes = {"name": "homes", "kind": "home", "count": 3}
    clash = refusal(tmp_path, fleets=[homes, listed({"name": "homes-0003"})])
    assert "duplicate agent name 'homes-0003': a drawn fleet generates it" in clash
    free = listed({"name": "homes-0004"}, {"name": "homes-3"}, {"name": "homes-0000"})
    assert scenario(tmp_path, fleets=[homes, free])


def test_drawn_ids_are_known_without_making_them(tmp_path: Path) -> None:
    fleets = [{"name": "a-b", "kind": "wind", "count": 10_001}]
    ids = AgentIds(scenario(tmp_path, fleets=fleets))
    made = {f"a-b-{number:04d}" for number in range(1, 10_002)}  # the convention, written out
    assert all(name in ids for name in made)
    others = ["a-b-0000", "a-b-10002", "a-b-00001", "a-b-1", "a-0001", "b-0001", "a-b", ""]
    assert not any(name in ids for name in others)


@pytest.mark.parametrize(
    ("event", "parts"),
    [
        ({"agents": ["homes-0004"]}, ["agents[0]: no agent 'homes-0004'", "homes-0003"]),
        ({"agents": ["caol"]}, ["agents[0]: no agent 'caol' (did you mean 'coal'?)"]),
        ({"agents": ["coal"], "fleets": ["hoems"]}, ["fleets[0]: no fleet 'hoems'", "'homes'"]),
        ({}, ["name 'agents' or 'fleets'"]),
    ],
)
def test_events_name_agents_that_exist(
    tmp_path: Path, event: dict[str, Any], parts: list[str]
) -> None:
    fields: dict[str, Any] = {
        "fleets": [{"name": "homes", "kind": "home", "count": 3}, listed({"name": "coal"})],
    }
    good = {"type": "outage", "tick": 0, "agents": ["homes-0003", "coal"], "fleets": ["homes"]}
    assert scenario(tmp_path, **fields, events=[good])
    message = refusal(tmp_path, **fields, events=[{"type": "outage", "tick": 0, **event}])
    for part in ["events[0]", *parts]:
        assert part in message


def test_targets_that_data_brings_are_left_to_it(tmp_path: Path) -> None:
    event = {"type": "outage", "tick": 0, "agents": ["101_CT_1"]}
    assert scenario(tmp_path, data={"format": "rts_gmlc"}, events=[event])
    assert "no agent '101_CT_1'" in refusal(tmp_path, data={"format": "table"}, events=[event])


@pytest.mark.parametrize(
    ("market", "outside", "event", "parts"),
    [
        ({"price_cap": 70}, {}, None, ["outside.price_per_mwh", "80", "price_cap 70"]),
        (
            {"price_cap": 85},
            {"import_premium_per_mwh": 6},
            None,
            ["outside price 80 plus import_premium_per_mwh 6", "price_cap 85"],
        ),
        ({"price_floor": 81}, {}, None, ["outside price 80", "price_floor 81"]),
        (
            {},
            {},
            {"type": "price_spike", "price_per_mwh": 3001},
            ["events[0].price_per_mwh", "3001", "price_cap 3000"],
        ),
        (
            {},
            {},
            {"type": "price_spike", "price_per_mwh": -501},
            ["events[0].price_per_mwh", "-501", "price_floor -500"],
        ),
        (
            {},
            {},
            {"type": "policy_change", "price_cap": 4000},
            ["events[0].price_cap: 4000 is above market.price_cap 3000"],
        ),
        (
            {},
            {},
            {"type": "policy_change", "price_cap": -500},
            ["events[0].price_cap: -500 is not above market.price_floor -500"],
        ),
    ],
)
def test_outside_prices_stay_inside_the_market_s_bounds(
    tmp_path: Path,
    market: dict[str, Any],
    outside: dict[str, Any],
    event: dict[str, Any] | None,
    parts: list[str],
) -> None:
    events = [{"tick": 0, **event}] if event else []
    message = refusal(tmp_path, market=market, outside=outside, events=events)
    for part in parts:
        assert part in message


def test_prices_at_the_bounds_pass(tmp_path: Path) -> None:
    spikes = [{"type": "price_spike", "tick": 0, "price_per_mwh": p} for p in (3000, -500)]
    cap = {"type": "policy_change", "tick": 0, "price_cap": 3000}
    assert scenario(tmp_path, outside={"price_per_mwh": 3000}, events=[*spikes, cap])


def test_parse_draw() -> None:
    assert parse_draw({"uniform": [1, 2]}) == Uniform(uniform=(1.0, 2.0))
    assert parse_draw({"normal": [1, 0]}) == Normal(normal=(1.0, 0.0))
    assert parse_draw({"choice": [1, "a", True]}) == Choice(choice=(1.0, "a", True))
    for plain in (1, 2.5, "a", True, None, [1, 2]):
        assert parse_draw(plain) is plain
    assert reached(Normal(normal=(10.0, 2.0))) == (4.0, 16.0)
