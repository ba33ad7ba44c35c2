"""Reserve against a linear program, a walk and a loop over orders."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from swarm.market.orders import BUY, SELL
from swarm.market.reserve import ReserveContracts, buy_reserve, without_reserve
from swarm.messages import DOWN, UP

from .oracle import Order, walk
from .reserve_cases import CAP_MILLI, FEW, Case, Offer, cases, offer_table
from .strategies import book_of

splits = st.builds(random.Random, st.integers(0, 2**32 - 1))


def bought(case: Case) -> ReserveContracts:
    return buy_reserve(offer_table(case.offers), case.asked_w, CAP_MILLI, case.agents)


def one(offers: list[tuple[int, int]], asked: int) -> ReserveContracts:
    """Containment upwards of (price, quantity) by agents 0, 1, 2, ..."""
    rows = [Offer(agent, 0, watts, milli, 0, 0) for agent, (milli, watts) in enumerate(offers)]
    return buy_reserve(offer_table(rows), (asked, 0, 0, 0), CAP_MILLI, max(1, len(rows)))


# Clearing


@FEW
@given(cases)
def test_each_product_is_the_walk_of_its_offers_against_one_bid(case: Case) -> None:
    found = bought(case)
    for product, asked in enumerate(case.asked_w):
        rows = [r for r, o in enumerate(case.offers) if o.product == product]
        # Offers above the cap stay in: the walk passes them by of itself.
        orders = [
            Order(SELL, o.price, o.quantity, o.agent) for o in map(case.offers.__getitem__, rows)
        ]
        walked = walk([*orders, Order(BUY, CAP_MILLI, asked, case.agents)])
        assert found.price_milli[product] == walked.price
        assert found.bought_w[rows].tolist() == walked.accepted[:-1]
        assert found.total_w()[product] == walked.volume


@FEW
@given(cases)
def test_reserve_costs_the_least_it_can(case: Case) -> None:
    """As bought: most that offers under the cap allow, at least cost (HiGHS)."""
    found = bought(case)
    for product, asked in enumerate(case.asked_w):
        rows = [
            (row, offer)
            for row, offer in enumerate(case.offers)
            if offer.product == product and offer.price <= CAP_MILLI
        ]
        total = sum(offer.quantity for _, offer in rows)
        volume = found.total_w()[product]
        assert volume == min(asked, total)
        if volume == 0:
            assert found.price_milli[product] is None
            continue
        least = linprog(
            c=[offer.price for _, offer in rows],
            A_eq=[[1.0] * len(rows)],
            b_eq=[float(volume)],
            bounds=[(0, offer.quantity) for _, offer in rows],
            method="highs",
        )
        cost = sum(int(found.bought_w[row]) * offer.price for row, offer in rows)
        assert cost == pytest.approx(least.fun, rel=1e-9, abs=1e-3)
        # The dearest bought sets the price; where that is not enough, the cap.
        dearest = max(offer.price for row, offer in rows if found.bought_w[row])
        assert found.price_milli[product] == (dearest if volume == asked else CAP_MILLI)


@pytest.mark.parametrize(
    ("offers", "asked", "price", "sold"),
    [
        ([(5_000, 20), (8_000, 20), (25_000, 20)], 30, 8_000, [20, 10, 0]),
        ([(5_000, 20), (8_000, 20), (25_000, 20)], 40, 8_000, [20, 20, 0]),
        ([(5_000, 20), (8_000, 20), (25_000, 20)], 61, CAP_MILLI, [20, 20, 20]),
        ([(CAP_MILLI + 1, 20), (8_000, 20), (0, 0)], 30, CAP_MILLI, [0, 20, 0]),
        ([(7_000, 30), (7_000, 20), (7_000, 10)], 20, 7_000, [10, 7, 3]),
        ([(7_000, 30)], 0, None, [0]),
        ([], 10, None, []),
    ],
    ids=["partly", "step", "short", "above_cap", "tie", "not_asked", "no_offer"],
)
def test_reserve_by_hand(
    offers: list[tuple[int, int]], asked: int, price: int | None, sold: list[int]
) -> None:
    found = one(offers, asked)
    assert found.price_milli == (price, None, None, None)
    assert found.bought_w.tolist() == sold
    assert found.total_w() == (sum(sold), 0, 0, 0)


@FEW
@given(cases)
def test_permutation_of_agents_changes_nothing(case: Case) -> None:
    by_agent = defaultdict(list)
    for row, offer in enumerate(case.offers):
        by_agent[offer.agent].append(row)
    rows = [
        row
        for agent in case.draw.sample(sorted(by_agent), len(by_agent))
        for row in by_agent[agent]
    ]
    mixed = bought(replace(case, offers=[case.offers[row] for row in rows]))
    found = bought(case)
    assert mixed.price_milli == found.price_milli
    assert mixed.sold_w.tolist() == found.sold_w.tolist()
    assert mixed.bought_w.tolist() == found.bought_w[rows].tolist()


@FEW
@given(cases, splits)
def test_an_offer_in_two_parts_changes_nothing(case: Case, draw: random.Random) -> None:
    parts = []
    for offer in case.offers:
        part = draw.randint(0, offer.quantity)
        parts += [offer._replace(quantity=part), offer._replace(quantity=offer.quantity - part)]
    found, split = bought(case), bought(replace(case, offers=parts))
    assert split.price_milli == found.price_milli
    assert split.bought_w.reshape(-1, 2).sum(axis=1).tolist() == found.bought_w.tolist()


@FEW
@given(cases)
def test_what_agents_sold_is_the_sum_of_what_was_bought_of_them(case: Case) -> None:
    found = bought(case)
    sold = [[0] * 4 for _ in range(case.agents)]
    for offer, watts in zip(case.offers, found.bought_w.tolist(), strict=True):
        sold[offer.agent][offer.product] += watts
    assert found.sold_w.tolist() == sold


@FEW
@given(cases, st.integers(-600_000, 600_000))
def test_energy_is_priced_for_the_agents_good(case: Case, reference: int) -> None:
    found = bought(case)
    up, down = [reference] * case.agents, [reference] * case.agents
    for offer, watts in zip(case.offers, found.bought_w.tolist(), strict=True):
        if watts and offer.product in UP:
            up[offer.agent] = max(up[offer.agent], offer.energy_price)
        if watts and offer.product in DOWN:
            down[offer.agent] = min(down[offer.agent], offer.energy_price)
    assert [price.tolist() for price in found.energy_prices(reference)] == [up, down]


# What it takes out of the energy orders


def trimmed(case: Case, sold_w: list[list[int]]) -> list[int]:
    """Quantity left of each order: order by order, the dearest sell, the cheapest buy first."""
    left = [order.quantity for order in case.orders]
    for agent in range(case.agents):
        for side, products in ((SELL, UP), (BUY, DOWN)):
            spare = {o.spare for o in case.offers if o.agent == agent and o.product in products}
            need = sum(sold_w[agent][product] for product in products) - sum(spare)
            rows = [r for r, o in enumerate(case.orders) if (o.agent, o.side) == (agent, side)]
            for row in sorted(rows, key=lambda r: (-side * case.orders[r].price, -r)):
                part = min(max(need, 0), left[row])
                left[row] -= part
                need -= part
    return left


@FEW
@given(cases)
def test_reserve_leaves_the_dearest_sells_and_the_cheapest_buys(case: Case) -> None:
    outside = [Order(SELL, 20_000, 7, case.agents), Order(BUY, 0, 7, case.agents)]
    found, book = bought(case), book_of([*case.orders, *outside])
    after = without_reserve(book, found)
    assert after.quantity.tolist() == [*trimmed(case, found.sold_w.tolist()), 7, 7]
    for name in ("side", "price", "agent"):
        assert getattr(after, name) is getattr(book, name)


def test_what_is_taken_by_hand() -> None:
    """25 W of 30 sold upwards are not spare: 10 of the order at 40, 10 and 5 of those at 30."""
    orders = [
        Order(SELL, 30_000, 10, 0),
        Order(SELL, 40_000, 10, 0),
        Order(BUY, 90_000, 10, 0),
        Order(SELL, 30_000, 10, 0),
        Order(SELL, 99_000, 10, 1),
    ]
    offers = [Offer(0, 0, 20, 0, 0, 5), Offer(0, 2, 10, 0, 0, 5)]
    found = buy_reserve(offer_table(offers), (20, 0, 10, 0), CAP_MILLI, 2)
    assert without_reserve(book_of(orders), found).quantity.tolist() == [5, 0, 10, 0, 10]


def test_reserve_within_the_spare_power_takes_nothing() -> None:
    offers = [Offer(0, 1, 20, 0, 0, 30), Offer(0, 3, 10, 0, 0, 30)]
    found = buy_reserve(offer_table(offers), (0, 20, 0, 10), CAP_MILLI, 1)
    book = book_of([Order(BUY, 10_000, 5, 0)])
    assert found.total_w() == (0, 20, 0, 10)
    assert without_reserve(book, found).quantity.tolist() == [5]


# Bad offers

GOOD = Offer(1, 2, 10, 5_000, 0, 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"agent": -1}, r"agent = -1, expected 0\.\.1"),
        ({"agent": 2}, r"agent = 2, expected 0\.\.1"),
        ({"product": 4}, r"product = 4, expected 0\.\.3"),
        ({"product": -1}, r"product = -1, expected 0\.\.3"),
        ({"quantity": -5}, r"quantity = -5, expected zero or more"),
        ({"price": -1}, r"price = -1, expected zero or more"),
        ({"spare": -1}, r"spare = -1, expected zero or more"),
        ({"product": 0, "spare": 4}, r"spare = 3, expected the same in every row"),
    ],
)
def test_a_bad_offer_is_refused_by_row(changed: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^reserve offer [01] of agent -?\d: {message}"):
        buy_reserve(offer_table([GOOD, GOOD._replace(**changed)]), (0,) * 4, CAP_MILLI, 2)


def test_columns_of_different_length_are_refused() -> None:
    table = replace(offer_table([GOOD]), price=np.zeros(2, dtype=np.int64))
    with pytest.raises(ValueError, match=r"differ in length: .*'price': 2"):
        buy_reserve(table, (0,) * 4, CAP_MILLI, 2)
