"""Exact integer arithmetic on int64 arrays where products would not fit."""

from __future__ import annotations

import numpy as np

from swarm.market.orders import Int


def exact_dot(price: Int, quantity: Int) -> int:
    """Sum of price * quantity as a Python int.

    Exact for |price| < 2**31 and quantities that sum to at most 2**53: each factor is split so
    that every partial dot product fits int64 for up to 2**20 rows a chunk.
    """
    total = 0
    for start in range(0, len(price), 2**20):
        p, q = price[start : start + 2**20], quantity[start : start + 2**20]
        high, low = q >> 26, q & (2**26 - 1)
        p_high, p_low = p >> 16, p & (2**16 - 1)
        total += (int(p @ high) << 26) + (int(p_high @ low) << 16) + int(p_low @ low)
    return total


def share_pro_rata(quantity: Int, agent: Int, amount: int) -> Int:
    """Share `amount` in proportion to `quantity` by largest remainder, then lowest agent.

    The floors come from a float estimate and its residual in wrapping int64 arithmetic: the true
    residual is a few multiples of the sum at most, so it survives the wrap exactly.

    Args:
        quantity: int64 (n,), zero or more, sum at most 2**53.
        agent: int64 (n,), unique, breaks ties between equal remainders.
        amount: from 0 to the sum of `quantity`.

    Returns:
        int64 (n,): between 0 and `quantity`, summing to `amount`.
    """
    total = int(quantity.sum())
    if amount == total:
        return quantity.copy()
    share: Int = np.floor(quantity * (amount / total)).astype(np.int64)
    with np.errstate(over="ignore"):
        residual = quantity * np.int64(amount) - share * np.int64(total)
    share += residual // total
    remainder = residual % total
    left = amount - int(share.sum())
    if left:
        share[np.lexsort((agent, -remainder))[:left]] += 1
    return share


def scaled(price: Int, quantity: Int, numerator: int, denominator: int) -> Int:
    """price * quantity * numerator / denominator, rounded half to even, int64 (n,).

    Raises:
        OverflowError: where price * quantity * numerator does not fit int64.
    """
    largest = np.abs(price).max(initial=0) * np.float64(np.abs(quantity).max(initial=0))
    if largest * numerator >= 2**62:
        raise OverflowError(
            f"a payment of {largest:.3g} milli-currency-watts per MWh does not fit 64 bits"
        )
    product = price * quantity * numerator
    floor, rest = np.divmod(product, denominator)
    up = (2 * rest > denominator) | ((2 * rest == denominator) & (floor % 2 == 1))
    return np.asarray(floor + up, dtype=np.int64)
