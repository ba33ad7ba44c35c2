"""Loading: finding by name, validation with file lines, `--set`, seed, ticks, the round trip."""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.scenario import load
from swarm.scenario.load import Loaded, load_scenario, scenario_yaml
from swarm.scenario.schema import Scenario
from swarm.scenario.yaml_reader import parse_document

BASE = """\
name: base
ticks: 288
market: {price_cap: 3000}
outside: {import_limit_mw: 10, export_limit_mw: 4}
fleets:
- name: homes
  kind: home
  count: 30
  parameters:
    energy_mwh: {uniform: [0.01, 0.02]}
- name: cars
  kind: ev
  count: 10
- name: plants
  kind: generator
  agents:
  - {name: coal, capacity_mw: 300, min_output_mw: 100}
  - {name: gas.1}
events:
- {type: price_spike, at: "18:00", price_per_mwh: 2500}
- {type: outage, tick: 10, agents: [homes-0030, gas.1]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "s.yaml"


def loaded(file: Path, text: str = BASE, **changes: Any) -> Loaded:
    file.write_text(text, encoding="utf-8")
    return load_scenario(str(file), **changes)


def refusal(file: Path, text: str = BASE, **changes: Any) -> str:
    """The message, with the file called s.yaml."""
    with pytest.raises(UsageError) as caught:
        loaded(file, text, **changes)
    return str(caught.value).replace(str(file), "s.yaml")


def test_a_valid_file(file: Path) -> None:
    result = loaded(file)
    assert result.path == file
    assert result.notes == ()
    assert result.scenario.market.price_cap == 3000
    assert [fleet.name for fleet in result.scenario.fleets] == ["homes", "cars", "plants"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "price_cap",
            "price_cpa",
            "s.yaml:3: market.price_cpa: unknown field (did you mean 'price_cap'?)",
        ),
        (
            "ticks: 288",
            "tiks: 288",
            "s.yaml:2: tiks: unknown field (did you mean 'ticks'?)",
        ),
        (
            "price_cap: 3000",
            "price_floor: abc",
            "s.yaml:3: market.price_floor: got 'abc', expected a number",
        ),
        (
            "price_cap: 3000",
            "price_cap: '3000'",
            "s.yaml:3: market.price_cap: got '3000', expected a number, without quotes",
        ),
        ("price_cap: 3000", "price_cap: true", "market.price_cap: got true, expected a number"),
        ("price_cap: 3000", "price_cap: .nan", "got nan, expected a finite number"),
        ("price_cap: 3000", "price_cap: .inf", "got inf, expected a finite number"),
        (
            "price_cap: 3000",
            "price_floor: 4000",
            "s.yaml:3: market: price_floor 4000 is not below price_cap 3000",
        ),
        ("ticks: 288", "ticks: 0", "s.yaml:2: ticks: got 0, expected at least 1"),
        ("ticks: 288", "ticks: 2.5", "s.yaml:2: ticks: got 2.5, expected a whole number"),
        ("ticks: 288", "ticks: 99999999", "ticks: got 99999999, expected at most 10000000"),
        ("ticks: 288", "outages: yes", "s.yaml:2: outages: got 'yes', expected true or false"),
        ("ticks: 288", "start: 1750204800", "s.yaml:2: start: got 1750204800, expected an ISO"),
        ("ticks: 288", "start: 2025-06-18", "s.yaml:2: start: got '2025-06-18', expected an ISO"),
        ("ticks: 288", "name2: x", "s.yaml:2: name2: unknown field (did you mean 'name'?)"),
        ("name: base", "description: x", "s.yaml:1: name: missing; add it"),
        ("name: base", "name: 5", "s.yaml:1: name: got 5, expected text"),
        ("name: base", "name: My Base", "name: got 'My Base', expected text that matches"),
        ("kind: ev", "kind: evv", "s.yaml:12: fleets[1].kind: got 'evv', expected one of"),
        ("kind: ev", "kind: evv", "(did you mean 'ev'?)"),
        ("count: 10", "cuont: 10", "s.yaml:13: fleets[1].cuont: unknown field (did you mean"),
        ("count: 10", "count: -1", "s.yaml:13: fleets[1].count: got -1, expected at least 0"),
        ("  count: 10\n", "", "s.yaml:11: fleets[1]: give 'count' (drawn) or 'agents'"),
        ("name: cars", "name: homes", "s.yaml:11: fleets[1].name: duplicate fleet name 'homes'"),
        ("{price_cap: 3000}", "3000", "s.yaml:3: market: got 3000, expected a mapping"),
        (
            "price_spike",
            "price_spik",
            "s.yaml:20: events[0].type: unknown event type 'price_spik' (did you mean "
            "'price_spike'?)",
        ),
        ("type: price_spike, ", "", "s.yaml:20: events[0]: 'type' is missing (valid: carbon_"),
        (
            "price_per_mwh: 2500",
            "price: 2500",
            "s.yaml:20: events[0].price: unknown field (did you mean 'price_per_mwh'?)",
        ),
        (", price_per_mwh: 2500", "", "s.yaml:20: events[0].price_per_mwh: missing; add it"),
        ("18:00", "25:00", "s.yaml:20: events[0].at: got '25:00', expected text that matches"),
        ('at: "18:00"', "tick: 288", "s.yaml:20: events[0]: price_spike starts at tick 288, outs"),
        (
            'at: "18:00"',
            'at: "18:00", day: 999999999999999',
            "events[0].day: got 999999999999999, expected at most 100000",
        ),
        ('at: "18:00"', 'tick: 1, at: "18:00"', "events[0]: give exactly one of 'tick' and 'at'"),
    ],
)
def test_schema_problems_name_line_field_and_remedy(
    file: Path, old: str, new: str, message: str
) -> None:
    assert old in BASE
    assert message in refusal(file, BASE.replace(old, new, 1))


def test_all_problems_are_told_up_to_ten(file: Path) -> None:
    two = BASE.replace("price_cap", "price_cpa").replace("count: 10", "count: x")
    assert len(refusal(file, two).splitlines()) == 2
    many = BASE + "".join(f"unknown{index}: 1\n" for index in range(14))
    lines = refusal(file, many).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "... and 4 more"


def test_builtin_scenarios_are_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("zebra", "price_spike"):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\n")
    (tmp_path / "notes.txt").write_text("not a scenario")
    monkeypatch.setattr(load, "builtin_folder", lambda: tmp_path)
    assert list(load.available()) == ["price_spike", "zebra"]
    assert load_scenario("zebra").path == tmp_path / "zebra.yaml"
    with pytest.raises(UsageError) as caught:
        load_scenario("prize_spike")
    for part in ("'prize_spike'", "did you mean 'price_spike'?", "price_spike, zebra", "./"):
        assert part in str(caught.value)
    with pytest.raises(UsageError, match=r"unknown scenario 'qqq'; built-in: price_spike, zebra"):
        load_scenario("qqq")


def test_builtin_folder_prefers_the_package_and_ignores_the_cwd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "swarm" / "scenario"
    (tmp_path / "site" / "scenarios").mkdir(parents=True)
    (tmp_path / "elsewhere" / "scenarios").mkdir(parents=True)
    monkeypatch.setattr(load, "__file__", str(package / "load.py"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load.builtin_folder() == tmp_path / "site" / "scenarios"
    (package / "builtin").mkdir(parents=True)
    assert load.builtin_folder() == package / "builtin"


def test_every_builtin_scenario_is_valid_and_named_as_its_file() -> None:
    if not load.available():
        pytest.skip("no built-in scenarios beside the package")
    for name in load.available():
        assert load_scenario(name).scenario.name == name


@pytest.mark.parametrize("path", ["sub/x", "x.yaml", "x.yml", "./x"])
def test_a_path_is_not_a_name(path: str) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_scenario(path)


def test_seed_and_ticks_override(file: Path) -> None:
    scenario = loaded(file, seed=7, ticks=300).scenario
    assert (scenario.seed, scenario.ticks, len(scenario.events)) == (7, 300, 2)


def test_a_shorter_run_leaves_out_later_events_and_says_so(file: Path) -> None:
    result = loaded(file, ticks=216)  # 18:00 is tick 216, the first after the end
    assert [event.type for event in result.scenario.events] == ["outage"]
    (note,) = result.notes
    assert "events[0] (price_spike) is left out" in note
    assert "tick 216" in note
    assert loaded(file, ticks=217).notes == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ticks": 0}, "--ticks 0: a run has at least 1 tick"),
        ({"ticks": -5}, "--ticks -5: a run has at least 1 tick"),
        ({"ticks": 10**8}, "--ticks 100000000: ticks: got 100000000, expected at most"),
        ({"seed": -1}, "--seed -1: seed: got -1, expected at least 0"),
        ({"seed": 2**63}, "--seed 9223372036854775808: seed: got 9223372036854775808, expected"),
        ({"replicate": True}, "--replicate repeats explicit lists for --agents"),
    ],
)
def test_arguments_out_of_range(file: Path, changes: dict[str, Any], message: str) -> None:
    assert refusal(file, **changes).startswith(message)


def test_events_outside_the_file_s_own_run_are_an_error_even_in_a_shorter_one(file: Path) -> None:
    text = BASE.replace('at: "18:00"', "tick: 500")
    assert "s.yaml:20: events[0]: price_spike starts at tick 500" in refusal(file, text, ticks=5)


def test_a_price_spike_on_an_island_is_told(file: Path) -> None:
    island = BASE.replace("outside: {import_limit_mw: 10, export_limit_mw: 4}\n", "")
    (note,) = loaded(file, island).notes
    assert "events[0] (price_spike) has no effect" in note


ODD = st.sampled_from(
    [None, True, -1, 0, 2.5, 1e308, float("nan"), "", "x", "18:00"]
) | st.sampled_from(
    [[], [None], {}, {"x": 1}, {"uniform": [0, 1]}, {"choice": [1, "a"]}, {"type": "outage"}]
)


def paths_in(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all nodes but the root."""
    items: list[Any] = list(node.items()) if isinstance(node, dict) else []
    if isinstance(node, list):
        items = list(enumerate(node))
    return [p for key, item in items for p in ((*path, key), *paths_in(item, (*path, key)))]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_value_anywhere_gives_a_scenario_or_problems_in_words(data: st.DataObject) -> None:
    raw = parse_document(BASE.encode(), "base").data
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(paths_in(raw)))
        node: Any = raw
        for part in parents:
            node = node[part]
        key = last if isinstance(node, list) or data.draw(st.booleans()) else "[key]"
        node[key] = deepcopy(data.draw(ODD))  # drawn values are shared between examples
    scenario, problems = load.validate(raw)
    assert (scenario is None) <= bool(problems)
    for problem in problems:
        assert "Input should" not in str(problem)  # pydantic's words, not ours
        assert "Value error" not in str(problem)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["1e3", "010", "0o17", "0x1F", "yes", "true", "null", "~", "18:00", "<<", "a: b", "# x", "1_0"]
)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,20}\Z")


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    low, high = sorted([draw(st.floats(0, 1e6)), draw(st.floats(0, 1e6))])
    minutes = draw(st.integers(-12 * 60, 12 * 60))
    day = draw(st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)))
    start = day.replace(second=0, microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    price = draw(st.floats(-500, 3000))
    return Scenario.model_validate(
        {
            "name": "x",
            "description": draw(TEXT),
            "seed": draw(st.integers(0, 2**63 - 1)),
            "start": start,
            "outside": draw(st.none() | st.just({"price_per_mwh": price})),
            "data": draw(
                st.none()
                | st.builds(
                    lambda time, columns: {"time": time, "columns": columns},
                    TEXT,
                    st.dictionaries(WORDS, TEXT, max_size=3),
                )
            ),
            "fleets": [
                {
                    "name": "f",
                    "kind": "storage",
                    "count": draw(st.integers(0, 99)),
                    "parameters": {
                        "energy_mwh": {"uniform": [low, high]},
                        "power_mw": high,
                        "charge_efficiency": None,
                    },
                },
                {
                    "name": "wind",
                    "kind": "wind",
                    "agents": [{"name": name} for name in draw(st.sets(WORDS, min_size=1))],
                },
            ],
            "events": [
                {"type": "price_spike", "at": "18:00", "price_per_mwh": price},
                {"type": "carbon_price", "tick": 3, "price_per_tonne": abs(draw(NUMBER))},
            ]
            if (start.hour, start.minute) == (0, 0)
            else [],
        }
    )


@settings(max_examples=100, deadline=None)
@given(scenarios())
def test_the_resolved_scenario_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, scenario: Scenario
) -> None:
    text = scenario_yaml(scenario)
    file = tmp_path_factory.getbasetemp() / "round.yaml"
    file.write_text(text, encoding="utf-8", newline="")
    again = load_scenario(str(file)).scenario
    assert again == scenario
    assert again.start.utcoffset() == scenario.start.utcoffset()
    assert scenario_yaml(again) == text


def test_round_trip_of_a_loaded_and_scaled_scenario(file: Path) -> None:
    scenario = loaded(file, agents=5, replicate=True, ticks=100).scenario
    file.write_text(scenario_yaml(scenario), encoding="utf-8")
    assert load_scenario(str(file)).scenario == scenario
