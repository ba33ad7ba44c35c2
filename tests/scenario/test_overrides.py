"""`--set path=value`: where paths lead, and whose fault a problem is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swarm.errors import UsageError
from swarm.scenario.load import load_scenario
from swarm.scenario.schema import Scenario

TEXT = """\
name: base
ticks: 288
market: {price_cap: 3000}
fleets:
- {name: homes, kind: home, count: 30}
- {name: plants, kind: generator, agents: [{name: coal}, {name: gas}]}
condensers:
- {name: c1, rated_mva: 50, inertia_s: 3}
events:
- {type: price_spike, at: "18:00", price_per_mwh: 2500}
- {type: outage, tick: 10, agents: [homes-0030]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(TEXT)
    return path


def with_sets(file: Path, *sets: str) -> Scenario:
    return load_scenario(str(file), sets=sets).scenario


def refusal(file: Path, *sets: str) -> str:
    with pytest.raises(UsageError) as caught:
        with_sets(file, *sets)
    return str(caught.value).replace(str(file), "s.yaml")


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("market.price_cap=20000", "market.price_cap", 20000.0),
        ("outside.import_limit_mw=5", "outside.import_limit_mw", 5.0),
        ("world.sites=3", "world.sites", 3),
        ("fleets.0.count=40", "fleets.0.count", 40),
        ("fleets.homes.count=40", "fleets.0.count", 40),
        ("fleets.homes.parameters.energy_mwh=0.02", "fleets.0.parameters.energy_mwh", 0.02),
        (
            "fleets.homes.parameters.energy_mwh.uniform=[0.01, 0.02]",
            "fleets.0.parameters.energy_mwh.uniform",
            [0.01, 0.02],
        ),
        ("fleets.plants.agents.gas.capacity_mw=7", "fleets.1.agents.1.capacity_mw", 7),
        ("condensers.c1.inertia_s=4", "condensers.0.inertia_s", 4.0),
        ("events.0.price_per_mwh=100", "events.0.price_per_mwh", 100.0),
        ("data.columns.solar.v1=a=b", "data.columns.solar.v1", "a=b"),
        ("outside=", "outside", None),
        ("description=18:00", "description", "18:00"),
    ],
)
def test_a_set_reaches_its_field(file: Path, text: str, field: str, value: object) -> None:
    node: Any = with_sets(file, text)
    parts = field.split(".")
    if field.startswith("data.columns."):
        parts = ["data", "columns", field.removeprefix("data.columns.")]
    for part in parts:
        if isinstance(node, tuple):
            node = node[int(part)]
        else:
            node = node[part] if isinstance(node, dict) else getattr(node, part)
    assert node == value
    assert type(node) is type(value)


def test_later_sets_win(file: Path) -> None:
    assert with_sets(file, "ticks=300", "ticks=310").ticks == 310
    assert "--set ticks=x" in refusal(file, "ticks=300", "ticks=x")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("market.price_cap", ["expected path=value"]),
        ("=3", ["expected path=value"]),
        ("a..b=3", ["expected path=value"]),
        ("market.price_cpa=1", ["no field 'price_cpa' of 'market'", "did you mean 'price_cap'?"]),
        ("makret.price_cap=1", ["no field 'makret'", "did you mean 'market'?"]),
        ("events.0.price=1", ["no field 'price' of 'events.0'", "'price_per_mwh'"]),
        ("fleets.hmes.count=1", ["no 'hmes' in 'fleets'", "did you mean 'homes'?"]),
        ("fleets.2.count=1", ["'fleets' has 2 items"]),
        ("fleets.-1.count=1", ["no '-1' in 'fleets'"]),
        ("fleets.homes.agents.0.name=x", ["'agents' has no items"]),
        ("site.latitude.x=3", ["'latitude' is a single value"]),
        ("ticks.x=3", ["'ticks' is 288; it has no fields"]),
        ("market.price_cap=[1", ["value:1:3", "close the bracket"]),
        ("market.price_cap=*x", ["alias"]),
        ("market.price_cap=abc", ["market.price_cap: got 'abc', expected a number"]),
        ("market={price_cpa: 1}", ["market.price_cpa: unknown field", "'price_cap'"]),
        ("market.price_floor=3000", ["market: price_floor 3000 is not below price_cap 3000"]),
        ("market.price_cap=100", ["events[0].price_per_mwh", "2500", "100"]),
        ("fleets.homes.count=5", ["events[1].agents[0]: no agent 'homes-0030'"]),
        ("fleets.homes.parameters.power_mw=-1", ["fleets[0].parameters.power_mw: got -1"]),
        ("ticks=100", ["events[0]: price_spike starts at tick 216"]),
    ],
)
def test_a_bad_set_is_named_with_its_text(file: Path, text: str, parts: list[str]) -> None:
    message = refusal(file, text)
    assert message.startswith(f"--set {text}: ")
    assert "s.yaml" not in message
    for part in parts:
        assert part in message


def test_a_problem_of_the_file_keeps_its_line(file: Path) -> None:
    file.write_text(TEXT.replace("price_cap: 3000", "price_cap: abc"))
    message = refusal(file, "market.price_floor=x", "ticks=300")
    assert sorted(message.splitlines()) == [
        "--set market.price_floor=x: market.price_floor: got 'x', expected a number",
        "s.yaml:3: market.price_cap: got 'abc', expected a number",
    ]


def test_a_set_beside_a_problem_of_the_file_is_not_blamed(file: Path) -> None:
    file.write_text(TEXT.replace("price_cap: 3000", "price_cap: 5, price_floor: 9"))
    message = refusal(file, "market.mechanism=pay_as_bid")
    assert message == "s.yaml:3: market: price_floor 9 is not below price_cap 5"


def test_a_set_can_mend_the_file(file: Path) -> None:
    file.write_text(TEXT.replace("price_cap: 3000", "price_cap: abc"))
    assert with_sets(file, "market.price_cap=2600").market.price_cap == 2600


def test_the_wrong_type_on_the_way_is_told(file: Path) -> None:
    file.write_text(TEXT.replace("{price_cap: 3000}", "5"))
    assert refusal(file, "market.price_cap=1").endswith("'market' is 5; it has no fields")
