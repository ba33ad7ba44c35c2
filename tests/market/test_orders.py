"""The way onto the market's integer grid, and what it refuses."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swarm.market import BUY, SELL, OrderBook
from swarm.market.orders import MAX_PRICE_MILLI, MAX_TOTAL_W, to_milli, to_watts

GOOD: dict[str, Any] = {
    "side": [SELL, BUY, SELL],
    "price_usd_per_mwh": [10.0, 20.0, -5.5],
    "quantity_mw": [1.0, 2.0, 0.0],
    "agent": [0, 1, 2],
}


def from_mw(**changed: Any) -> OrderBook:
    return OrderBook.from_mw(**{**GOOD, **changed})


def grid(**changed: Any) -> OrderBook:
    """A book built directly from integer columns."""
    columns: dict[str, Any] = {
        "side": np.array([SELL, BUY], dtype=np.int8),
        "price": np.array([10_000, 20_000]),
        "quantity": np.array([5, 7]),
        "agent": np.array([0, 1]),
    }
    return OrderBook(**{**columns, **changed})


def test_from_mw_lands_on_the_grid() -> None:
    book = from_mw(quantity_mw=[1.0, 2.000_000_4, 0.000_001])
    assert book.side.tolist() == [1, -1, 1]
    assert book.price.tolist() == [10_000, 20_000, -5_500]
    assert book.quantity.tolist() == [1_000_000, 2_000_000, 1]
    assert book.agent.tolist() == [0, 1, 2]
    assert [book.side.dtype, book.price.dtype] == [np.int8, np.int64]
    assert [book.quantity.dtype, book.agent.dtype] == [np.int64, np.int64]
    assert len(book) == 3


def test_the_empty_book_has_no_orders() -> None:
    assert len(OrderBook.empty()) == 0
    assert OrderBook.empty().price.dtype == np.int64


@given(st.floats(-2e6, 2e6), st.floats(0, 1e9))
@example(0.0005, 0.0000005)
@example(-0.0015, 0.0000015)
def test_values_go_to_a_nearest_grid_point(price: float, quantity: float) -> None:
    """Within half a unit of the decimal value; the product itself rounds in the last bit."""
    for value, factor, found in (
        (price, 1_000, int(to_milli(price))),
        (quantity, 1_000_000, int(to_watts(quantity))),
    ):
        exact = Decimal(value) * factor
        slack = Decimal(math.ulp(value * factor))
        assert abs(found - exact) <= Decimal("0.5") + slack


@given(st.integers(-MAX_PRICE_MILLI * 2, MAX_PRICE_MILLI * 2))
def test_half_a_milli_goes_to_the_even_one(halves: int) -> None:
    price = halves / 2_000
    if price * 1_000 != halves / 2 or abs(halves) >= 2 * MAX_PRICE_MILLI:
        return  # that half cannot be written in binary, or rounds beyond the range
    expected = (Decimal(halves) / 2).to_integral_value(ROUND_HALF_EVEN)
    assert int(to_milli(price)) == expected


@given(st.integers(-MAX_PRICE_MILLI, MAX_PRICE_MILLI))
def test_every_price_of_the_grid_survives_the_way_to_float_and_back(milli: int) -> None:
    assert int(to_milli(milli / 1_000)) == milli


@given(st.integers(0, MAX_TOTAL_W))
def test_every_quantity_of_the_grid_survives_the_way_to_mw_and_back(watts: int) -> None:
    if watts < 2**51:
        assert int(to_watts(watts / 1_000_000)) == watts
    else:  # MW carry 53 bits, the two roundings may add up to one watt here
        assert abs(int(to_watts(watts / 1_000_000)) - watts) <= 1


@pytest.mark.parametrize(
    ("column", "field", "value", "what"),
    [
        ("price_usd_per_mwh", "price", math.nan, "not a finite number"),
        ("price_usd_per_mwh", "price", math.inf, "not a finite number"),
        ("price_usd_per_mwh", "price", -math.inf, "not a finite number"),
        ("price_usd_per_mwh", "price", 2_147_483.7, "out of range"),
        ("price_usd_per_mwh", "price", -2_147_483.7, "out of range"),
        ("quantity_mw", "quantity", math.nan, "not a finite number"),
        ("quantity_mw", "quantity", math.inf, "not a finite number"),
        ("quantity_mw", "quantity", -1e-9, "negative"),
        ("quantity_mw", "quantity", 9.1e9, "out of range"),
        ("side", "side", 0, "neither"),
        ("side", "side", 2, "neither"),
        ("side", "side", -128, "neither"),
        ("side", "side", 257, "not a whole number"),
        ("side", "side", 1.5, "not a whole number"),
        ("side", "side", math.nan, "not a whole number"),
        ("side", "side", None, "not a whole number"),
        ("agent", "agent", -1, "negative"),
        ("agent", "agent", 0.5, "not a whole number"),
        ("agent", "agent", math.nan, "not a whole number"),
        ("agent", "agent", 2**70, "not a whole number"),
    ],
)
@pytest.mark.parametrize("row", [0, 2])
def test_a_bad_value_is_refused_by_column_and_row(
    column: str, field: str, value: Any, what: str, row: int
) -> None:
    values = list(GOOD[column])
    values[row] = value
    with pytest.raises(ValueError, match=rf"^{field}\[{row}\] = .* is {what}"):
        from_mw(**{column: values})


def test_a_bad_value_is_refused_from_numpy_arrays_too() -> None:
    with pytest.raises(ValueError, match=r"side\[1\] = 257"):
        from_mw(side=np.array([1, 257, 1]))


def test_of_several_bad_rows_the_first_is_named() -> None:
    with pytest.raises(ValueError, match=r"quantity\[1\]"):
        from_mw(quantity_mw=[1.0, -1.0, -2.0])


@pytest.mark.parametrize("column", list(GOOD))
def test_columns_of_different_length_are_refused(column: str) -> None:
    field = {"price_usd_per_mwh": "price", "quantity_mw": "quantity"}.get(column, column)
    with pytest.raises(ValueError, match=rf"differ in length: .*'{field}': 2"):
        from_mw(**{column: GOOD[column][:2]})


@pytest.mark.parametrize("column", ["side", "price", "quantity", "agent"])
def test_columns_of_another_type_are_refused(column: str) -> None:
    with pytest.raises(ValueError, match=f"{column} must be int(8|64) .* got float64"):
        grid(**{column: np.array([1.0, 1.0])})


@pytest.mark.parametrize("price", [-(2**63), -(2**31), 2**31, 2**63 - 1])
def test_a_price_beyond_the_grid_is_refused(price: int) -> None:
    with pytest.raises(ValueError, match=r"price\[1\] = .* out of range"):
        grid(price=np.array([0, price]))


@pytest.mark.parametrize(
    "quantity",
    [[2**53, 1], [1, 2**53], [2**63 - 1, 2**63 - 1], [2**62, 2**62]],
)
def test_a_book_whose_sum_is_not_exact_is_refused(quantity: list[int]) -> None:
    with pytest.raises(ValueError, match="sum to more than"):
        grid(quantity=np.array(quantity))


@given(st.lists(st.integers(0, 2**53), min_size=2, max_size=2), st.booleans())
def test_the_sum_is_judged_exactly(quantity: list[int], at_the_limit: bool) -> None:
    if at_the_limit:
        quantity[1] = MAX_TOTAL_W - quantity[0] + quantity[1] % 3 - 1
        quantity[1] = max(quantity[1], 0)
    if sum(quantity) > MAX_TOTAL_W:
        with pytest.raises(ValueError, match="sum to more than"):
            grid(quantity=np.array(quantity))
    else:
        assert grid(quantity=np.array(quantity)).quantity.tolist() == quantity
