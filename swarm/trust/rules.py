"""Policies that stand between a trader and its dispatch: what each rule lets through.

A rule only ever takes away: what it lets through is at most what was asked, and nothing is always
allowed, so a device that is refused falls to rest. Where several orders share one limit, the best
ones keep it: sells from the cheapest, buys from the dearest, equal prices by slot.

A rule whose input is not known (NaN, a battery rule where there is no battery) lets nothing
through: what cannot be judged is not allowed.

What happens to an order beyond a rule is declared with its limit, see `MODES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from swarm.errors import UsageError, nearest
from swarm.messages import Float, Int

Codes = NDArray[np.int8]
MODES = ("clip", "refuse", "count")
"""What happens to an order beyond a rule: cut to the limit, refused whole, or let through and
counted. A mode's code is its index."""
CLIP, REFUSE, COUNT = range(3)
MOST_W = 2**53
"""A power that no limit reaches, watts."""


class Use(Enum):
    """What an order slot is for, and its side: +1 sells, -1 buys."""

    GENERATION = ("generation", 1)
    SURPLUS = ("surplus", 1)
    """Sun that a home does not need itself."""
    DISCHARGE = ("discharge", 1)
    REDUCTION = ("reduction", 1)
    """Load put off or cut."""
    LOAD = ("load", -1)
    CATCH_UP = ("catch_up", -1)
    """Load that was put off before."""
    CHARGE = ("charge", -1)
    URGENT_CHARGE = ("urgent_charge", -1)
    """Charging that cannot wait, at any price."""

    @property
    def side(self) -> int:
        """+1 sells, -1 buys."""
        return int(self.value[1])


@dataclass(frozen=True)
class Proposal:
    """Orders of n agents in k slots, or what was accepted of them.

    Attributes:
        price_milli: int64 (n, k), milli-currency per MWh.
        quantity_w: int64 (n, k), watts, zero or more; zero is no order.
    """

    price_milli: Int
    quantity_w: Int

    def __post_init__(self) -> None:
        for name in ("price_milli", "quantity_w"):
            got = getattr(self, name)
            if got.dtype != np.int64 or got.ndim != 2 or got.shape != self.quantity_w.shape:
                raise ValueError(
                    f"{name}: expected int64 of shape {self.quantity_w.shape} (agents, slots), "
                    f"got {got.dtype} of shape {got.shape}"
                )
        if (self.quantity_w < 0).any():
            raise ValueError(f"quantity_w: expected zero or more, got {self.quantity_w.min()}")


@dataclass(frozen=True)
class ShardView:
    """What rules need to know of the n agents of a shard, before one tick.

    Arrays are (n,); NaN where an agent has no such thing.

    Attributes:
        tick: which one.
        tick_minutes: its length.
        agent: int64, global index.
        uses: what each of the k order slots is for.
        previous_w: net power in the last interval, injection positive.
        stored_mwh: energy in the battery at the end of the tick if it rests.
        capacity_mwh: size of the battery.
        charge_efficiency: of the way in, 0..1.
        discharge_efficiency: of the way out, 0..1.
        cycled_mwh: energy taken out of the battery since midnight.
        load_w: load of the tick before any reduction.
        emissions_g_per_mwh: of generation.
        emitted_g: since midnight.
        limits: what was declared, by name of the rule; who is not in it has no limit.
    """

    tick: int
    tick_minutes: float
    agent: Int
    uses: tuple[Use, ...]
    previous_w: Float
    stored_mwh: Float
    capacity_mwh: Float
    charge_efficiency: Float
    discharge_efficiency: Float
    cycled_mwh: Float
    load_w: Float
    emissions_g_per_mwh: Float
    emitted_g: Float
    limits: Mapping[str, Limit]

    @property
    def hours(self) -> float:
        """Length of the tick in hours."""
        return self.tick_minutes / 60


@dataclass(frozen=True)
class Limit:
    """What was declared of one rule for the n agents of a shard; made by `declare`.

    Attributes:
        value: float64 (n,), in the rule's unit; NaN: the agent has no such limit.
        mode: int8 (n,), index into `MODES`.
    """

    value: Float
    mode: Codes


class Rule(Protocol):
    """One rule."""

    @property
    def name(self) -> str:
        """Its name in scenarios, results and the audit log."""

    @property
    def unit(self) -> str:
        """Unit of its limit."""

    @property
    def range(self) -> tuple[float, float]:
        """Least and largest limit that makes sense."""

    def check(self, asked: Proposal, view: ShardView, limit: Float) -> Proposal:
        """What the rule allows of `asked`, clipped.

        Args:
            asked: n agents, k slots.
            view: of the same agents.
            limit: float64 (n,), NaN where an agent has none.
        """


@dataclass(frozen=True)
class SumRule:
    """The orders of some uses together stay at or below a power.

    Attributes:
        name: see `Rule`.
        unit: see `Rule`.
        range: see `Rule`.
        uses: which orders, all of one side.
        most_w: from the limit, (n,), and the view to the power, (n,).
    """

    name: str
    unit: str
    range: tuple[float, float]
    uses: tuple[Use, ...]
    most_w: Callable[[Float, ShardView], Float]

    def check(self, asked: Proposal, view: ShardView, limit: Float) -> Proposal:
        """See `Rule`."""
        slots = [slot for slot, use in enumerate(view.uses) if use in self.uses]
        if not slots:
            return asked
        with np.errstate(divide="ignore", invalid="ignore"):
            most = self.most_w(limit, view)
        # Unknown is nothing; a power is kept inside int64 before it becomes one.
        most = np.where(np.isnan(most), 0.0, np.floor(np.clip(most, 0.0, MOST_W)))
        most_w = np.where(np.isnan(limit), MOST_W, most).astype(np.int64)
        quantity = asked.quantity_w[:, slots]
        if (quantity.sum(axis=1) <= most_w).all():
            return asked
        merit = self.uses[0].side * asked.price_milli[:, slots]
        order = np.argsort(merit, axis=1, kind="stable")
        sorted_w = np.take_along_axis(quantity, order, axis=1)
        before = np.cumsum(sorted_w, axis=1) - sorted_w
        kept = np.clip(most_w[:, None] - before, 0, sorted_w)
        allowed = asked.quantity_w.copy()
        back = np.empty_like(kept)
        np.put_along_axis(back, order, kept, axis=1)
        allowed[:, slots] = back
        return replace(asked, quantity_w=allowed)


@dataclass(frozen=True)
class PriceRule:
    """Prices of orders that are for choice stay at or above (`lowest`), or at or below, a bound.

    Load and urgent charging are bought at any price and are not bound.
    """

    name: str
    lowest: bool
    unit: str = "milli-currency per MWh"
    range: tuple[float, float] = (-(2.0**31) + 1, 2.0**31 - 1)

    def check(self, asked: Proposal, view: ShardView, limit: Float) -> Proposal:
        """See `Rule`."""
        bound = np.nan_to_num(np.ceil(limit) if self.lowest else np.floor(limit))
        bound_milli = bound.astype(np.int64)[:, None]
        price = asked.price_milli
        beyond = price < bound_milli if self.lowest else price > bound_milli
        beyond &= _for_choice(view) & (asked.quantity_w > 0) & ~np.isnan(limit)[:, None]
        return replace(asked, price_milli=np.where(beyond, bound_milli, price))


@dataclass(frozen=True)
class SizeRule:
    """Orders that are for choice are at least (`lowest`; smaller are dropped) or at most so large.

    Load and urgent charging are not bound.
    """

    name: str
    lowest: bool
    unit: str = "W"
    range: tuple[float, float] = (0.0, float(MOST_W))

    def check(self, asked: Proposal, view: ShardView, limit: Float) -> Proposal:
        """See `Rule`."""
        quantity, size = asked.quantity_w, np.nan_to_num(limit)[:, None]
        if self.lowest:
            allowed = np.where(quantity < size, 0, quantity)
        else:
            allowed = np.minimum(quantity, np.floor(size).astype(np.int64))
        bound = _for_choice(view) & ~np.isnan(limit)[:, None]
        return replace(asked, quantity_w=np.where(bound, allowed, quantity))


def _for_choice(view: ShardView) -> NDArray[np.bool_]:
    """bool (k,): order slots that may as well stay empty."""
    return np.array([use not in (Use.LOAD, Use.URGENT_CHARGE) for use in view.uses], dtype=bool)


def _above_floor(share: Float, view: ShardView) -> Float:
    spare_mwh = view.stored_mwh - share * view.capacity_mwh
    return _power_w(spare_mwh * view.discharge_efficiency, view)


def _below_ceiling(share: Float, view: ShardView) -> Float:
    room_mwh = share * view.capacity_mwh - view.stored_mwh
    return _power_w(room_mwh / view.charge_efficiency, view)


def _cycles(cycles: Float, view: ShardView) -> Float:
    left_mwh = cycles * view.capacity_mwh - view.cycled_mwh
    return _power_w(left_mwh * view.discharge_efficiency, view)


def _emissions(cap_g: Float, view: ShardView) -> Float:
    rate = view.emissions_g_per_mwh
    power_w = _power_w((cap_g - view.emitted_g) / rate, view)
    return np.where(rate <= 0, np.inf, power_w)


def _power_w(energy_mwh: Float, view: ShardView) -> Float:
    return energy_mwh / view.hours * 1e6


_DEVICE_SELLS = (Use.GENERATION, Use.DISCHARGE)
_DEVICE_BUYS = (Use.CHARGE, Use.URGENT_CHARGE)
_POWER = ("W", (0.0, float(MOST_W)))
_SHARE = ("share", (0.0, 1.0))
_RAMP = ("W per minute", (0.0, float(MOST_W)))
_DAILY = (0.0, 1e18)
RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        SumRule("max_discharge", *_POWER, (Use.DISCHARGE,), lambda limit, view: limit),
        SumRule("max_charge", *_POWER, _DEVICE_BUYS, lambda limit, view: limit),
        SumRule("min_state_of_charge", *_SHARE, (Use.DISCHARGE,), _above_floor),
        SumRule("max_state_of_charge", *_SHARE, _DEVICE_BUYS, _below_ceiling),
        SumRule(
            "max_ramp_up",
            *_RAMP,
            _DEVICE_SELLS,
            lambda limit, view: view.previous_w + limit * view.tick_minutes,
        ),
        SumRule(
            "max_ramp_down",
            *_RAMP,
            _DEVICE_BUYS,
            lambda limit, view: limit * view.tick_minutes - view.previous_w,
        ),
        SumRule("max_cycles_per_day", "cycles", _DAILY, (Use.DISCHARGE,), _cycles),
        SumRule("max_emissions_per_day", "g", _DAILY, (Use.GENERATION,), _emissions),
        SumRule(
            "protected_load",
            *_SHARE,
            (Use.REDUCTION,),
            lambda share, view: (1.0 - share) * view.load_w,
        ),
        PriceRule("min_price", lowest=True),
        PriceRule("max_price", lowest=False),
        SizeRule("min_quantity", lowest=True),
        SizeRule("max_quantity", lowest=False),
    )
}
"""The built-in rules by name. Ramps bound how far a device may move away, not its return to rest;
protected load is the share of the load that may not be offered or cut."""


def rule_of(name: str) -> Rule:
    """The built-in rule called `name`.

    Raises:
        UsageError: where there is none.
    """
    if name not in RULES:
        raise UsageError(f"policy {name!r}: no such rule{nearest(name, RULES)}")
    return RULES[name]


def declare(rule: str | Rule, value: Float, mode: Codes) -> Limit:
    """The limit of a rule for n agents.

    Args:
        rule: the rule, or the name of a built-in one.
        value: float64 (n,), in the rule's unit; NaN: the agent has no such limit.
        mode: int8 (n,), index into `MODES`.

    Raises:
        UsageError: where there is no such rule or mode, or a limit is outside its range.
        ValueError: where the shapes differ.
    """
    rule = rule_of(rule) if isinstance(rule, str) else rule
    value, mode = np.asarray(value, dtype=np.float64), np.asarray(mode, dtype=np.int8)
    if value.ndim != 1 or value.shape != mode.shape:
        raise ValueError(
            f"policy {rule.name}: expected value and mode of shape (agents,), "
            f"got {value.shape} and {mode.shape}"
        )
    unknown = (mode < 0) | (mode >= len(MODES))
    if unknown.any():
        raise UsageError(
            f"policy {rule.name}: mode {mode[unknown][0]}, expected 0 to {len(MODES) - 1} "
            f"({', '.join(MODES)})"
        )
    low, high = rule.range
    bad = ~((value >= low) & (value <= high)) & ~np.isnan(value)
    if bad.any():
        raise UsageError(
            f"policy {rule.name}: limit {value[bad][0]:g} {rule.unit}, expected {low:g} to {high:g}"
        )
    return Limit(value, mode)
