"""Policies declared in a scenario: what is read, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from swarm.errors import UsageError
from swarm.scenario.assets import ASSETS
from swarm.scenario.load import json_schema, load_scenario, scenario_yaml
from swarm.scenario.policies import NOTHING_TO_RULE, RULES_OF, Policies
from swarm.scenario.schema import Scenario


def scenario(tmp_path: Path, kind: str, policies: object, *sets: str, **fields: Any) -> Scenario:
    fleet = {"name": "f", "kind": kind, "count": 2, "policies": policies}
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump({"name": "s", "fleets": [fleet], **fields}))
    return load_scenario(str(file), sets=sets).scenario


def refusal(tmp_path: Path, kind: str, policies: object, **fields: Any) -> str:
    with pytest.raises(UsageError) as caught:
        scenario(tmp_path, kind, policies, **fields)
    return str(caught.value)


def test_a_number_clips_and_a_mapping_says_what_happens(tmp_path: Path) -> None:
    given = {"max_charge_mw": 5, "min_price_per_mwh": {"limit": -3, "on_violation": "count"}}
    found = scenario(tmp_path, "storage", given).fleets[0].policies
    assert {name: (one.limit, one.on_violation) for name, one in found.declared.items()} == {
        "max_charge_mw": (5.0, "clip"),
        "min_price_per_mwh": (-3.0, "count"),
    }
    assert scenario(tmp_path, "storage", {}).fleets[0].policies == Policies()
    assert Policies().declared == {}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    given = {"min_state_of_charge": {"limit": 0.2, "on_violation": "refuse"}, "max_charge_mw": 1}
    first = scenario(tmp_path, "home", given)
    file = tmp_path / "again.yaml"
    file.write_text(scenario_yaml(first))
    assert load_scenario(str(file)).scenario == first
    written = yaml.safe_load(file.read_text())["fleets"][0]["policies"]
    assert set(written) == {"min_state_of_charge", "max_charge_mw"}


def test_a_limit_is_set_from_the_command_line(tmp_path: Path) -> None:
    sets = ("fleets.f.policies.max_charge_mw=2", "fleets.f.policies.max_discharge_mw.limit=3")
    found = scenario(tmp_path, "ev", {}, *sets).fleets[0].policies.declared
    assert {name: one.limit for name, one in found.items()} == {
        "max_charge_mw": 2.0,
        "max_discharge_mw": 3.0,
    }


@pytest.mark.parametrize(
    ("kind", "policies", "parts"),
    [
        (
            "solar",
            {"max_discharge_mw": 1},
            ["policies.max_discharge_mw: a solar fleet discharges nothing; rules for solar: "],
        ),
        ("generator", {"max_ramp_down_mw_per_minute": 1}, ["a generator fleet charges nothing"]),
        ("wind", {"max_emissions_tonnes_per_day": 1}, ["a wind fleet emits nothing"]),
        ("consumer", {"min_state_of_charge": 0.1}, ["a consumer fleet has no battery"]),
        ("home", {"protected_load_share": 0.1}, ["a home fleet sells no reduction of load"]),
        ("storage", {"max_charge_mw": -1}, ["max_charge_mw.limit: got -1, expected at least 0"]),
        ("storage", {"max_charge_mw": 2e9}, ["expected at most 1000000000"]),
        ("storage", {"max_state_of_charge": 1.5}, ["got 1.5, expected at most 1"]),
        ("storage", {"max_charge_mw": "5"}, ["max_charge_mw: got '5', expected a number or {limi"]),
        ("storage", {"max_charge_mw": True}, ["max_charge_mw: got true, expected a number"]),
        ("storage", {"max_charge_mw": {"limit": "5"}}, ["limit: got '5', expected a number"]),
        ("storage", {"max_charge_mw": {"on_violation": "clip"}}, ["limit: missing"]),
        ("storage", {"max_charge_mw": float("nan")}, ["got nan, expected a finite number"]),
        (
            "storage",
            {"max_charge_mw": {"limit": 5, "on_violation": "clap"}},
            ["on_violation: got 'clap', expected one of 'clip', 'refuse' or 'count'"],
        ),
        (
            "storage",
            {"max_charge_mw": {"limit": 5, "on": 1}},
            ["on: unknown field", "on_violation"],
        ),
        ("storage", {"max_chrge_mw": 5}, ["max_chrge_mw: unknown field", "'max_charge_mw'?"]),
        (
            "storage",
            {"min_state_of_charge": 0.8, "max_state_of_charge": 0.2},
            ["policies: min_state_of_charge 0.8 is above max_state_of_charge 0.2"],
        ),
        (
            "storage",
            {"min_price_per_mwh": 8, "max_price_per_mwh": 2},
            ["min_price_per_mwh 8 is above max_price_per_mwh 2"],
        ),
        (
            "wind",
            {"min_quantity_mw": 8, "max_quantity_mw": 2},
            ["min_quantity_mw 8 is above max_quantity_mw 2"],
        ),
        (
            "wind",
            {"min_price_per_mwh": 3001},
            ["min_price_per_mwh: 3001 is above the market's price_cap 3000"],
        ),
        (
            "wind",
            {"max_price_per_mwh": -501},
            ["max_price_per_mwh: -501 is below market.price_floor -500"],
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, kind: str, policies: object, parts: list[str]
) -> None:
    told = refusal(tmp_path, kind, policies)
    for part in parts:
        assert part in told


def test_prices_fit_the_lowest_cap_of_the_run(tmp_path: Path) -> None:
    event = {"type": "policy_change", "tick": 5, "price_cap": 300}
    assert "300" in refusal(tmp_path, "wind", {"min_price_per_mwh": 400}, events=[event])
    scenario(tmp_path, "wind", {"min_price_per_mwh": 300}, events=[event])


def test_every_rule_is_for_some_kind_and_described() -> None:
    assert set(RULES_OF) == set(ASSETS)
    rules = set(Policies.model_fields)
    assert set().union(*RULES_OF.values()) == rules
    for kind, own in RULES_OF.items():
        assert len(set(own)) == len(own), kind
        assert rules - set(own) <= set(NOTHING_TO_RULE)
    assert all(field.description for field in Policies.model_fields.values())


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (5, True),
        ({"limit": 5}, True),
        ({"limit": 5, "on_violation": "refuse"}, True),
        (None, True),
        (-1, False),
        ("5", False),
        ({"on_violation": "clip"}, False),
        ({"limit": 5, "on_violation": "clap"}, False),
    ],
)
def test_the_json_schema_takes_what_the_loader_takes(value: object, good: bool) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    fleet = {"name": "f", "kind": "ev", "count": 1, "policies": {"max_charge_mw": value}}
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid({"name": "s", "fleets": [fleet]}) is good
