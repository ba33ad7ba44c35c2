"""From what groups of devices gave in an interval to whole watts of each agent.

Every share is pro rata to what the agent had there, by largest remainder, so it never exceeds it
and the sum over agents is exact. Load is cut in the declared order instead.
"""

from __future__ import annotations

import numpy as np

from swarm.market.exact import share_pro_rata
from swarm.messages import Int


def share_out(amount_w: float, limit_w: Int) -> Int:
    """Share `amount_w` (zero or more) in proportion to `limit_w`, int64 (n,); never beyond it."""
    total = int(limit_w.sum())
    amount = min(round(amount_w), total)
    if amount <= 0:
        return np.zeros_like(limit_w)
    return share_pro_rata(limit_w, np.arange(len(limit_w)), amount)


def share_signed(amount_w: float, up_w: Int, down_w: Int) -> Int:
    """Share an amount by `up_w` where it is positive, by `down_w` where negative, int64 (n,)."""
    return share_out(amount_w, up_w) if amount_w >= 0 else -share_out(-amount_w, down_w)


def share_by_group(amount_w: np.ndarray, group: Int, up_w: Int, down_w: Int) -> Int:
    """Share the amount of each group among its agents.

    Args:
        amount_w: float64 (g,), signed.
        group: int64 (n,), group of each agent.
        up_w: int64 (n,), what each had upwards.
        down_w: int64 (n,), what each had downwards.
    """
    found = np.zeros_like(up_w)
    for index, amount in enumerate(amount_w):
        if amount != 0.0:
            rows = np.flatnonzero(group == index)
            found[rows] = share_signed(float(amount), up_w[rows], down_w[rows])
    return found


def shed_in_order(amount_w: float, load_w: Int, critical_w: Int, priority: Int) -> Int:
    """Cut `amount_w` of load: non-critical load first, by priority, then by agent; int64 (n,).

    Args:
        amount_w: zero or more.
        load_w: int64 (n,), load there is.
        critical_w: int64 (n,), part of it that goes last.
        priority: int64 (n,), lower goes first.
    """
    left = min(round(amount_w), int(load_w.sum()))
    order = np.argsort(priority, kind="stable")
    shed = np.zeros_like(load_w)
    for part in (load_w - critical_w, critical_w):
        there = part[order]
        taken = np.clip(left - (np.cumsum(there) - there), 0, there)
        shed[order] += taken
        left -= int(taken.sum())
    return shed
