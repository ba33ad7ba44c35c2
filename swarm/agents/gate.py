"""The gate of a shard: the policies of its fleets between trader and market, contract and device.

`trader | policy_check("max_discharge") | ... | dispatch` of `swarm.trust.pipeline` is what runs.
The trader is the agents' policy with the kind's `offer`; the checks are `CHECKS`, every rule in one
order; the dispatch is the kind's `deliver`. A market clears between offer and dispatch, and the
operator may draw on a device in between, so the same checks are asked twice: of the orders before
they are sent (`Gate.offers`) and of what was accepted before a device moves (`Gate.dispatch`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from swarm.agents.kinds import Kind
from swarm.agents.reserve import ReserveShape
from swarm.messages import DOWN, UP, Float, Int
from swarm.scenario.roster import Roster
from swarm.trust.pipeline import Checks, policy_check
from swarm.trust.records import Violations
from swarm.trust.rules import (
    CLIP,
    COUNT,
    MODES,
    MOST_W,
    RULES,
    Limit,
    Proposal,
    ShardView,
    Use,
    declare,
)

if TYPE_CHECKING:
    from swarm.scenario.policies import Policies

CHECKS = Checks(tuple(rule for name in RULES for rule in policy_check(name).rules))
"""Every rule. Records of any shard name the same rules, whichever of them it declares."""
DECLARED: Mapping[str, tuple[str, float]] = {
    "max_discharge_mw": ("max_discharge", 1e6),
    "max_charge_mw": ("max_charge", 1e6),
    "min_state_of_charge": ("min_state_of_charge", 1.0),
    "max_state_of_charge": ("max_state_of_charge", 1.0),
    "max_ramp_up_mw_per_minute": ("max_ramp_up", 1e6),
    "max_ramp_down_mw_per_minute": ("max_ramp_down", 1e6),
    "max_cycles_per_day": ("max_cycles_per_day", 1.0),
    "max_emissions_tonnes_per_day": ("max_emissions_per_day", 1e6),
    "protected_load_share": ("protected_load", 1.0),
    "min_price_per_mwh": ("min_price", 1e3),
    "max_price_per_mwh": ("max_price", 1e3),
    "min_quantity_mw": ("min_quantity", 1e6),
    "max_quantity_mw": ("max_quantity", 1e6),
}
"""Field of `Policies` -> name of its rule, and the rule's units in one of the field's."""
CHANGING = (
    "min_state_of_charge",
    "max_state_of_charge",
    "max_ramp_up",
    "max_ramp_down",
    "max_cycles_per_day",
    "max_emissions_per_day",
)
"""Rules about what may have changed since the offer: asked again before dispatch."""
HELD_UP = (Use.DISCHARGE, Use.REDUCTION)
HELD_DOWN = (Use.CHARGE,)
"""The orders that reserve of a device comes in place of, or goes beyond."""


@dataclass
class Day:
    """What n agents have used up since local midnight, without the last interval.

    Attributes:
        cycled_mwh: energy taken out of the battery, float64 (n,).
        emitted_g: float64 (n,).
    """

    cycled_mwh: Float
    emitted_g: Float


class Gate:
    """Checks the orders of the n agents of one shard; made by `gate_of`.

    `day` is all that it remembers from tick to tick.
    """

    STATE = ("day",)
    """See `swarm.snapshot`."""

    def __init__(
        self,
        kind: Kind,
        parameters: Any,
        agents: Int,
        tick_minutes: float,
        limits: Mapping[str, Limit],
    ) -> None:
        """Args:
        kind: the module of the agents' kind.
        parameters: of its `build`.
        agents: int64 (n,), global indices.
        tick_minutes: length of a tick.
        limits: of n agents each, by name of the rule.
        """
        self._kind, self._parameters, self._agents = kind, parameters, agents
        self._tick_minutes = tick_minutes
        self._limits = limits
        self._changing = {name: limits[name] for name in CHANGING if name in limits}
        self._held = {name: _enforced(limits[name]) for name in limits if name not in _OF_ORDERS}
        self.day = Day(np.zeros(len(agents)), np.zeros(len(agents)))

    def offers(
        self, state: Any, tick: int, hour_of_day: float, price_milli: Int, quantity_w: Int
    ) -> tuple[Int, Int, Violations | None]:
        """What the rules let through of the orders for `tick`.

        The device must still be told the quantities asked for (`Interval.offered_w`): a plant whose
        order was cut keeps to what was accepted, one whose order was not runs with the weather.

        Args:
            state: of the kind, after the interval before `tick`.
            tick: which one.
            hour_of_day: local clock at its start, 0..24.
            price_milli: int64 (n, slots), inside the market's bounds.
            quantity_w: int64 (n, slots).

        Returns:
            Prices, quantities, and the violations; None: there are none.
        """
        asked = Proposal(price_milli, quantity_w)
        view = self._view(state, tick, hour_of_day, quantity_w, self._limits)
        allowed, violations = _decided(asked, view, "offer")
        return allowed.price_milli, allowed.quantity_w, violations

    def dispatch(
        self, state: Any, tick: int, hour_of_day: float, accepted_w: Int
    ) -> tuple[Int, Violations | None]:
        """What the device may act on of what was accepted for `tick`: the rules in `CHANGING`.

        Call it once a tick, before the kind's `deliver` and after its `respond`; it closes the
        books of the interval before. Where several orders share a limit, the first slots keep it.

        Args:
            state: of the kind, after the interval before `tick` and what was drawn in it.
            tick: which one.
            hour_of_day: local clock at its start.
            accepted_w: int64 (n, slots).

        Returns:
            Quantities and the violations; None: there are none.
        """
        view = self._view(state, tick, hour_of_day, accepted_w, self._changing)
        self.day = Day(view.cycled_mwh, view.emitted_g)
        allowed, violations = _decided(
            Proposal(np.zeros_like(accepted_w), accepted_w), view, "dispatch"
        )
        return allowed.quantity_w, violations

    def reserve(
        self, state: Any, tick: int, hour_of_day: float, quantity_w: Int, shape: ReserveShape
    ) -> ReserveShape:
        """The reserve `shape` cut to what the rules leave beside the orders `quantity_w`.

        With all of it drawn a device keeps the limits that an order of that size would have kept.
        Rules of prices and of single orders do not bind reserve, and rules that only count neither.
        Reserve that comes out of energy orders needs no cut: those kept the limits.

        Args:
            state: as for `offers`.
            tick: which one.
            hour_of_day: local clock at its start.
            quantity_w: int64 (n, slots), as `offers` let them through.
            shape: of the kind's `reserve` beside them.
        """
        quantity, spare = shape.quantity.copy(), shape.spare.copy()
        view = self._view(state, tick, hour_of_day, quantity_w, self._held)
        for direction, (uses, products) in enumerate(((HELD_UP, UP), (HELD_DOWN, DOWN))):
            slots = [slot for slot, use in enumerate(self._kind.USES) if use in uses]
            if not slots:
                continue
            most = quantity_w.copy()
            most[:, slots] = _BEYOND_W
            allowed = CHECKS.decide(Proposal(np.zeros_like(most), most), view).allowed
            permitted = allowed.quantity_w[:, slots].sum(axis=1)
            energy = quantity_w[:, slots].sum(axis=1)
            beyond = np.maximum(spare[:, direction] + energy - permitted, 0)
            spare[:, direction] -= beyond
            left = np.maximum(quantity[:, products].sum(axis=1) - beyond, 0)
            containment, restoration = products
            quantity[:, containment] = np.minimum(quantity[:, containment], left)
            quantity[:, restoration] = left - quantity[:, containment]
        return replace(shape, quantity=quantity, spare=spare)

    def _view(
        self,
        state: Any,
        tick: int,
        hour_of_day: float,
        quantity_w: Int,
        limits: Mapping[str, Limit],
    ) -> ShardView:
        """What the rules see before `tick`; its load is what is bought in slots for it."""
        kind, day = self._kind, self.day
        device = kind.device(self._parameters, state, self._tick_minutes / 60, hour_of_day)
        # Whoever has no battery or emits nothing has nothing to book; a rule sees it by the size.
        cycled = day.cycled_mwh + np.nan_to_num(device.discharged_mwh)
        emitted = day.emitted_g + np.nan_to_num(device.emitted_g)
        if round(hour_of_day * 60) < self._tick_minutes:  # the interval before was yesterday's
            cycled, emitted = np.zeros_like(cycled), np.zeros_like(emitted)
        load = [slot for slot, use in enumerate(kind.USES) if use is Use.LOAD]
        return ShardView(
            tick=tick,
            tick_minutes=self._tick_minutes,
            agent=self._agents,
            uses=kind.USES,
            previous_w=device.previous_w,
            stored_mwh=device.stored_mwh,
            capacity_mwh=device.capacity_mwh,
            charge_efficiency=device.charge_efficiency,
            discharge_efficiency=device.discharge_efficiency,
            cycled_mwh=cycled,
            load_w=quantity_w[:, load].sum(axis=1).astype(np.float64),
            emissions_g_per_mwh=device.emissions_g_per_mwh,
            emitted_g=emitted,
            limits=limits,
        )


def gate_of(
    kind: Kind,
    parameters: Any,
    roster: Roster,
    policies: Mapping[str, Policies],
    tick_minutes: float,
) -> Gate | None:
    """The gate of a shard; None where none of its agents has a policy.

    Args:
        kind: the module of the agents' kind.
        parameters: of its `build`.
        roster: the agents, who say which fleet they are of.
        policies: by name of the fleet; fleets without any may be left out.
        tick_minutes: length of a tick.
    """
    limits = {}
    for field, (rule, units) in DECLARED.items():
        given = {name: fleet.declared.get(field) for name, fleet in policies.items()}
        found = {name: limit for name, limit in given.items() if limit is not None}
        members = [found.get(fleet) for fleet in roster.fleets]
        if any(limit is not None for limit in members):
            value = [np.nan if one is None else _in_units(one.limit, units) for one in members]
            mode = [CLIP if one is None else MODES.index(one.on_violation) for one in members]
            limits[rule] = declare(rule, np.array(value), np.array(mode, dtype=np.int8))
    if not limits:
        return None
    agents = np.arange(roster.first, roster.first + len(roster))
    return Gate(kind, parameters, agents, tick_minutes, limits)


_OF_ORDERS = ("min_price", "max_price", "min_quantity", "max_quantity")
_BEYOND_W = MOST_W // 8
"""More than any rule lets through, and a sum of a few of them is exact."""


def _in_units(limit: float, units: float) -> float:
    """On the market's grid of whole watts, grams and milli-currency; a share as it is."""
    return limit if units == 1.0 else float(round(limit * units))


def _enforced(limit: Limit) -> Limit:
    """The limit where it is one, clipping: an order refused at any size may be cut to a smaller."""
    value = np.where(limit.mode == COUNT, np.nan, limit.value)
    return Limit(value, np.full_like(limit.mode, CLIP))


def _decided(
    asked: Proposal, view: ShardView, stage: Literal["offer", "dispatch"]
) -> tuple[Proposal, Violations | None]:
    verdict = CHECKS.decide(asked, view, stage)
    return verdict.allowed, verdict.violations if len(verdict.violations.agent) else None
