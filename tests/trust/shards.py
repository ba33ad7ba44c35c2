"""Small shards, orders and limits for the tests of policies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from swarm.trust.pipeline import Verdict, policy_check
from swarm.trust.rules import CLIP, Limit, Proposal, ShardView, Use

FIRST = 40
"""Global index of the first agent."""
HOME = (Use.LOAD, Use.GENERATION, Use.CHARGE, Use.DISCHARGE)
NAN = float("nan")


def view_of(n: int, uses: tuple[Use, ...], **given: Any) -> ShardView:
    """A shard in which everything is known and ample; `given` replaces fields."""
    values: dict[str, Any] = {
        "previous_w": np.zeros(n),
        "stored_mwh": np.full(n, 50.0),
        "capacity_mwh": np.full(n, 100.0),
        "charge_efficiency": np.full(n, 0.8),
        "discharge_efficiency": np.full(n, 0.8),
        "cycled_mwh": np.zeros(n),
        "load_w": np.full(n, 20.0),
        "emissions_g_per_mwh": np.full(n, 500_000.0),
        "emitted_g": np.zeros(n),
        "limits": {},
    }
    return ShardView(
        tick=3,
        tick_minutes=5,
        agent=np.arange(FIRST, FIRST + n),
        uses=uses,
        **(values | given),
    )


def proposal(quantity: list[list[int]], price: list[list[int]] | None = None) -> Proposal:
    quantity_w = np.array(quantity, dtype=np.int64)
    price_milli = np.array(price, dtype=np.int64) if price else np.zeros_like(quantity_w)
    return Proposal(price_milli, quantity_w)


def limit(*values: float) -> Limit:
    """What is beyond it is clipped."""
    return Limit(np.array(values, dtype=np.float64), np.full(len(values), CLIP, np.int8))


def decide(name: str, asked: Proposal, view: ShardView, bound: Limit) -> Verdict:
    return policy_check(name).decide(asked, replace(view, limits={name: bound}))


def assert_same(one: Proposal, other: Proposal) -> None:
    np.testing.assert_array_equal(one.quantity_w, other.quantity_w)
    np.testing.assert_array_equal(one.price_milli, other.price_milli)
