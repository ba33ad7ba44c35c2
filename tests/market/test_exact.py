"""Integer arithmetic beyond 64 bits against Python's own integers and fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.market.exact import exact_dot, scaled, share_pro_rata
from swarm.market.orders import MAX_PRICE_MILLI, MAX_TOTAL_W

from .oracle import largest_remainder

extreme_prices = st.one_of(
    st.sampled_from([-MAX_PRICE_MILLI, -1, 0, 1, MAX_PRICE_MILLI]),
    st.integers(-MAX_PRICE_MILLI, MAX_PRICE_MILLI),
)


@st.composite
def parts(draw: st.DrawFn, total: int = MAX_TOTAL_W) -> list[int]:
    """Quantities of zero or more that sum to at most `total`, often exactly to it."""
    cuts = draw(st.lists(st.one_of(st.sampled_from([0, 1, total]), st.integers(0, total))))
    edges = [0, *sorted(cuts)]
    found = [after - before for before, after in pairwise(edges)]
    return draw(st.permutations(found))


def int64(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


# exact_dot


@given(parts(), st.data())
def test_dot_equals_python(quantities: list[int], data: st.DataObject) -> None:
    size = len(quantities)
    prices = data.draw(st.lists(extreme_prices, min_size=size, max_size=size))
    signs = data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=size, max_size=size))
    rows = list(zip(signs, prices, quantities, strict=True))
    expected = sum(sign * price * quantity for sign, price, quantity in rows)
    limit = sum(abs(sign * price * quantity) for sign, price, quantity in rows)
    arrays = np.array(signs, dtype=np.int8), int64(prices), int64(quantities)
    assert exact_dot(*arrays) == expected
    assert exact_dot(*arrays, limit) == expected


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("size", [1, 1_000, 3_000_000])
def test_dot_at_the_greatest_magnitude(sign: int, size: int) -> None:
    price = np.full(size, MAX_PRICE_MILLI)
    quantity = np.full(size, MAX_TOTAL_W // size)
    signs = np.full(size, sign, dtype=np.int8)
    expected = sign * size * MAX_PRICE_MILLI * (MAX_TOTAL_W // size)
    assert exact_dot(signs, price, quantity) == expected


@pytest.mark.parametrize("beyond", [2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**64, 2**64 + 1])
def test_dot_around_the_points_of_wrapping(beyond: int) -> None:
    price, quantity = 2**30, beyond // 2**30
    rest = beyond - price * quantity
    signs = np.array([1, 1], dtype=np.int8)
    assert exact_dot(signs, int64([price, 1]), int64([quantity, rest])) == beyond
    assert exact_dot(-signs, int64([price, 1]), int64([quantity, rest])) == -beyond
    assert exact_dot(signs, int64([price, 1]), int64([quantity, rest]), limit=beyond) == beyond


def test_dot_of_huge_terms_that_cancel() -> None:
    price = int64([MAX_PRICE_MILLI, -MAX_PRICE_MILLI, 7])
    quantity = int64([2**52, 2**52 - 1, 1])
    expected = MAX_PRICE_MILLI + 7
    assert exact_dot(np.ones(3, dtype=np.int8), price, quantity) == expected


def test_dot_takes_a_mask_and_nothing() -> None:
    mask = np.array([True, False])
    assert exact_dot(mask, int64([3, 5]), int64([7, 11])) == 21
    assert exact_dot(mask[:0], int64([]), int64([])) == 0


# share_pro_rata


@given(parts(), st.data())
def test_shares_equal_the_largest_remainder_method(
    quantities: list[int], data: st.DataObject
) -> None:
    total = sum(quantities)
    amount = data.draw(st.one_of(st.sampled_from([0, total, total // 2]), st.integers(0, total)))
    agents = data.draw(st.permutations(range(len(quantities))))
    share = share_pro_rata(int64(quantities), int64(agents), amount)
    expected = largest_remainder(dict(zip(agents, quantities, strict=True)), amount)
    assert share.tolist() == [expected[agent] for agent in agents]
    assert int(share.sum()) == amount
    assert (share >= 0).all()
    assert (share <= int64(quantities)).all()


@given(st.lists(st.integers(2**47, 2**49), min_size=2, max_size=12), st.data())
def test_shares_of_large_quantities(quantities: list[int], data: st.DataObject) -> None:
    """Where the float64 quotient of quantity * amount / total is off by more than a whole watt."""
    amount = data.draw(st.integers(sum(quantities) // 2, sum(quantities)))
    agents = list(range(len(quantities)))
    share = share_pro_rata(int64(quantities), int64(agents), amount)
    expected = largest_remainder(dict(zip(agents, quantities, strict=True)), amount)
    assert share.tolist() == [expected[agent] for agent in agents]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.data())
def test_shares_of_many_equal_remainders(quantities: list[int], data: st.DataObject) -> None:
    amount = data.draw(st.integers(0, sum(quantities)))
    agents = data.draw(st.permutations(range(len(quantities))))
    share = share_pro_rata(int64(quantities), int64(agents), amount)
    expected = largest_remainder(dict(zip(agents, quantities, strict=True)), amount)
    assert share.tolist() == [expected[agent] for agent in agents]


@pytest.mark.parametrize("amount", [0, 1, 2**26, 2**52 - 1, 2**52, 2**53 - 1, 2**53])
@pytest.mark.parametrize(
    "quantities",
    [[2**53], [2**53 - 1, 1], [2**52, 2**52], [2**52 - 1, 2**52 + 1], [1] * 9 + [2**53 - 9]],
    ids=str,
)
def test_shares_at_the_greatest_total(quantities: list[int], amount: int) -> None:
    agents = list(range(len(quantities)))[::-1]
    share = share_pro_rata(int64(quantities), int64(agents), amount)
    expected = largest_remainder(dict(zip(agents, quantities, strict=True)), amount)
    assert share.tolist() == [expected[agent] for agent in agents]


# scaled


@given(
    st.lists(st.tuples(st.integers(-(2**31), 2**31), st.integers(-(2**20), 2**20)), max_size=8),
    st.integers(1, 60),
    st.sampled_from([1, 2, 4, 1_000, 12_000, 60_000]),
)
def test_scaled_equals_fractions_rounded_half_to_even(
    rows: list[tuple[int, int]], numerator: int, denominator: int
) -> None:
    price, quantity = int64([p for p, _ in rows]), int64([q for _, q in rows])
    # round() of a Fraction rounds half to even.
    expected = [round(Fraction(p * q * numerator, denominator)) for p, q in rows]
    assert scaled(price, quantity, numerator, denominator).tolist() == expected


def test_scaled_rounds_halves_to_even() -> None:
    halves = int64([-5, -3, -1, 1, 3, 5])
    assert scaled(halves, int64([1] * 6), 1, 2).tolist() == [-2, -2, 0, 0, 2, 2]


@given(extreme_prices, st.integers(0, MAX_TOTAL_W), st.integers(1, 60))
def test_scaled_is_exact_or_refused(price: int, quantity: int, numerator: int) -> None:
    product = price * quantity * numerator
    try:
        found = scaled(int64([price]), int64([quantity]), numerator, 12_000)
    except OverflowError:
        assert abs(product) >= 2**61
    else:
        assert abs(product) < 2**63
        assert found.tolist() == [round(Fraction(product, 12_000))]


def test_scaled_refuses_results_whose_sum_would_wrap() -> None:
    one, sixteen = int64([2**30]), int64([2**30] * 16)
    assert scaled(one, one * 2, 1, 1).tolist() == [2**61]
    with pytest.raises(OverflowError, match="do not fit 64 bits"):
        scaled(sixteen, sixteen * 2, 1, 1)


def test_scaled_takes_a_large_price_beside_a_large_quantity() -> None:
    found = scaled(int64([MAX_PRICE_MILLI, 0]), int64([0, MAX_TOTAL_W]), 1, 12_000)
    assert found.tolist() == [0, 0]


def test_scaled_of_nothing() -> None:
    assert scaled(int64([]), int64([]), 1, 12_000).tolist() == []
