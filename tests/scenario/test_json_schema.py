"""The JSON Schema, held against an independent validator."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from swarm.scenario.assets import ASSETS
from swarm.scenario.load import json_schema

jsonschema = pytest.importorskip("jsonschema")

GOOD: dict[str, Any] = {
    "name": "s",
    "market": {"price_cap": 100},
    "fleets": [
        {"name": "h", "kind": "home", "count": 2, "parameters": {"load_mw": {"uniform": [0, 1]}}},
        {"name": "g", "kind": "generator", "agents": [{"name": "a", "capacity_mw": 5}]},
        {"name": "w", "kind": "wind", "count": 1, "parameters": {"site": {"choice": [0, 1]}}},
    ],
    "events": [{"type": "price_spike", "at": "18:00", "price_per_mwh": 5}],
}


def accepts(data: object) -> bool:
    return bool(jsonschema.Draft202012Validator(json_schema()).is_valid(data))


def test_it_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert accepts(GOOD)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["market", "price_cpa"], 1),
        (["fleets", 0, "kind"], "hmoe"),
        (["fleets", 0, "parameters", "capacity_mw"], 5),  # a generator's, not a home's
        (["fleets", 0, "parameters", "load_mw"], -1),
        (["fleets", 0, "parameters", "load_mw"], {"unifrom": [0, 1]}),
        (["fleets", 0, "parameters", "load_mw"], {"uniform": [0]}),
        (["fleets", 1, "agents", 0], {"capacity_mw": 5}),  # no name
        (["fleets", 1, "agents", 0, "energy_mwh"], 5),
        (["events", 0, "type"], "price_spik"),
        (["ticks"], 0),
    ],
)
def test_it_refuses_what_the_loader_refuses(path: list[str | int], value: object) -> None:
    data = copy.deepcopy(GOOD)
    node: Any = data
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    assert not accepts(data)


def test_every_parameter_of_every_kind_is_described() -> None:
    definitions = json_schema()["$defs"]
    for model in ASSETS.values():
        described = definitions[f"{model.__name__}Parameters"]["properties"]
        assert set(described) == set(model.model_fields)
        assert all(field["description"] for field in described.values())
        assert definitions[f"{model.__name__}Agent"]["required"] == ["name"]
