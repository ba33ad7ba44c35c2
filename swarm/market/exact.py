"""Exact integer arithmetic on int64 arrays where products would not fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swarm.market.orders import Int


def exact_dot(
    sign: NDArray[np.int8 | np.bool_], price: Int, quantity: Int, limit: int = 2**84
) -> int:
    """Sum of sign * price * quantity as a Python int.

    int64 wraps around at 2**64; a float64 estimate, off by far less than half of that, tells how
    often it did.

    Args:
        sign: int8 or bool (n,), -1, 0 or 1.
        price: int64 (n,), |price| < 2**31.
        quantity: int64 (n,), the absolute values sum to at most 2**53.
        limit: of the sum of |price * quantity|, where the caller knows one.
    """
    wrapped = int(np.einsum("i,i,i", sign, price, quantity))
    if limit < 2**63:
        return wrapped
    estimate = float(np.einsum("i,i,i", sign, price, quantity, dtype=np.float64))
    return wrapped + round((estimate - wrapped) / 2**64) * 2**64


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
        OverflowError: where price * quantity * numerator or the sum of the results does not fit
            int64.
    """
    size = np.abs(np.multiply(price, quantity, dtype=np.float64)) * numerator
    if size.max(initial=0) >= 2**62 or size.sum() >= 2**62 * denominator:
        raise OverflowError(
            f"payments of up to {size.max() / denominator:.3g} micro-currency, "
            f"{size.sum() / denominator:.3g} in all, do not fit 64 bits"
        )
    product = price * quantity * numerator
    floor, rest = np.divmod(product, denominator)
    up = (2 * rest > denominator) | ((2 * rest == denominator) & (floor % 2 == 1))
    return np.asarray(floor + up, dtype=np.int64)
