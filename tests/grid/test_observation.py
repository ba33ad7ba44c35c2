"""What the operator observes: 80 numbers, each as the page says."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from swarm.grid.observation import (
    KIND_BLOCKS,
    KINDS,
    OBSERVATION,
    OWN_BLOCKS,
    OperatorView,
    kind_sums,
    observe,
    swing_w,
)
from swarm.grid.policy import Heuristic, Random, levels
from swarm.learning.modqn import Settings
from swarm.learning.networks import OPERATOR
from tests.grid.grids import metered
from tests.grid.views import MW, view

PAGE = Path(__file__).parents[2] / "docs" / "operator.md"
SHAPES = OperatorView.SHAPES
OWN = 24


def own(seen: np.ndarray) -> dict[str, list[float]]:
    """The numbers of the whole system by block."""
    ends = np.cumsum([block.size for block in OWN_BLOCKS])
    parts = np.split(seen[:OWN], ends[:-1])
    return {block.name: part.tolist() for block, part in zip(OWN_BLOCKS, parts, strict=True)}


@st.composite
def anything(draw: st.DrawFn) -> OperatorView:
    """Views of any numbers at all, NaN and infinity too."""
    number = st.floats(width=64) | st.sampled_from([0.0, 50.0, 60.0, 1e9, -1e9, np.nan, np.inf])
    given: dict[str, Any] = {
        name: draw(arrays(np.float64, shape, elements=number))
        for name, shape in SHAPES.items()
        if name != "uniforms"
    }
    for field in fields(OperatorView):
        if field.name not in SHAPES:
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
    for policy in (Heuristic, Random):
        levels(policy().act(seen, any_view))


def test_nothing_known_is_seen_as_zeros() -> None:
    nothing = {name: np.full(shape, np.nan) for name, shape in SHAPES.items()}
    numbers = {f.name: np.nan for f in fields(OperatorView) if f.name not in SHAPES}
    seen = observe(view(**{**nothing, **numbers, "emergency": False}))
    np.testing.assert_array_equal(seen, np.zeros(80))


def test_the_layout_is_the_one_that_the_network_and_its_learner_read() -> None:
    attention = OPERATOR.attention
    assert attention is not None
    assert (attention.own, attention.tokens, attention.features) == (OWN, 7, 8)
    assert (len(KINDS), len(KIND_BLOCKS)) == (7, 8)
    at = Settings().preference_at
    assert OWN_BLOCKS[-1].name == "preference"
    assert at + Settings().objectives == OWN
    assert observe(view())[at:OWN].tolist() == pytest.approx([0.5, 0.3, 0.2])


def test_every_number_of_the_system_is_what_the_table_says() -> None:
    hz = np.full(12, 49.0)
    hz[0] = 50.25
    seen = observe(
        view(
            hour_of_day=6,
            end_hz=hz,
            minimum_hz=np.array([49.9, np.nan, 49.8, *[48.0] * 9]),
            maximum_hz=np.array([50.1, np.nan, 50.3, *[52.0] * 9]),
            imbalance_w=np.array([-50, 0, -30, 10, 20, *[np.nan] * 7]) * MW,
            secondary_share=np.array([-0.5, *[0.25] * 11]),
            unserved_w=np.array([12, *[0] * 11]) * MW,
            emergency=True,
        )
    )
    # Changes 50, -30, 40, 10 in MW: their median is 25, the distances from it 25, 55, 15, 15.
    swing_mw = 3 * 1.4826 * 20
    expected = {
        "hour": [1, 0],
        "tick": [1 / 12],
        "end": [0.5],
        "lowest": [-0.2],
        "highest": [0.3],
        "imbalance": [-0.5],
        "swing": [swing_mw / 120],
        "secondary": [-0.5],
        "unserved": [0.12, 0.01],
        "net_load": [0.39, 0.48],
        "asked": [0.75],
        "bought": [90 / 160],
        "reserve_price": [0.125911],
        "largest_unit": [0.25],
        "inertia": [0.4],
        "room": [0.2],
        "emergency": [1],
        "price": [0.125911],
        "preference": [0.5, 0.3, 0.2],
    }
    assert [block.name for block in OWN_BLOCKS] == list(expected)
    for name, values in own(seen).items():
        assert values == pytest.approx(expected[name], abs=2e-6), name


def test_every_number_of_a_kind_is_what_the_table_says() -> None:
    kinds = ["consumer", "generator", "generator", "storage", "storage"]
    meters = metered(
        generation_w=[0, 70, 30, 0, 0],
        load_w=[90, 0, 0, 0, 0],
        battery_w=[0, 0, 0, 20, -50],
        available_w=[0, 80, 60, 0, 0],
        forecast_w=[-95, 0, 0, 0, 0],
        up_w=[0, 5, 15, 3, 4],
        down_w=[7, 20, 10, 1, 2],
        containment_up_w=[0, 1, 2, 0, 0],
        containment_down_w=[0, 0, 4, 0, 0],
        restoration_up_w=[0, 0, 0, 8, 0],
        restoration_down_w=[0, 0, 0, 0, 16],
    )
    meters = replace(
        meters,
        stored_mwh=np.array([0.0, 0, 0, 40, 60]),
        backlog_mwh=np.array([25.0, 0, 0, 0, 0]),
    )
    index = np.array([KINDS.index(kind) for kind in kinds])
    seen = observe(view(by_kind=kind_sums(meters, index)))[OWN:].reshape(7, 8)
    # Output, load, available, forecast, up, down, reserve, stored; peak load is 1,000 MW.
    expected = {
        "consumer": [0, 0.09, 0, -0.095, 0, 0.007, 0, -0.025],
        "generator": [0.1, 0, 0.14, 0, 0.02, 0.03, 0.07, 0],
        "storage": [0.02, 0.05, 0, 0, 0.007, 0.003, 0.24, 0.1],
    }
    for row, kind in enumerate(KINDS):
        assert seen[row].tolist() == pytest.approx(expected.get(kind, [0] * 8)), kind


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 10**12)), max_size=20))
def test_sums_by_kind_are_exact(rows: list[tuple[str, int]]) -> None:
    meters = metered(generation_w=[0.0] * len(rows), up_w=[0.0] * len(rows)) if rows else None
    if meters is None:
        return
    meters = replace(meters, up_w=np.array([watts for _, watts in rows]))
    sums = kind_sums(meters, np.array([KINDS.index(kind) for kind, _ in rows]))
    at = [block.name for block in KIND_BLOCKS].index("up")
    for row, kind in enumerate(KINDS):
        assert sums[row, at] == sum(watts for name, watts in rows if name == kind)


def test_the_swing_takes_three_known_changes() -> None:
    assert np.isnan(swing_w(np.array([0.0, 5.0, 1.0, *[np.nan] * 9])))
    assert np.isnan(swing_w(np.array([0.0, 5.0, np.nan, 1.0, 2.0, *[np.nan] * 7])))
    assert swing_w(np.array([0.0, 5.0, 1.0, 3.0, *[np.nan] * 8])) == pytest.approx(3 * 1.4826 * 3)


def test_a_system_of_another_size_and_frequency_looks_alike() -> None:
    here = view(end_hz=np.full(12, 49.9), by_kind=np.arange(56.0).reshape(7, 8) * MW)
    powers = [f.name for f in fields(OperatorView) if f.name.endswith(("_w", "_kws", "by_kind"))]
    frequencies = ("nominal_hz", "end_hz", "minimum_hz", "maximum_hz")
    scaled = {name: getattr(here, name) * 8 for name in powers}
    scaled |= {name: getattr(here, name) * 1.2 for name in frequencies}
    there = replace(here, **scaled)
    np.testing.assert_allclose(observe(there), observe(here), atol=1e-6)
    assert Heuristic().act(observe(there), there) == Heuristic().act(observe(here), here)


@pytest.mark.parametrize("name", SHAPES)
def test_arrays_of_another_shape_are_refused_by_name(name: str) -> None:
    expected = re.escape(f"{name} has shape (13,), expected {SHAPES[name]}")
    with pytest.raises(ValueError, match=expected):
        view(**{name: np.zeros(13)})


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the table of the page under a heading."""
    part = PAGE.read_text().split(f"\n{heading}\n")[1].split("\n#")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(
    ("heading", "blocks", "size"),
    [("### The whole system", OWN_BLOCKS, OWN), ("### Each kind", KIND_BLOCKS, 8)],
)
def test_the_page_has_every_index_once_as_the_code_has_it(
    heading: str, blocks: tuple[Any, ...], size: int
) -> None:
    indices, shown = [], []
    for index, name, meaning, normalisation in rows_of(heading):
        first, _, last = index.partition("-")
        part = range(int(first), int(last or first) + 1)
        indices.extend(part)
        shown.append((name.strip("`"), len(part), meaning, normalisation))
    assert indices == list(range(size))
    assert shown == [(b.name, b.size, b.meaning, b.normalisation) for b in blocks]


def test_the_page_has_the_first_index_of_every_kind() -> None:
    first, *cells = next(row for row in rows_of("### Where a kind begins") if row[0] == "index")
    assert first == "index"
    head = next(
        line for line in PAGE.read_text().splitlines() if line.startswith("| kind | consumer")
    )
    kinds = [cell.strip() for cell in head.strip("|").split("|")][1:]
    assert dict(zip(kinds, map(int, cells), strict=True)) == {
        kind: OWN + 8 * row for row, kind in enumerate(KINDS)
    }
