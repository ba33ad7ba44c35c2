"""The operator's policy: what it observes, what its actions mean, what the heuristic picks."""

from __future__ import annotations

import itertools
import re
import statistics
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from swarm.grid.policy import (
    ACTIONS,
    ACTIVATION_LEVELS,
    BLOCKS,
    OBSERVATION,
    POLICIES,
    RESERVE_LEVELS,
    Heuristic,
    OperatorView,
    Random,
    action_of,
    levels,
    observe,
)
from swarm.rng import uniforms

PAGE = Path(__file__).parents[2] / "docs" / "operator.md"
LENGTHS = OperatorView.LENGTHS
MW = 1e6


def view(**given: Any) -> OperatorView:
    """A quiet evening of a 50 Hz system of 1,000 MW; `given` replaces fields."""
    values: dict[str, Any] = {
        "hour_of_day": 18.0,
        "tick_minutes": 5,
        "nominal_hz": 50.0,
        "end_hz": np.full(12, 50.0),
        "minimum_hz": np.full(12, 49.98),
        "maximum_hz": np.full(12, 50.02),
        "imbalance_w": np.zeros(12),
        "secondary_share": np.zeros(12),
        "unserved_w": np.zeros(12),
        "peak_load_w": 1000 * MW,
        "expected_load_w": np.linspace(500, 720, 12) * MW,
        "expected_weather_w": np.linspace(110, 0, 12) * MW,
        "containment_size_w": 20 * MW,
        "restoration_size_w": 60 * MW,
        "reserve_asked_w": np.array([20, 20, 60, 60]) * MW,
        "reserve_bought_w": np.array([20, 10, 60, 0]) * MW,
        "reserve_price_per_mw_h": np.array([50, 5, 1000, np.nan]),
        "largest_unit_w": 30 * MW,
        "inertia_kws": 4_000_000,
        "flow_w": 100 * MW,
        "import_limit_w": 300 * MW,
        "export_limit_w": 200 * MW,
        "voltage_pu": np.array([0.95, 1.02]),
        "storage_up_w": 80 * MW,
        "storage_down_w": 40 * MW,
        "emergency": False,
        "shed_share": 0.0,
        "price_per_mwh": 50.0,
        "price_forecast_per_mwh": np.full(6, -50.0),
        "uniforms": np.full(4, 0.5),
    }
    return OperatorView(**{**values, **given})


def block(seen: np.ndarray, name: str) -> list[float]:
    first = 0
    for part in BLOCKS:
        if part.name == name:
            return [float(value) for value in seen[first : first + part.size]]
        first += part.size
    raise KeyError(name)


@st.composite
def anything(draw: st.DrawFn) -> OperatorView:
    """Views of any numbers at all, NaN and infinity too."""
    number = st.floats(width=64) | st.sampled_from([0.0, 50.0, 60.0, 1e9, -1e9, np.nan, np.inf])
    given: dict[str, Any] = {
        name: draw(arrays(np.float64, length, elements=number))
        for name, length in LENGTHS.items()
        if name != "uniforms"
    }
    for field in fields(OperatorView):
        if field.name not in LENGTHS:
            given[field.name] = draw(st.booleans() if field.name == "emergency" else number)
    return view(**given)


@settings(max_examples=60)
@given(anything())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_whatever_the_view_the_observation_is_80_numbers_and_the_actions_decode(
    any_view: OperatorView,
) -> None:
    seen = observe(any_view)
    assert seen.dtype == np.float32
    assert seen.shape == (OBSERVATION,) == (80,)
    assert (np.abs(seen) <= 1).all()
    for policy in POLICIES.values():
        levels(policy().act(seen, any_view))


def test_nothing_known_is_seen_as_zeros() -> None:
    nothing = {name: np.full(length, np.nan) for name, length in LENGTHS.items()}
    numbers = {f.name: np.nan for f in fields(OperatorView) if f.name not in LENGTHS}
    seen = observe(view(**{**nothing, **numbers, "emergency": False}))
    np.testing.assert_array_equal(seen, np.zeros(80))


def test_every_number_is_what_the_table_says() -> None:
    hz = np.full(12, 50.0)
    hz[:3] = 49.9, 50.25, 51.0
    seen = observe(
        view(
            hour_of_day=6,
            end_hz=hz,
            minimum_hz=50 - np.arange(12) / 10,
            maximum_hz=np.array([50.1, np.nan, 50.3, *[50.0] * 8, 50.5]),
            imbalance_w=np.array([10, -50, 200, *[0] * 8, -25]) * MW,
            secondary_share=np.array([-0.5, 0.25, *[np.nan] * 10]),
            unserved_w=np.array([12, *[0] * 11]) * MW,
            emergency=True,
            shed_share=0.125,
        )
    )
    expected = {
        "hour": [1, 0],
        "tick": [1 / 12],
        "nominal": [-1],
        "end": [-0.2, 0.5, 1, *[0] * 9],
        "minimum": [0, -0.2, -1],
        "maximum": [0.1, 0.3, 0.5],
        "imbalance": [0.1, -0.5, 1, *[0] * 8, -0.25],
        "secondary": [-0.5, -0.125],
        "unserved": [0.12, 0.01],
        "load": [0.5, 0.52, 0.54, 0.58, 0.64, 0.72],
        "weather": [0.11, 0.1, 0.09, 0.07, 0.04, 0],
        "asked": [0.5, 0.5, 0.5, 0.5],
        "bought": [1, 0.5, 1, 0],
        "reserve_price": [0.125911, 0.014262, 0.527072, 0],
        "largest_unit": [0.03],
        "inertia": [0.4],
        "flow": [0.1, 0.2, 0.3],
        "voltage": [-0.5, 0.2],
        "storage": [0.08, 0.04],
        "emergency": [1],
        "shed": [0.125],
        "price": [0.125911, *[-0.125911] * 6],
    }
    assert [part.name for part in BLOCKS] == list(expected)
    for name, values in expected.items():
        assert block(seen, name) == pytest.approx(values, abs=2e-6), name


def test_reserve_is_seen_by_the_size_of_its_own_product() -> None:
    asked = np.array([40, 10, 30, 120]) * MW
    seen = observe(view(reserve_asked_w=asked, reserve_bought_w=asked / 4))
    assert block(seen, "asked") == pytest.approx([1, 0.25, 0.25, 1])
    assert block(seen, "bought") == pytest.approx([0.25] * 4)
    assert block(observe(view(reserve_asked_w=np.zeros(4))), "bought") == [0] * 4


def test_a_system_of_another_size_and_frequency_looks_alike() -> None:
    here = view(end_hz=np.full(12, 49.9), largest_unit_w=20 * MW)
    powers = [f.name for f in fields(OperatorView) if f.name.endswith(("_w", "_kws"))]
    frequencies = ("nominal_hz", "end_hz", "minimum_hz", "maximum_hz")
    scaled = {name: getattr(here, name) * 8 for name in powers}
    scaled |= {name: getattr(here, name) * 1.2 for name in frequencies}
    there = replace(here, **scaled)
    same = np.delete(np.arange(80), 3)
    np.testing.assert_allclose(observe(there)[same], observe(here)[same], atol=1e-6)
    assert Heuristic().act(observe(there), there) == Heuristic().act(observe(here), here)


def table_rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_has_every_index_once_as_the_code_has_it() -> None:
    rows = [row for row in table_rows() if re.fullmatch(r"\d+(-\d+)?", row[0]) and len(row) == 4]
    indices = []
    for index, *_ in rows:
        first, _, last = index.partition("-")
        indices.append(range(int(first), int(last or first) + 1))
    assert [i for part in indices for i in part] == list(range(80))
    shown = [
        (row[1].strip("`"), len(part), *row[2:]) for part, row in zip(indices, rows, strict=True)
    ]
    assert shown == [(b.name, b.size, b.meaning, b.normalisation) for b in BLOCKS]


def test_the_page_has_every_action_once_and_they_decode_to_its_levels() -> None:
    rows = [row for row in table_rows() if row[0].startswith("reserve \\") or row[0][:2] == "**"]
    activation = [float(cell) for cell in rows[0][1:]]
    shown = {
        int(cell): (float(reserve.strip("*")), activation[column])
        for reserve, *cells in rows[1:]
        for column, cell in enumerate(cells)
    }
    assert sorted(shown) == list(range(ACTIONS)) == list(range(25))
    for action, pair in shown.items():
        assert levels(action) == levels(np.int64(action)) == pair
        assert action_of(*pair) == action


@pytest.mark.parametrize("bad", [-1, 25, 2.0, np.nan, None, "3", np.zeros(2)])
def test_what_is_no_action_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="whole number from 0 to 24"):
        levels(bad)


@pytest.mark.parametrize("name", LENGTHS)
def test_arrays_of_another_length_are_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} has shape \(13,\), expected \({LENGTHS[name]},"):
        view(**{name: np.zeros(13)})


@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_as_they_declare(name: str) -> None:
    policy, traits = POLICIES[name](), POLICIES[name].traits
    views = [view(uniforms=uniforms(1, "operator", tick, 0, 1)[0]) for tick in range(50)]
    actions = [policy.act(observe(one), one) for one in views]
    assert all(type(action) is int for action in actions)
    assert (len(set(actions)) > 1) == traits.stochastic
    assert not traits.needs_training
    assert not traits.has_memory
    assert [POLICIES[name]().act(observe(one), one) for one in views] == actions


def test_random_takes_every_action_as_often() -> None:
    for slot in range(1000):
        one = view(uniforms=np.full(4, slot / 1000))
        assert Random().act(observe(one), one) == slot // 40
    last = view(uniforms=np.full(4, 1 - 2.0**-53))
    assert Random().act(observe(last), last) == 24


def chosen(**given: Any) -> tuple[float, float]:
    one = view(**given)
    return levels(Heuristic().act(observe(one), one))


@pytest.mark.parametrize("nominal", [50.0, 60.0])
@pytest.mark.parametrize(
    ("hz", "level"),
    [
        (50.0, 1.0),
        (49.9, 1.0),
        (50.1, 1.0),
        (49.89, 1.5),
        (50.11, 1.5),
        (49.8, 1.5),
        (50.2, 1.5),
        (49.79, 2.0),
        (50.21, 2.0),
        (np.nan, 1.0),
    ],
)
def test_activation_follows_where_the_last_interval_ended(
    nominal: float, hz: float, level: float
) -> None:
    ends = np.array([hz, *[49.0] * 11]) * (nominal / 50)
    assert chosen(nominal_hz=nominal, end_hz=ends)[1] == level
    assert chosen(nominal_hz=nominal, end_hz=ends, emergency=True)[1] == 2.0


@pytest.mark.parametrize(
    ("step_mw", "level"),
    [(0.0, 0.5), (2.2, 0.5), (2.3, 0.75), (3.4, 1.0), (4.6, 1.5), (6.8, 2.0), (60.0, 2.0)],
)
def test_restoration_covers_three_deviations_of_the_change(step_mw: float, level: float) -> None:
    # Changes of -5 to 5 steps, in any order: the median absolute deviation is 3 steps, so that
    # restoration of 60 MW at level 1 must cover 3 * 1.4826 * 3 = 13.34 steps.
    changes = np.array([2, -5, 0, 4, -1, 5, -3, 1, -2, 3, -4]) * step_mw * MW
    assert chosen(imbalance_w=np.concatenate([[0.0], np.cumsum(changes)]))[0] == level


def test_one_outage_does_not_move_the_deviation() -> None:
    calm = np.array([0, 1, 0, -1, 0, 1, 2, 1, 0, 1, 0, 1]) * MW
    assert chosen(imbalance_w=calm)[0] == 0.5
    assert chosen(imbalance_w=np.where(np.arange(12) == 4, -500 * MW, calm))[0] == 0.5


@pytest.mark.parametrize("interval", [0, 11])
def test_no_more_reserve_than_must_be_while_load_goes_unserved(interval: int) -> None:
    short = np.where(np.arange(12) == interval, 1.0, np.nan)
    assert chosen(largest_unit_w=999 * MW, unserved_w=short)[0] == 0.5
    assert chosen(largest_unit_w=999 * MW)[0] == 2.0


@pytest.mark.parametrize(
    ("unit_mw", "level"),
    [(0, 0.5), (40, 0.5), (41, 0.75), (80, 1.0), (81, 1.5), (120, 1.5), (160, 2.0), (999, 2.0)],
)
def test_both_reserves_together_cover_the_largest_unit(unit_mw: float, level: float) -> None:
    assert chosen(largest_unit_w=unit_mw * MW)[0] == level


def test_until_three_changes_are_known_reserve_is_at_its_normal_level() -> None:
    unknown = np.full(12, np.nan)
    assert chosen(imbalance_w=unknown) == (1.0, 1.0)
    assert chosen(imbalance_w=unknown, largest_unit_w=100 * MW)[0] == 1.5
    # Three values next to each other are two changes; a gap joins nothing.
    gap = np.array([*[0.0, 90e6, 0.0], np.nan, 0.0, *[np.nan] * 7])
    assert chosen(imbalance_w=gap)[0] == 1.0
    assert chosen(imbalance_w=np.array([0, 90e6, 0, 0, *[np.nan] * 8]))[0] == 2.0


@settings(max_examples=200)
@given(
    imbalance_mw=st.lists(st.floats(-300, 300), min_size=12, max_size=12),
    containment_mw=st.floats(0, 100),
    restoration_mw=st.floats(0, 300),
    unit_mw=st.floats(0, 500),
)
def test_the_reserve_level_is_the_least_that_suffices(
    imbalance_mw: list[float], containment_mw: float, restoration_mw: float, unit_mw: float
) -> None:
    level, _ = chosen(
        imbalance_w=np.array(imbalance_mw) * MW,
        containment_size_w=containment_mw * MW,
        restoration_size_w=restoration_mw * MW,
        largest_unit_w=unit_mw * MW,
    )
    changes = [b - a for a, b in itertools.pairwise(imbalance_mw)]
    middle = statistics.median(changes)
    swing = 3 * 1.4826 * statistics.median(abs(change - middle) for change in changes)

    def short_mw(at: float) -> float:
        return max(swing - at * restoration_mw, unit_mw - at * (restoration_mw + containment_mw))

    lower = [other for other in RESERVE_LEVELS if other < level]
    assert all(short_mw(other) > -1e-6 for other in lower)
    assert level == RESERVE_LEVELS[-1] or short_mw(level) < 1e-6


def test_the_levels_are_those_of_the_design() -> None:
    assert len(RESERVE_LEVELS) == len(ACTIVATION_LEVELS) == 5
    assert 1.0 in RESERVE_LEVELS
    assert 1.0 in ACTIVATION_LEVELS
