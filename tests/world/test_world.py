"""The world of a run: prices with their events and bounds, rules that change, data or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.errors import UsageError
from swarm.scenario.schema import Scenario
from swarm.world.world import World, build_world


def world(tmp_path: Path, file: Path | None = None, **given: Any) -> World:
    base = {"name": "small", "ticks": 24, "outside": {"price_per_mwh": 80}}
    return build_world(Scenario.model_validate({**base, **given}), file, tmp_path / "cache")


def csv(tmp_path: Path, price: float) -> Path:
    path = tmp_path / "prices.csv"
    rows = [f"2025-06-18T{t // 12:02d}:{t % 12 * 5:02d}:00+01:00,{price + t}" for t in range(24)]
    path.write_text("\n".join(["time,price_usd_per_mwh", *rows]) + "\n")
    return path


TABLE = {"columns": {"outside_price": "price_usd_per_mwh"}}


def test_a_spike_replaces_the_built_in_price_while_it_lasts(tmp_path: Path) -> None:
    calm = world(tmp_path).outside_price
    spike = {"type": "price_spike", "tick": 5, "duration_minutes": 15, "price_per_mwh": 900}
    struck = world(tmp_path, events=[spike]).outside_price
    assert calm is not None
    assert struck is not None
    assert struck[5:8].tolist() == [900.0] * 3
    np.testing.assert_array_equal(np.delete(struck, [5, 6, 7]), np.delete(calm, [5, 6, 7]))


def test_a_price_from_data_is_taken_as_it_is_and_spikes_are_told_off(tmp_path: Path) -> None:
    spike = {"type": "price_spike", "tick": 5, "price_per_mwh": 900}
    found = world(tmp_path, csv(tmp_path, 30), data=TABLE, events=[spike])
    assert found.outside_price is not None
    assert found.outside_price[:24].tolist() == [30.0 + t for t in range(24)]
    assert found.outside_price_from_data
    assert any("price_spike event skipped" in note for note in found.notes)


@pytest.mark.parametrize(
    ("price", "words"),
    [(2990, ["3013", "tick 23", "market.price_cap 3000"]), (-600, ["-600", "price_floor -500"])],
)
def test_a_price_outside_the_bounds_names_both(
    price: float, words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refused:
        world(tmp_path, csv(tmp_path, price), data=TABLE)
    for word in words:
        assert word in str(refused.value)


def test_the_cap_of_each_tick_binds_the_price_of_that_tick(tmp_path: Path) -> None:
    lower = {"type": "policy_change", "tick": 0, "duration_minutes": 60, "price_cap": 50}
    path = csv(tmp_path, 60)
    with pytest.raises(UsageError, match="price_cap 50"):
        world(tmp_path, path, data=TABLE, events=[lower])
    found = world(tmp_path, path, data=TABLE, events=[{**lower, "price_cap": 80}])
    assert found.price_cap.tolist() == [80.0] * 12 + [3000.0] * 12


def test_carbon_price_steps(tmp_path: Path) -> None:
    event = {"type": "carbon_price", "tick": 20, "price_per_tonne": 70}
    found = world(tmp_path, carbon_price_per_tonne=25, events=[event])
    assert found.carbon_price.tolist() == [25.0] * 20 + [70.0] * 4


def test_an_island_has_no_outside_price(tmp_path: Path) -> None:
    assert world(tmp_path, outside=None).outside_price is None


def test_only_the_series_needed_are_made(tmp_path: Path) -> None:
    fleets = [{"name": "sun", "kind": "solar", "count": 1}]
    found = world(tmp_path, outside=None, fleets=fleets, world={"sites": 3})
    assert sorted(found.series) == ["flat", "solar"]
    assert found.series["solar"].shape == (24 + 288, 3)


@pytest.mark.parametrize(
    ("forecast", "kind", "asked"),
    [
        ("clear_sky", "home", True),
        ("clear_sky", "solar", True),
        ("clear_sky", "wind", False),
        ("persistence", "solar", False),
        ("perfect", "solar", False),
    ],
)
def test_the_clear_sky_is_made_where_a_forecast_needs_it(
    forecast: str, kind: str, asked: bool, tmp_path: Path
) -> None:
    fleets = [{"name": "plants", "kind": kind, "count": 1}]
    found = world(tmp_path, outside=None, fleets=fleets, world={"forecast": forecast})
    assert ("clear_sky" in found.series) is asked


def test_the_clear_sky_is_one_column_over_all_the_sun_there_is(tmp_path: Path) -> None:
    fleets = [{"name": "sun", "kind": "solar", "count": 1}]
    settings = {"forecast": "clear_sky", "sites": 3}
    found = world(tmp_path, outside=None, fleets=fleets, world=settings).series
    assert found["clear_sky"].shape == (24 + 288, 1)
    assert (found["solar"] <= found["clear_sky"] + 1e-12).all()
    assert ((found["solar"] > 0) == (found["clear_sky"] > 0)).all()


def test_a_clear_sky_from_data_replaces_the_built_in_one(tmp_path: Path) -> None:
    fleets = [{"name": "sun", "kind": "solar", "count": 1}]
    path = tmp_path / "sky.csv"
    rows = [f"2025-06-18T{t // 12:02d}:{t % 12 * 5:02d}:00+01:00,0.{t:02d}" for t in range(24)]
    path.write_text("\n".join(["time,sky", *rows]) + "\n")
    rules = {"columns": {"clear_sky": "sky"}}
    given = {"data": rules, "world": {"forecast": "clear_sky"}, "outside": None}
    found = world(tmp_path, path, fleets=fleets, **given).series
    assert found["clear_sky"][:, 0].tolist() == [t / 100 for t in range(24)]


def test_data_without_a_section_and_a_section_without_data(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no data"):
        world(tmp_path, csv(tmp_path, 30))
    with pytest.raises(UsageError, match="needs --data"):
        world(tmp_path, data={"format": "rts_gmlc"})
