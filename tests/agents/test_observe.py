"""Observations: sizes, bounds, documentation, and rows that depend on their agent alone."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.agents import memory, observe
from swarm.agents.kinds import KINDS
from swarm.agents.observation import BLOCKS, SIZES, VECTORS
from swarm.agents.view import View
from tests.agents.helpers import Bench, roster, signal

PAGE = Path(__file__).parents[2] / "docs/observations.md"
ASSETS: dict[str, list[dict[str, Any]]] = {
    "generator": [
        {"capacity_mw": 100, "min_output_mw": 20, "marginal_cost_slope_per_mw": 0.1},
        {"capacity_mw": 0},
        {"capacity_mw": 40, "ramp_mw_per_minute": 1, "min_up_hours": 4, "start_cost": 500},
    ],
    "storage": [{}, {"power_mw": 0}, {"energy_mwh": 0}],
    "ev": [{}, {"vehicle_to_grid": True, "arrival_hour": 9, "departure_hour": 17}, {"power_mw": 0}],
    "home": [{}, {"power_mw": 0}, {"load_mw": 0}],
    "consumer": [{}, {"flexible_mw": 0}, {"load_mw": 0, "flexible_mw": 0}],
    "solar": [{"capacity_mw": 5}, {"capacity_mw": 0}, {"offer_price_per_mwh": -30}],
    "wind": [{"capacity_mw": 5}, {"capacity_mw": 0}, {"offer_price_per_mwh": -30}],
}
anything = st.one_of(
    st.just(np.nan), st.sampled_from((-np.inf, np.inf, 1e308, -1e308, 0.0)), st.floats(-1e4, 2e4)
)


def index_of(vector: str, name: str) -> int:
    """First index of a block."""
    names = [block.name for block in BLOCKS[vector]]
    return sum(block.size for block in BLOCKS[vector][: names.index(name)])


def seen_by(kind: str, assets: list[dict[str, Any]], **of_signal: Any) -> dict[str, np.ndarray]:
    """What new agents see without a memory."""
    bench = Bench(kind, assets)
    empty = memory.empty(bench.n, len(bench.kind.SIDES), bench.hours)
    return observe.observe(kind, bench.p, bench.s, bench.view(**of_signal), empty)


def rows(value: Any, part: slice, n: int) -> Any:
    """The rows `part` of every array of n rows in a tree of dataclasses and dicts."""
    if isinstance(value, np.ndarray):
        return value[part] if len(value) == n else value
    if isinstance(value, dict):
        return {key: rows(item, part, n) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        cut = {f.name: rows(getattr(value, f.name), part, n) for f in fields(value)}
        return replace(value, **cut)
    return value


def test_the_vectors_have_the_sizes_of_the_networks() -> None:
    assert SIZES == {"generator": 64, "storage": 48, "consumer": 40}
    assert VECTORS.keys() == KINDS.keys()


@pytest.mark.parametrize("vector", list(SIZES))
def test_every_index_is_documented(vector: str) -> None:
    section = PAGE.read_text().split(f"## `{vector}`")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    at, expected = 0, []
    for block in BLOCKS[vector]:
        last = at + block.size - 1
        index = str(at) if last == at else f"{at}-{last}"
        normalisation = block.normalisation.replace("|", r"\|")
        expected.append(f"| {index} | `{block.name}` | {block.meaning} | {normalisation} |")
        at = last + 1
    assert lines == expected


@pytest.mark.parametrize("kind", list(VECTORS))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_is_seen_is_finite_bounded_and_split_stable(kind: str, data: Any) -> None:
    def draw(count: int) -> np.ndarray:
        return np.array(data.draw(st.lists(anything, min_size=count, max_size=count)))

    n, slots = 9, len(KINDS[kind].SIDES)
    agents = roster(kind, ASSETS[kind] * 3)
    p = KINDS[kind].build(agents)
    s = KINDS[kind].start(p)
    price, frequency, low, high, carbon, hour, load, sun = draw(8)
    sees = View(
        signal=signal(
            price_per_mwh=price,
            price_forecast=draw(24),
            price_history=draw(24),
            frequency_hz=frequency,
            voltage_pu=(low, high),
            carbon_price_per_tonne=carbon,
            emergency=data.draw(st.booleans()),
            reserve_w=tuple(data.draw(st.lists(st.integers(0, 10**9), min_size=4, max_size=4))),
            forecast_w=tuple(data.draw(st.lists(st.integers(0, 10**11), min_size=3, max_size=3))),
        ),
        tick_hours=data.draw(st.sampled_from((1 / 12, 0.25, 1.0))),
        hour_of_day=float(np.nan_to_num(hour) % 24) if np.isfinite(hour) else 0.0,
        forecast={"load": np.full(n, load), "availability": np.full(n, sun)},
        standing=np.arange(n) % 4 == 0,
        uniforms=np.full((n, 4), 0.5),
    )
    known = memory.empty(n, slots, sees.tick_hours)
    known.accepted_w[:] = np.arange(n * slots).reshape(n, slots) * 10**6
    known.price_per_mwh[:] = draw(n)
    known.received_micro[:] = np.arange(n) * 10**9 - 10**9
    known.see(sees.signal)
    whole = observe.observe(kind, p, s, sees, known)
    assert tuple(whole) == VECTORS[kind]
    for vector, values in whole.items():
        assert values.dtype == np.float32
        assert values.shape == (n, SIZES[vector])
        assert (np.abs(values) <= 1).all()
    # Cut at an odd place: each part sees the same bytes.
    for part in (slice(0, 4), slice(4, 9), slice(8, 9)):
        cut_memory = replace(rows(known, part, n), prices_per_mwh=known.prices_per_mwh)
        seen = observe.observe(
            kind, rows(p, part, n), rows(s, part, n), rows(sees, part, n), cut_memory
        )
        for vector, values in seen.items():
            assert values.tobytes() == whole[vector][part].tobytes()


def test_prices_are_seen_against_the_known_ones() -> None:
    """Forecast 0..23 and history 24..47: median 23.5, quantiles 4.7 and 42.3, spread 37.6."""
    seen = seen_by(
        "storage",
        [{}],
        price_per_mwh=42.3,
        price_forecast=np.arange(24.0),
        price_history=np.arange(24.0, 48.0),
    )["storage"][0]
    assert seen[index_of("storage", "price_now")] == pytest.approx(1 / 3)  # x = 18.8 / 37.6
    assert seen[index_of("storage", "rank")] == pytest.approx(2 * 43 / 48 - 1)
    assert seen[index_of("storage", "median")] == pytest.approx(np.arcsinh(0.47) / 7)
    assert seen[index_of("storage", "spread")] == pytest.approx(np.arcsinh(0.752) / 7)
    at = index_of("storage", "forecast")
    assert seen[at] == pytest.approx(-0.625 / 1.625)  # hour +0 costs 0
    assert seen[at + 2] == pytest.approx((2 - 23.5) / (37.6 + 21.5))
    at = index_of("storage", "windows")
    ends = np.array([5.0, 11.0, 23.0, 3.0, 6.0, 12.0])  # highest of each, then lowest of each
    np.testing.assert_allclose(
        seen[at : at + 6], (ends - 23.5) / (37.6 + np.abs(ends - 23.5)), rtol=1e-6
    )


HALF = {
    "energy_mwh": 4,
    "power_mw": 1,
    "initial_state_of_charge": 0.5,
    "min_state_of_charge": 0,
    "max_state_of_charge": 1,
    "charge_efficiency": 0.8,
    "discharge_efficiency": 0.9,
}
"""Half full: empty in 1.8 h, full in 2.5 h."""


def test_a_battery_sees_the_hours_that_it_takes_to_empty_and_to_fill_it() -> None:
    """Empty in 1.8 h and full in 2.5 h: the 2nd dearest of 24 hours, and the 3rd cheapest."""
    shuffled = np.random.default_rng(0).permutation(np.arange(24.0))
    known = {"price_forecast": shuffled, "price_history": np.arange(24.0, 48.0)}
    seen = seen_by("storage", [HALF], **known)["storage"][0]
    at = index_of("storage", "threshold")
    assert seen[at] == pytest.approx((22 - 23.5) / (37.6 + 1.5))
    assert seen[at + 1] == pytest.approx((2 - 23.5) / (37.6 + 21.5))


def test_a_battery_sees_its_charge_and_its_time() -> None:
    seen = seen_by("storage", [HALF])["storage"][0]
    at = index_of("storage", "charge")
    # 2 MWh: empty in 1.8 h, full in 2.5 h, of 12; there and back 0.72.
    np.testing.assert_allclose(seen[at : at + 5], [0, 1.8 / 12, 2.5 / 12, 4 / 12, 0.44], atol=1e-7)


def test_a_vehicle_sees_when_it_leaves_and_what_it_lacks() -> None:
    car = {
        "energy_mwh": 0.1,
        "power_mw": 0.01,
        "charge_efficiency": 1,
        "arrival_hour": 18,
        "departure_hour": 6,
        "initial_state_of_charge": 0.4,
        "required_state_of_charge": 0.8,
    }
    seen = seen_by("ev", [car])["storage"][0]
    at = index_of("storage", "here")
    # At midnight: 6 hours left, 0.04 MWh lacking takes 4 of them.
    np.testing.assert_allclose(seen[at : at + 4], [1, 6 / 24, 0.4, 2 / 24], atol=1e-6)


def test_memory_is_seen() -> None:
    bench = Bench("storage", [{"power_mw": 2}])
    known = memory.empty(1, 2, bench.hours)
    known.accepted_w[0] = 0, 500_000
    known.price_per_mwh[0] = 51.0
    known.received_micro[0] = 2_000_000
    view = bench.view(price_per_mwh=49.0)
    known.see(view.signal)
    seen = observe.observe("storage", bench.p, bench.s, view, known)["storage"][0]
    at = index_of("storage", "accepted")
    # All known prices are 50: the spread is the least, 1. 2 in five minutes at 2 MW: 12 per MWh.
    np.testing.assert_allclose(seen[at : at + 4], [0.25, 0.5, 12 / 63, -0.5], rtol=1e-6)


def test_the_running_median_forgets_after_a_day() -> None:
    known = memory.empty(1, 1, 1.0)
    assert known.median_per_mwh(signal(price_forecast=np.full(24, 7.0))) == 28.5
    nothing = np.full(24, np.nan)
    assert np.isnan(known.median_per_mwh(signal(price_forecast=nothing, price_history=nothing)))
    for price in (1000.0, *range(23), np.nan):
        known.see(signal(price_per_mwh=float(price)))
    assert known.median_per_mwh(signal()) == 11.0  # 0..22; 1000 is out, no trade is no price


def test_what_does_not_fit_is_refused() -> None:
    bench = Bench("storage", [{}])
    with pytest.raises(ValueError, match=r"accepted_w: shape \(1, 3\), expected \(1, 2\)"):
        observe.observe("storage", bench.p, bench.s, bench.view(), memory.empty(1, 3, 1.0))
    with pytest.raises(ValueError, match="kind 'dam'"):
        observe.observe("dam", bench.p, bench.s, bench.view(), memory.empty(1, 2, 1.0))
    with pytest.raises(ValueError, match="tick_hours 0"):
        memory.empty(1, 2, 0)
