"""Double-entry settlement in integer micro-currency: every transaction sums to zero exactly.

Energy: buyers pay and sellers receive the contract price; each payment is rounded half to even and
the residue is booked to the rounding account. In all else the operator is the counterparty.
Imbalance: every deviation of what was metered from what was contracted; energy short pays the
clearing price plus the penalty, energy long receives it less the penalty (two-price balancing).
Response: energy that the operator instructed, without penalty. Availability: reserve that was held
is paid for, reserve sold and not held is fined (Regulation (EU) 2017/2195, articles 44 to 57, has
the same parts: imbalance, activated energy and capacity).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from swarm.market.clearing import Clearing
from swarm.market.exact import scaled
from swarm.market.orders import MILLI_PER_UNIT, Int, OrderBook
from swarm.messages import Response

MICRO_DENOMINATOR = 60_000
"""milli-currency/MWh times watts times minutes, over this, is micro-currency; per MW and h too."""


@dataclass(frozen=True)
class Transaction:
    """One settlement step over all accounts; `participants` + `operator` + `rounding` is zero.

    Attributes:
        participants: int64 (n,), micro-currency each participant receives (negative: pays).
        operator: what the grid operator receives.
        rounding: what the rounding account receives.
    """

    participants: Int
    operator: int
    rounding: int


def settle_energy(
    book: OrderBook, clearing: Clearing, participants: int, tick_minutes: int
) -> Transaction:
    """Pay the contracts of one tick.

    Args:
        book: the orders; `agent` indexes the participants.
        clearing: its outcome.
        participants: number of accounts n.
        tick_minutes: length of the tick.

    Raises:
        OverflowError: where a payment does not fit 64 bits.
    """
    payment = _micro(clearing.pay, clearing.accepted, tick_minutes) * book.side
    received = np.zeros(participants, dtype=np.int64)
    np.add.at(received, book.agent, payment)
    return Transaction(received, 0, -int(payment.sum()))


def settle_imbalance(
    deviation_w: Int, price: int, penalty: Int | int, tick_minutes: int
) -> Transaction:
    """Settle what was delivered beyond (above zero) or short of (below zero) the contracts.

    Args:
        deviation_w: int64 (n,), delivered less contracted net injection, watts.
        price: reference price, milli-currency per MWh.
        penalty: milli-currency per MWh, zero or more; one number or int64 (n,).
        tick_minutes: length of the tick.
    """
    price_of_each = price - np.sign(deviation_w).astype(np.int64) * penalty
    received = _micro(price_of_each, deviation_w, tick_minutes)
    return Transaction(received, -int(received.sum()), 0)


def settle_response(
    response: Response, reference: int, up_price: Int, down_price: Int, tick_minutes: int
) -> Transaction:
    """Pay for what the operator drew: energy it had delivered more, by load shed too, and less.

    What an agent injects more is paid for, what it injects less it pays for, without penalty.

    Args:
        response: int64 (n,) columns, mean watts over the tick.
        reference: price of load shed and generation held back, milli-currency per MWh.
        up_price: int64 (n,), price of activation upwards, milli-currency per MWh.
        down_price: int64 (n,), price of activation downwards, milli-currency per MWh.
        tick_minutes: length of the tick.

    Raises:
        OverflowError: where a payment does not fit 64 bits.
    """
    price = np.where(response.activated_w > 0, up_price, down_price)
    received = _micro(price, response.activated_w, tick_minutes)
    other_w = response.shed_w - response.held_back_w
    received += _micro(np.full(len(other_w), reference), other_w, tick_minutes)
    return Transaction(received, -int(received.sum()), 0)


def settle_availability(sold_w: Int, held_w: Int, price: Int, tick_minutes: int) -> Transaction:
    """Pay the reserve that was sold and held.

    Args:
        sold_w: int64 (n, products).
        held_w: int64 (n, products), what was really there.
        price: int64 (products,), milli-currency per MW and hour.
        tick_minutes: length of the tick.

    Raises:
        OverflowError: where a payment does not fit 64 bits.
    """
    paid_w = np.clip(held_w, 0, sold_w)
    received = _micro(price, paid_w, tick_minutes).sum(axis=1)
    return Transaction(received, -int(received.sum()), 0)


def fine_missing(
    sold_w: Int, held_w: Int, price: Int, factor_milli: int, tick_minutes: int
) -> Transaction:
    """Fine the reserve that was sold and not held: its price times a factor.

    Args:
        sold_w: int64 (n, products).
        held_w: int64 (n, products), what was really there.
        price: int64 (products,), milli-currency per MW and hour.
        factor_milli: thousandths, zero or more.
        tick_minutes: length of the tick.

    Raises:
        OverflowError: where a fine does not fit 64 bits.
    """
    missing_w = sold_w - np.clip(held_w, 0, sold_w)
    numerator, denominator = tick_minutes * factor_milli, MICRO_DENOMINATOR * MILLI_PER_UNIT
    received = -_scaled(price, missing_w, numerator, denominator).sum(axis=1)
    return Transaction(received, -int(received.sum()), 0)


def _micro(price: Int, quantity_w: Int, tick_minutes: int) -> Int:
    return _scaled(price, quantity_w, tick_minutes, MICRO_DENOMINATOR)


def _scaled(price: Int, quantity_w: Int, numerator: int, denominator: int) -> Int:
    divisor = gcd(numerator, denominator)
    return scaled(price, quantity_w, numerator // divisor, denominator // divisor)
