"""Double-entry settlement in integer micro-currency: every transaction sums to zero exactly.

Two transactions a tick. Energy: buyers pay and sellers receive the contract price; each payment is
rounded half to even and the residue is booked to the rounding account. Imbalance: the operator is
the counterparty of every deviation of what happened from what was contracted. Energy short pays
the clearing price plus the penalty, energy long receives it less the penalty (two-price balancing).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from swarm.market.clearing import Clearing
from swarm.market.exact import scaled
from swarm.market.orders import Int, OrderBook

MICRO_DENOMINATOR = 60_000
"""milli-currency/MWh times watts times minutes, over this, is micro-currency."""


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


def _micro(price: Int, quantity_w: Int, tick_minutes: int) -> Int:
    divisor = gcd(tick_minutes, MICRO_DENOMINATOR)
    return scaled(price, quantity_w, tick_minutes // divisor, MICRO_DENOMINATOR // divisor)
