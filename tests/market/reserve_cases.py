"""Reserve offers beside energy orders, as agents send them, and what the operator does with them.

Quantities, prices and spare come from a few values, so that ties, shortage, zeros and trimming
through several orders are common. An agent's offers of one direction sum to at most its spare
power and its orders of that direction: what agents promise the market.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from swarm.market.auction import MarketSpec
from swarm.market.orders import BUY, SELL
from swarm.market.outside import Connection
from swarm.messages import Orders, ReserveOffers

from .oracle import Order

CAP_MILLI = 50_000
PRICES = [0, 1, 5_000, 5_001, CAP_MILLI, CAP_MILLI + 1]
ENERGY_PRICES = [-7_000, 0, 10_000, 40_001, 3_000_000]
ORDER_PRICES = [-500_000, 0, 10_000, 20_000, 20_001, 3_000_000]
QUANTITIES = [0, 1, 2, 3, 7, 1_000_003, 30_000_000]
PENALTY_MILLI, FACTOR = 20_000, 2.5
MINUTES = 5
FEW = settings(max_examples=settings.default.max_examples // 2)
"""Half of the profile's examples: each is a market, or many draws at once."""


class Offer(NamedTuple):
    """One reserve offer on the market's grid."""

    agent: int
    product: int
    quantity: int
    price: int
    energy_price: int
    spare: int


@dataclass(frozen=True)
class Case:
    """One tick: orders and offers grouped by agent, and what the operator asks for."""

    agents: int
    orders: list[Order]
    offers: list[Offer]
    asked_w: tuple[int, ...]
    draw: random.Random
    """For whatever else a test needs."""


def _case(seed: int) -> Case:
    draw = random.Random(seed)
    agents = draw.randint(1, 5)
    orders, offers = [], []
    for agent in range(agents):
        own = [
            Order(
                draw.choice([SELL, BUY]), draw.choice(ORDER_PRICES), draw.choice(QUANTITIES), agent
            )
            for _ in range(draw.randint(0, 5))
        ]
        orders += own
        mine = []
        for down, side in enumerate((SELL, BUY)):
            spare = draw.choice(QUANTITIES)
            left = spare + sum(order.quantity for order in own if order.side == side)
            for product in draw.sample([down, down + 2], draw.randint(0, 2)):
                part = draw.choice([left, left // 2, min(left, draw.choice(QUANTITIES))])
                left -= part
                prices = draw.choice(PRICES), draw.choice(ENERGY_PRICES)
                mine.append(Offer(agent, product, part, *prices, spare))
        offers += draw.sample(mine, len(mine))
    asked = tuple(draw.choice(QUANTITIES) * draw.randint(1, 3) for _ in range(4))
    return Case(agents, orders, offers, asked, draw)


cases = st.integers(0, 2**32 - 1).map(_case)


def offer_table(offers: list[Offer]) -> ReserveOffers:
    """The arrays of `offers`, in its order."""
    return ReserveOffers(*np.array(offers, dtype=np.int64).reshape(-1, 6).T.copy())


def order_table(orders: list[Order]) -> Orders:
    """The arrays of `orders`, in its order."""
    side, price, quantity, agent = np.array(orders, dtype=np.int64).reshape(-1, 4).T.copy()
    return Orders(side.astype(np.int8), price, quantity, agent)


def spec(agents: int, **changed: Any) -> MarketSpec:
    """One tick of agents on one host beside a connection, unless `changed`."""
    fields: dict[str, Any] = {
        "mechanism": "uniform_price",
        "vertical_step": "lower",
        "price_floor": -500.0,
        "price_cap": np.full(1, 3_000.0),
        "penalty_per_mwh": PENALTY_MILLI / 1_000,
        "tick_minutes": MINUTES,
        "outside": Connection(10**7, 5, np.array([15.0]), 2.0, 2.0, 0),
        "host_agents": (np.arange(agents),),
        "keep_orders": True,
        "reserve_price_cap_per_mw_h": 50.0,
        "reserve_penalty_factor": FACTOR,
    }
    return MarketSpec(**{**fields, **changed})
