"""The battery inside storage, vehicles and homes: limits, flows and the price rule.

Physics: stored energy e' = e (1 - d)^h + charge h eta_c - discharge h / eta_d, kept between the
floor and the ceiling whatever was sold. Price rule: buy below one quantile of the known prices,
sell above another, and never trade a spread that efficiency and wear eat up. Thresholds on price
are the form the optimal policy takes for a price-taking store (Cruise, Flatley, Gibbens, Zachary:
Control of energy storage with market impact, Operations Research 67, 2019); quantiles are the
usual estimate of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.agents.device import Device, no_device
from swarm.agents.reserve import ReserveShape, by_direction, expected_price, forgone, split
from swarm.agents.view import Interval, View, price_points, watts
from swarm.market.orders import to_milli
from swarm.messages import Float, Int
from swarm.scenario.roster import Roster

ACTION = (
    "charge_share",
    "charge_price_per_mwh",
    "discharge_share",
    "discharge_price_per_mwh",
)


@dataclass(frozen=True)
class Battery:
    """Parameters of n batteries, each float64 (n,); energy in MWh, power in MW."""

    energy_mwh: Float
    power_mw: Float
    charge_efficiency: Float
    discharge_efficiency: Float
    self_discharge_per_hour: Float
    degradation_cost_per_mwh: Float
    floor_mwh: Float
    ceiling_mwh: Float
    initial_mwh: Float
    buy_quantile: Float
    sell_quantile: Float
    buy_price_per_mwh: Float
    """NaN: the quantile decides."""
    sell_price_per_mwh: Float
    """NaN: the quantile decides."""


@dataclass
class State:
    """n batteries."""

    stored_mwh: Float
    before_mwh: Float
    """Energy before the last interval."""
    power_w: Int
    """Power at the meter in the last interval, discharge positive."""


def build(roster: Roster) -> Battery:
    """Parameters from a roster of assets that have a battery."""
    energy = roster.column("energy_mwh")
    one_way = np.sqrt(roster.column("round_trip_efficiency"))
    charge, discharge = roster.column("charge_efficiency"), roster.column("discharge_efficiency")
    return Battery(
        energy_mwh=energy,
        power_mw=roster.column("power_mw"),
        charge_efficiency=np.where(np.isnan(charge), one_way, charge),
        discharge_efficiency=np.where(np.isnan(discharge), one_way, discharge),
        self_discharge_per_hour=roster.column("self_discharge_per_hour"),
        degradation_cost_per_mwh=roster.column("degradation_cost_per_mwh"),
        floor_mwh=energy * roster.column("min_state_of_charge"),
        ceiling_mwh=energy * roster.column("max_state_of_charge"),
        initial_mwh=energy * roster.column("initial_state_of_charge"),
        buy_quantile=roster.column("buy_quantile"),
        sell_quantile=roster.column("sell_quantile"),
        buy_price_per_mwh=roster.column("buy_price_per_mwh"),
        sell_price_per_mwh=roster.column("sell_price_per_mwh"),
    )


def start(p: Battery) -> State:
    """With the initial charge, at rest."""
    return State(p.initial_mwh.copy(), p.initial_mwh, np.zeros(len(p.initial_mwh), dtype=np.int64))


def after_loss(p: Battery, stored_mwh: Float, hours: float) -> Float:
    """Stored energy after `hours` of self-discharge, not below the floor it was above."""
    kept = stored_mwh * (1.0 - p.self_discharge_per_hour) ** hours
    return np.maximum(kept, np.minimum(stored_mwh, p.floor_mwh))


def charge_limit_w(p: Battery, stored_mwh: Float, hours: float) -> Int:
    """Most power it can take for `hours`, watts at the meter, (n,)."""
    room = np.maximum(0.0, p.ceiling_mwh - after_loss(p, stored_mwh, hours))
    return watts(np.minimum(p.power_mw, room / (p.charge_efficiency * hours)))


def discharge_limit_w(p: Battery, stored_mwh: Float, hours: float) -> Int:
    """Most power it can give for `hours`, watts at the meter, (n,)."""
    spare = np.maximum(0.0, after_loss(p, stored_mwh, hours) - p.floor_mwh)
    return watts(np.minimum(p.power_mw, spare * p.discharge_efficiency / hours))


def run(p: Battery, stored_mwh: Float, power_w: Int, hours: float) -> tuple[Int, Float]:
    """Run at `power_w` (discharge positive) for `hours` within its limits.

    Returns:
        The power at the meter it really ran at, int64 (n,), and the energy stored at the end.
    """
    power = np.clip(
        power_w, -charge_limit_w(p, stored_mwh, hours), discharge_limit_w(p, stored_mwh, hours)
    )
    energy = power * (hours / 1e6)
    change = np.where(energy < 0, -energy * p.charge_efficiency, -energy / p.discharge_efficiency)
    stored = after_loss(p, stored_mwh, hours) + change
    # Whole watts keep it inside; the clip only removes the last bit of float rounding.
    low = np.minimum(p.floor_mwh, after_loss(p, stored_mwh, hours))
    high = np.maximum(p.ceiling_mwh, after_loss(p, stored_mwh, hours))
    return power, np.clip(stored, low, high)


def deliver(p: Battery, s: State, wanted_w: Int, hours: float) -> Int:
    """Run the interval at `wanted_w` (discharge positive); the power it ran at, int64 (n,)."""
    s.before_mwh = s.stored_mwh
    s.power_w, s.stored_mwh = run(p, s.before_mwh, wanted_w, hours)
    return s.power_w


def respond(p: Battery, s: State, change_w: Int, hours: float) -> Int:
    """Let the last interval have run at `change_w` more than it did.

    It runs again from the energy before it, so that limits and the energy book hold exactly.

    Returns:
        The wear of it, micro-currency, int64 (n,).
    """
    scheduled = s.power_w
    s.power_w, s.stored_mwh = run(p, s.before_mwh, scheduled + change_w, hours)
    return wear_micro(p, s.power_w, hours) - wear_micro(p, scheduled, hours)


def headroom(p: Battery, s: State, hours: float) -> tuple[Int, Int]:
    """What it could have given and taken more throughout the last interval, int64 (n,) each."""
    up = discharge_limit_w(p, s.before_mwh, hours) - s.power_w
    return up, charge_limit_w(p, s.before_mwh, hours) + s.power_w


def lost_w(p: Battery, s: State, wanted_w: Int, interval: Interval) -> Int:
    """Power that went at once where an outage struck in the last interval, int64 (n,).

    Negative where it would have discharged, positive where it would have charged.
    """
    if interval.struck is None:
        return np.zeros_like(wanted_w)
    ran, _ = run(p, s.before_mwh, wanted_w, interval.tick_hours)
    return np.where(interval.struck, -ran, 0)


def wear_micro(p: Battery, power_w: Int, hours: float) -> Int:
    """Cost of wear of discharging, micro-currency, (n,)."""
    return np.rint(np.maximum(power_w, 0) * p.degradation_cost_per_mwh * hours).astype(np.int64)


def device(p: Battery, s: State, stored_mwh: Float, hours: float) -> Device:
    """What rules need to know of the batteries, which hold `stored_mwh` before the coming tick."""
    known = no_device(len(s.power_w))
    known["previous_w"] = s.power_w.astype(np.float64)
    known["stored_mwh"] = after_loss(p, stored_mwh, hours)
    known["capacity_mwh"] = p.energy_mwh
    known["charge_efficiency"] = p.charge_efficiency
    known["discharge_efficiency"] = p.discharge_efficiency
    known["discharged_mwh"] = np.maximum(s.power_w, 0) * (hours / 1e6) / p.discharge_efficiency
    return Device(**known)


def heuristic(p: Battery, view: View) -> Float:
    """The price rule as an action, (n, 4); by quantile it stands still while no price is known."""
    points = price_points(view.signal)
    known = points if len(points) else np.full(1, np.nan)
    buy = _given(p.buy_price_per_mwh, np.quantile(known, p.buy_quantile))
    sell = np.maximum(np.quantile(known, p.sell_quantile), break_even(p, buy))
    sell = _given(p.sell_price_per_mwh, sell)
    charges, discharges = np.isfinite(buy), np.isfinite(sell)
    return np.column_stack(
        [charges, np.where(charges, buy, 0.0), discharges, np.where(discharges, sell, 0.0)]
    )


def _given(price: Float, otherwise: Float) -> Float:
    return np.where(np.isnan(price), otherwise, price)


def random(p: Battery, view: View) -> Float:
    """Uniform over power -max..max, at prices between the known extremes, (n, 4)."""
    points = price_points(view.signal)
    low, high = (points.min(), points.max()) if len(points) else (0.0, 0.0)
    power = 2.0 * view.uniforms[:, 0] - 1.0
    price = low + (high - low) * view.uniforms[:, 1]
    return np.column_stack([np.maximum(-power, 0.0), price, np.maximum(power, 0.0), price])


def break_even(p: Battery, buy_price: Float) -> Float:
    """Least price at which energy bought at `buy_price` is sold without loss, (n,)."""
    round_trip = p.charge_efficiency * p.discharge_efficiency
    # At a negative price losses are paid for, so they must not lower what the sale must bring.
    return np.maximum(buy_price / round_trip, buy_price) + p.degradation_cost_per_mwh


def orders(p: Battery, stored_mwh: Float, action: Float, view: View) -> tuple[Float, Int]:
    """A buy and a sell order each: prices per MWh (n, 2) and quantities in watts (n, 2).

    The sell price is kept above the buy price, as the market will see them, so that one tick never
    accepts both. In an emergency it does not charge.
    """
    hours, signal = view.tick_hours, view.signal
    share = np.clip(action[:, [0, 2]], 0.0, 1.0)
    limit = np.column_stack(
        [charge_limit_w(p, stored_mwh, hours), discharge_limit_w(p, stored_mwh, hours)]
    )
    quantity = np.floor(share * limit).astype(np.int64)
    price = np.clip(action[:, [1, 3]], signal.price_floor, signal.price_cap)
    buy, sell = to_milli(price).T
    both = (quantity > 0).all(axis=1) & (sell <= buy)
    quantity[both, 1] = 0
    if view.emergency:
        quantity[:, 0] = 0
    return price, quantity


def reserve(
    view: View,
    up_w: Int,
    down_w: Int,
    spare_w: tuple[Int, Int],
    sell_price: Float,
    buy_price: Float,
) -> ReserveShape:
    """Reserve of batteries that can hold `up_w` and `down_w`, (n,) each.

    Its limits are those of the whole tick, so what is held lasts. For holding it asks what its
    energy orders would have earned at the expected price; for activation the prices of those
    orders, which cover losses and wear.

    Args:
        view: what they see.
        up_w: most they can hold upwards.
        down_w: most they can hold downwards.
        spare_w: the part of each that none of their energy orders needs.
        sell_price: of their sell orders, per MWh, (n,).
        buy_price: of their buy orders, per MWh, (n,).
    """
    expected = expected_price(view.signal)
    return ReserveShape(
        quantity=split(up_w, down_w, view.signal.reserve_w),
        price=by_direction(forgone(expected - sell_price), forgone(buy_price - expected)),
        energy_price=by_direction(sell_price, buy_price),
        spare=np.column_stack(spare_w),
    )
