"""Curves against loops over the orders, and what an agent makes of an award."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.market.curves import Awards, Curves, Quantities, Sums, total
from swarm.market.orders import BUY, SELL
from swarm.messages import Orders, decode, encode

from .oracle import Order
from .strategies import book_of, books, prices

FEWER = settings(max_examples=settings.default.max_examples // 2)
KINDS = ("firm_supply_w", "indifferent_supply_w", "firm_demand_w", "indifferent_demand_w")


def curves_of(found: list[Order], **options: object) -> Curves:
    book = book_of(found)
    orders = Orders(book.side, book.price, book.quantity, book.agent)
    return Curves(orders, **options)  # type: ignore[arg-type]


def answers(found: list[Order], price: int) -> dict[int, dict[str, int]]:
    """Each agent's quantities, order by order."""
    answered: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KINDS, 0))
    for order in found:
        gain = (price - order.price) if order.side == SELL else (order.price - price)
        if gain >= 0 and order.quantity:
            word = "supply" if order.side == SELL else "demand"
            kind = f"{'firm' if gain > 0 else 'indifferent'}_{word}_w"
            answered[order.agent][kind] += order.quantity
    return dict(answered)


def awards_of(awarded: dict[int, tuple[int, int]]) -> Awards:
    agents = sorted(awarded)
    columns = np.array([(a, *awarded[a]) for a in agents], dtype=np.int64).reshape(-1, 3).T
    return Awards(*columns)


@given(books, prices)
@FEWER
def test_each_agents_quantities_are_those_of_its_orders(found: list[Order], price: int) -> None:
    answered = curves_of(found).quantities(price)
    rows = {
        agent: {kind: int(getattr(answered, kind)[row]) for kind in KINDS}
        for row, agent in enumerate(answered.agent.tolist())
    }
    assert rows == answers(found, price)
    assert answered.agent.tolist() == sorted(rows)


@given(books, st.one_of(prices, st.integers(-500_000, 3_000_000)))
@FEWER
def test_sums_are_those_of_all_agents(found: list[Order], price: int) -> None:
    sums = curves_of(found, answered=7, slowest_ms=11).sums(price)
    answered = answers(found, price).values()
    for kind in KINDS:
        assert getattr(sums, kind) == sum(row[kind] for row in answered)
    dearer = sum(o.quantity for o in found if o.side == SELL and o.price > price)
    assert sums.dearer_supply_w == dearer
    assert (sums.answered, sums.slowest_ms) == (7, 11)


@given(books, prices, st.integers(2, 4))
@FEWER
def test_any_split_over_hosts_gives_the_same_total(
    found: list[Order], price: int, hosts: int
) -> None:
    parts = [[o for o in found if o.agent % hosts == host] for host in range(hosts)]
    split = [curves_of(part, answered=host, slowest_ms=host) for host, part in enumerate(parts)]
    together = total(curve.sums(price) for curve in split)
    slowest = hosts - 1
    assert together == curves_of(found, answered=hosts * slowest // 2, slowest_ms=slowest).sums(
        price
    )
    assert together == total(curve.sums(price) for curve in reversed(split))


@given(books, st.integers(-500_000, 2_999_999))
@FEWER
def test_supply_never_falls_and_demand_never_rises_with_the_price(
    found: list[Order], price: int
) -> None:
    curves = curves_of(found)
    low, high = curves.sums(price), curves.sums(price + 1)
    # What is at or below a price is below the next one up, and the other way round.
    assert low.supply_w == high.firm_supply_w
    assert low.firm_demand_w == high.demand_w


@given(books, prices, st.randoms(use_true_random=False))
@FEWER
def test_awards_fill_the_best_orders_first(
    found: list[Order], price: int, rng: random.Random
) -> None:
    awarded = {
        agent: (
            rng.randint(0, row["firm_supply_w"] + row["indifferent_supply_w"]),
            rng.randint(0, row["firm_demand_w"] + row["indifferent_demand_w"]),
        )
        for agent, row in answers(found, price).items()
    }
    expected = [0] * len(found)
    for agent, (supply, demand) in awarded.items():
        for side, left in ((SELL, supply), (BUY, demand)):
            rows = [r for r, o in enumerate(found) if (o.agent, o.side) == (agent, side)]
            for row in sorted(rows, key=lambda r: side * found[r].price):
                expected[row] = min(left, found[row].quantity)
                left -= expected[row]
    strangers = {10**6: (5, 5)}
    filled = curves_of(found).fill(price, awards_of(awarded | strangers))
    assert filled.dtype == np.int64
    assert filled.tolist() == expected


def test_an_absent_agent_has_no_part() -> None:
    found = [Order(SELL, 10, 5, 0), Order(SELL, 10, 7, 1), Order(BUY, 30, 9, 2)]
    curves = curves_of(found, takes_part=np.array([True, False, True]))
    assert curves.sums(10) == Sums(0, 5, 9, 0)
    assert curves.quantities(10).agent.tolist() == [0, 2]
    assert curves.fill(10, awards_of({0: (5, 0), 2: (0, 5)})).tolist() == [5, 0, 5]
    with pytest.raises(ValueError, match="agent 1 was awarded 1 W of supply at 10"):
        curves.fill(10, awards_of({1: (1, 0)}))


@pytest.mark.parametrize(
    ("price", "awarded", "words"),
    [
        (10, {3: (6, 0)}, "agent 3 was awarded 6 W of supply at 10, expected at most the 5 W"),
        (9, {3: (1, 0)}, "expected at most the 0 W it answered"),
        (31, {4: (0, 1)}, "agent 4 was awarded 1 W of demand at 31, expected at most the 0 W"),
        (30, {3: (0, 1)}, "agent 3 was awarded 1 W of demand at 30, expected at most the 0 W"),
    ],
)
def test_more_than_was_answered_is_refused(
    price: int, awarded: dict[int, tuple[int, int]], words: str
) -> None:
    curves = curves_of([Order(SELL, 10, 5, 3), Order(BUY, 30, 9, 4)])
    with pytest.raises(ValueError, match=words):
        curves.fill(price, awards_of(awarded))


def test_nobody_answers_nothing() -> None:
    curves = curves_of([])
    assert curves.sums(5) == Sums(0, 0, 0, 0)
    assert total([]) == Sums(0, 0, 0, 0)
    assert len(curves.quantities(5).agent) == 0
    assert curves.fill(5, awards_of({})).tolist() == []


def test_answers_travel_as_bytes() -> None:
    curves = curves_of([Order(SELL, 10, 5, 3), Order(BUY, 30, 2**50, 4)], answered=2, slowest_ms=9)
    sums, quantities = curves.sums(10), curves.quantities(10)
    assert decode(encode(sums), Sums) == sums
    back = decode(encode(quantities), Quantities)
    for name in Quantities.__struct_fields__:
        assert getattr(back, name).tolist() == getattr(quantities, name).tolist()
        assert getattr(back, name).dtype == np.int64
