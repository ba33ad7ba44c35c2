"""Sharing what groups gave among agents: exact sums, never beyond what each had."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.grid.attribution import share_by_group, share_out, share_signed, shed_in_order

WATTS = st.integers(0, 10**11)
LIMITS = st.lists(WATTS, min_size=1, max_size=12).map(lambda v: np.array(v, dtype=np.int64))


def arrays(*columns: list[int]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(column, dtype=np.int64) for column in columns)


@settings(max_examples=200)
@given(limits=LIMITS, amount=st.floats(0, 2e12))
def test_a_share_is_pro_rata_to_the_watt(limits: np.ndarray, amount: float) -> None:
    shares, total = share_out(amount, limits), int(limits.sum())
    given_w = min(round(amount), total)
    assert shares.sum() == given_w
    for share, limit in zip(shares.tolist(), limits.tolist(), strict=True):
        assert 0 <= share <= limit
        if total:
            assert abs(share - Fraction(given_w * limit, total)) < 1


def test_shares_by_hand() -> None:
    assert share_out(10.0, np.array([1, 2, 7])).tolist() == [1, 2, 7]
    assert share_out(5.0, np.array([1, 2, 7])).tolist() == [1, 1, 3], "first of equal remainders"
    assert share_out(99.0, np.array([1, 2, 7])).tolist() == [1, 2, 7], "no more than there is"
    assert share_out(0.4, np.array([1, 2, 7])).tolist() == [0, 0, 0]
    assert share_out(3.0, np.zeros(2, dtype=np.int64)).tolist() == [0, 0]
    up, down = arrays([4, 0], [1, 3])
    assert share_signed(2.0, up, down).tolist() == [2, 0]
    assert share_signed(-4.0, up, down).tolist() == [-1, -3]


def test_each_group_shares_among_its_own() -> None:
    group, up, down = arrays([0, 1, 0, 2], [10, 10, 30, 10], [5, 5, 5, 5])
    shared = share_by_group(np.array([8.0, -3.0, 0.0]), group, up, down)
    assert shared.tolist() == [2, -3, 6, 0]


LOADS = st.lists(st.tuples(WATTS, st.floats(0, 1), st.integers(0, 9)), min_size=1, max_size=10)


@settings(max_examples=200)
@given(loads=LOADS, share=st.floats(0, 1.2))
def test_the_last_watt_cut_is_the_first_that_may_stay(
    loads: list[tuple[int, float, int]], share: float
) -> None:
    load, priority = arrays([row[0] for row in loads], [row[2] for row in loads])
    critical = np.ceil([row[0] * row[1] for row in loads]).astype(np.int64)
    amount = share * float(load.sum())
    shed = shed_in_order(amount, load, critical, priority)
    # The order written out, one block of load after the other.
    left, expected = min(round(amount), int(load.sum())), [0] * len(loads)
    for is_critical in (False, True):
        for rank in range(10):
            for row in range(len(loads)):
                if priority[row] == rank:
                    block = critical[row] if is_critical else load[row] - critical[row]
                    cut = min(left, int(block))
                    expected[row] += cut
                    left -= cut
    assert shed.tolist() == expected


def test_load_is_shed_by_hand() -> None:
    load, critical, priority = arrays([100, 80, 50], [40, 0, 50], [5, 1, 1])
    assert shed_in_order(60, load, critical, priority).tolist() == [0, 60, 0]
    assert shed_in_order(100, load, critical, priority).tolist() == [20, 80, 0]
    assert shed_in_order(150, load, critical, priority).tolist() == [60, 80, 10]
    assert shed_in_order(200, load, critical, priority).tolist() == [70, 80, 50]
    assert shed_in_order(1e9, load, critical, priority).tolist() == [100, 80, 50]
