"""`--agents N`: the mix kept, limits scaled alike, explicit lists repeated only when asked."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.scenario.load import Loaded, load_scenario
from swarm.scenario.scale import agents_in, largest_remainder

DRAWN = """\
name: base
outside: {import_limit_mw: 10, export_limit_mw: 4}
fleets:
- {name: homes, kind: home, count: 30}
- {name: cars, kind: ev, count: 10}
events:
- {type: outage, tick: 1, agents: [homes-0030, cars-0001]}
- {type: outage, tick: 2, agents: [homes-0030]}
- {type: outage, tick: 3, agents: [homes-0030], fleets: [cars]}
"""
LISTED = """\
name: base
fleets:
- {name: homes, kind: home, count: 2}
- {name: plants, kind: generator, agents: [{name: coal, capacity_mw: 300}, {name: gas}]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "s.yaml"


def scaled(file: Path, text: str, agents: int, **changes: Any) -> Loaded:
    file.write_text(text)
    return load_scenario(str(file), agents=agents, **changes)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8).filter(any), st.integers(0, 5000))
def test_largest_remainder_keeps_the_quota(counts: list[int], total: int) -> None:
    result = largest_remainder(counts, total)
    quotas = [Fraction(count * total, sum(counts)) for count in counts]
    assert sum(result) == total
    for given_count, quota in zip(result, quotas, strict=True):
        assert floor(quota) <= given_count <= ceil(quota)


@pytest.mark.parametrize(
    ("counts", "total", "expected"),
    [
        ([3, 3, 3], 10, [4, 3, 3]),  # ties by order
        ([1, 1], 1, [1, 0]),
        # Hamilton's method on a classic example: quotas 7.2, 5.2, 2.6 of 15
        ([144, 104, 52], 15, [7, 5, 3]),
        ([5, 0], 7, [7, 0]),
    ],
)
def test_largest_remainder_examples(counts: list[int], total: int, expected: list[int]) -> None:
    assert largest_remainder(counts, total) == expected


def test_drawn_fleets_keep_their_mix_and_the_outside_follows(file: Path) -> None:
    result = scaled(file, DRAWN, 80)
    assert [fleet.count for fleet in result.scenario.fleets] == [60, 20]
    assert result.scenario.outside is not None
    assert result.scenario.outside.import_limit_mw == 20
    assert result.scenario.outside.export_limit_mw == 8
    assert result.notes == (
        "--agents 80: homes 30 -> 60, cars 10 -> 20",
        "--agents 80: outside import_limit_mw 10 -> 20, export_limit_mw 4 -> 8",
    )


def test_events_lose_agents_that_are_not_there_any_more(file: Path) -> None:
    result = scaled(file, DRAWN, 20)
    targets = [(event.tick, event.agents) for event in result.scenario.events]  # type: ignore[union-attr]
    assert targets == [(1, ("cars-0001",)), (3, ())]
    assert [note for note in result.notes if "events" in note] == [
        "--agents 20: events[0] (outage) loses homes-0030",
        "--agents 20: events[1] (outage) is left out: homes-0030 is not there",
        "--agents 20: events[2] (outage) loses homes-0030",
    ]


def test_none_and_one(file: Path) -> None:
    none = scaled(file, DRAWN, 0).scenario
    assert [agents_in(fleet) for fleet in none.fleets] == [0, 0]
    assert none.outside is not None
    assert none.outside.import_limit_mw == 0
    assert [agents_in(fleet) for fleet in scaled(file, DRAWN, 1).scenario.fleets] == [1, 0]


def test_nothing_to_scale(file: Path) -> None:
    empty = "name: e\noutside: {import_limit_mw: 10}\n"
    result = scaled(file, empty, 0)
    assert result.scenario.outside is not None
    assert result.scenario.outside.import_limit_mw == 10
    with pytest.raises(UsageError, match="--agents 5: the scenario has no agents to scale"):
        scaled(file, empty, 5)


def test_explicit_lists_are_repeated_only_when_asked(file: Path) -> None:
    with pytest.raises(UsageError, match=r"--agents 8: fleet 'plants' .*--replicate"):
        scaled(file, LISTED, 8)
    homes, plants = scaled(file, LISTED, 10, replicate=True).scenario.fleets
    assert homes.count == 5
    assert plants.agents == (
        {"name": "coal", "capacity_mw": 300},
        {"name": "gas"},
        {"name": "coal.2", "capacity_mw": 300},
        {"name": "gas.2"},
        {"name": "coal.3", "capacity_mw": 300},
    )
    _, fewer = scaled(file, LISTED, 2, replicate=True).scenario.fleets
    assert fewer.agents == ({"name": "coal", "capacity_mw": 300},)
    _, none = scaled(file, LISTED, 0, replicate=True).scenario.fleets
    assert (none.count, none.agents) == (0, ())


def test_copies_whose_names_are_taken_are_refused(file: Path) -> None:
    text = LISTED.replace("name: gas", "name: coal.2")
    with pytest.raises(UsageError, match=r"--agents 8: .*duplicate agent name 'coal.2'"):
        scaled(file, text, 8, replicate=True)
    text = LISTED.replace("name: gas", f"name: {'g' * 64}")
    with pytest.raises(UsageError, match=r"--agents 8: .*expected text that matches"):
        scaled(file, text, 8, replicate=True)


@pytest.mark.parametrize("agents", [-1, 10_000_001])
def test_out_of_range(file: Path, agents: int) -> None:
    with pytest.raises(UsageError, match=f"--agents {agents}: expected 0 to 10000000"):
        scaled(file, DRAWN, agents)


def test_agents_that_come_from_data_cannot_be_scaled(file: Path) -> None:
    with pytest.raises(UsageError, match=r"--agents 5: .*rts_gmlc.*--data"):
        scaled(file, "name: r\ndata: {format: rts_gmlc}\n", 5)


PHYSICAL = """\
name: base
outside: {import_limit_mw: 10, export_limit_mw: 4, rated_mva: 1000}
condensers: [{name: wheel, rated_mva: 8, inertia_s: 6}]
grid:
  feeder: case33bw
  feeder_count: 4
  reserves: {containment_mw: 2, restoration_mw: 6, price_cap_per_mw_h: 90}
fleets:
- {name: homes, kind: home, count: 40}
"""


def test_the_physical_grid_scales_with_its_agents(file: Path) -> None:
    loaded = scaled(file, PHYSICAL, 10)
    grid, outside = loaded.scenario.grid, loaded.scenario.outside
    assert grid is not None
    assert outside is not None
    assert grid.reserves is not None
    assert (outside.rated_mva, outside.inertia_s, outside.droop) == (250, 5, 0.05)
    assert [(c.rated_mva, c.inertia_s) for c in loaded.scenario.condensers] == [(2, 6)]
    assert (grid.reserves.containment_mw, grid.reserves.restoration_mw) == (0.5, 1.5)
    assert grid.reserves.price_cap_per_mw_h == 90
    assert grid.feeder_count == 1
    assert "--agents 10: the grid's condensers, grid scale alike" in loaded.notes


def test_nobody_at_all_still_hangs_on_a_grid_with_inertia(file: Path) -> None:
    loaded = scaled(file, PHYSICAL, 0)
    outside, whole = loaded.scenario.outside, load_scenario(str(file)).scenario
    assert outside is not None
    assert (outside.import_limit_mw, outside.rated_mva) == (0, 1000)
    assert loaded.scenario.grid == whole.grid
    assert loaded.scenario.condensers == whole.condensers
