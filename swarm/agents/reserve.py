"""Reserve an agent holds beside its energy: what a kind offers, and what of it was there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from swarm.agents.view import View
from swarm.market.orders import MAX_PRICE_MILLI, to_milli
from swarm.messages import (
    DOWN,
    RESERVE_PRODUCTS,
    UP,
    Float,
    Int,
    Meters,
    ReserveOffers,
    Signal,
)


@dataclass(frozen=True)
class ReserveShape:
    """Reserve the agents of one shard offer for one tick, columns as in `RESERVE_PRODUCTS`.

    The sum of the quantities of one direction is what the device can hold besides the energy
    orders that stay when the market has taken `sold - spare` out of the dearest sells (up) or the
    cheapest buys (down).

    Attributes:
        quantity: int64 (n, 4), watts, zero or more.
        price: float64 (n, 4), for holding it, per MW and hour.
        energy_price: float64 (n, 4), for its activation, per MWh.
        spare: int64 (n, 2), up and down: watts it has beyond all its energy orders.
    """

    quantity: Int
    price: Float
    energy_price: Float
    spare: Int


def by_direction(up: Float, down: Float) -> Float:
    """Columns of `RESERVE_PRODUCTS` with `up` and `down` (n,) for both products each, (n, 4)."""
    return np.column_stack([up, down, up, down])


def split(up_w: Int, down_w: Int, asked_w: tuple[int, ...]) -> Int:
    """Capability of each direction, (n,), as quantities of the four products, int64 (n, 4).

    A device that is quick enough for containment and lasts long enough for restoration offers both
    in the proportion in which the operator asks for them.
    """
    quantity = np.zeros((len(up_w), len(RESERVE_PRODUCTS)), dtype=np.int64)
    for (containment, restoration), total in ((UP, up_w), (DOWN, down_w)):
        asked = asked_w[containment] + asked_w[restoration]
        share = asked_w[containment] / asked if asked else 0.0
        quantity[:, containment] = np.floor(np.maximum(total, 0) * share)
        quantity[:, restoration] = np.maximum(total, 0) - quantity[:, containment]
    return quantity


def expected_price(signal: Signal) -> float:
    """Price per MWh expected for the tick: the forecast, else the last price; NaN: none known."""
    forecast = float(signal.price_forecast[0])
    return forecast if np.isfinite(forecast) else signal.price_per_mwh


def forgone(gain_per_mwh: Float) -> Float:
    """Opportunity cost of not trading at this gain: the gain where there is one, (n,).

    NaN, a gain nobody can know, counts as none.
    """
    return np.where(gain_per_mwh > 0, gain_per_mwh, 0.0)


def to_offers(shape: ReserveShape, view: View, agents: Int) -> ReserveOffers | None:
    """The offers of these agents (n,) on the market's grid; None: nobody offers any.

    Only products that are asked for, and nothing of agents that stand.
    """
    signal = view.signal
    wanted = np.array(signal.reserve_w) > 0
    row, product = np.nonzero((shape.quantity > 0) & wanted & ~view.standing[:, None])
    if not len(row):
        return None
    energy_price = np.clip(shape.energy_price, signal.price_floor, signal.price_cap)
    return ReserveOffers(
        agent=agents[row],
        product=product,
        quantity=shape.quantity[row, product],
        price=to_milli(np.clip(shape.price[row, product], 0.0, MAX_PRICE_MILLI / 1000)),
        energy_price=to_milli(energy_price[row, product]),
        # Products alternate up and down.
        spare=np.maximum(shape.spare, 0)[row, product % 2],
    )


def with_reserve(meters: Meters, offers: ReserveOffers, sold_w: Int, first: int) -> Meters:
    """The meters of a shard with what was there of the reserve it sold: containment first.

    Args:
        meters: of n agents, the first of which has the global index `first`.
        offers: what they offered.
        sold_w: int64 (offers,), sold of each.
        first: see `meters`.
    """
    sold = np.zeros((len(meters.up_w), len(RESERVE_PRODUCTS)), dtype=np.int64)
    sold[offers.agent - first, offers.product] = sold_w
    containment_up = np.minimum(sold[:, 0], meters.up_w)
    containment_down = np.minimum(sold[:, 1], meters.down_w)
    return replace(
        meters,
        containment_up_w=containment_up,
        containment_down_w=containment_down,
        restoration_up_w=np.minimum(sold[:, 2], meters.up_w - containment_up),
        restoration_down_w=np.minimum(sold[:, 3], meters.down_w - containment_down),
    )
