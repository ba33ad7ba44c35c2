"""Homes: solar, load and battery behind one meter; the market sees one agent.

The meter buys the load that its own sun does not cover at the price cap and sells surplus sun at
zero; the battery follows the quantile rule of `battery`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.agents import battery
from swarm.agents.view import Interval, View, noisy, watts
from swarm.market.orders import BUY, SELL
from swarm.messages import Float, Int, Meters, no_meters
from swarm.scenario.roster import Roster

ACTION = battery.ACTION
SIDES = (BUY, SELL, BUY, SELL)
"""Slot 0 is load not covered by sun, slot 1 surplus sun, slots 2 and 3 the battery."""


@dataclass(frozen=True)
class Parameters:
    """n homes; power in MW."""

    battery: battery.Battery
    load_mw: Float
    load_noise: Float
    solar_mw: Float


@dataclass
class State:
    """n homes."""

    stored_mwh: Float


def build(roster: Roster) -> Parameters:
    """Parameters of the homes in `roster`."""
    return Parameters(
        battery=battery.build(roster),
        load_mw=roster.column("load_mw"),
        load_noise=roster.column("load_noise"),
        solar_mw=roster.column("solar_mw"),
    )


def series(roster: Roster) -> dict[str, tuple[str, ...]]:
    """World series each agent needs: its load and its sun."""
    return {
        "load": tuple(asset["load_profile"] for asset in roster.assets),
        "availability": tuple(asset["solar_profile"] for asset in roster.assets),
    }


def start(p: Parameters) -> State:
    """State before the first tick."""
    return State(p.battery.initial_mwh.copy())


def heuristic(p: Parameters, s: State, view: View) -> Float:
    """The quantile rule for the battery; load and sun are not for choice."""
    return battery.heuristic(p.battery, view)


def random(p: Parameters, s: State, view: View) -> Float:
    """Uniform battery power and price, see `battery.random`."""
    return battery.random(p.battery, view)


def offer(p: Parameters, s: State, view: View, action: Float) -> tuple[Float, Int]:
    """Net load at the cap, surplus sun at zero, battery orders, (n, 4) each."""
    load = watts(p.load_mw * np.maximum(view.forecast["load"], 0.0))
    sun = watts(p.solar_mw * np.clip(view.forecast["availability"], 0.0, 1.0))
    sun[view.standing] = 0
    price, quantity = battery.orders(p.battery, s.stored_mwh, action, view)
    quantity[view.standing] = 0
    n = len(load)
    return (
        np.column_stack([np.full(n, view.signal.price_cap), np.zeros(n), price]),
        np.column_stack([np.maximum(load - sun, 0), np.maximum(sun - load, 0), quantity]),
    )


def deliver(p: Parameters, s: State, interval: Interval) -> Meters:
    """Run load, sun and battery through the interval; an outage stops sun and battery."""
    meters = no_meters(len(p.load_mw))
    accepted, offered = interval.accepted_w, interval.offered_w
    wanted = watts(
        noisy(p.load_mw * interval.actual["load"], p.load_noise, interval.uniforms[:, 0])
    )
    available = watts(p.solar_mw * np.clip(interval.actual["availability"], 0.0, 1.0))
    available[interval.failed] = 0

    rationed = accepted[:, 0] < offered[:, 0]
    load = np.where(rationed, np.minimum(wanted, available + accepted[:, 0]), wanted)
    capped = accepted[:, 1] < offered[:, 1]
    sun = np.where(capped, np.minimum(available, load + accepted[:, 1]), available)
    trade = np.where(interval.failed, 0, accepted[:, 3] - accepted[:, 2])
    power, s.stored_mwh = battery.run(p.battery, s.stored_mwh, trade, interval.tick_hours)

    meters["load_w"], meters["generation_w"], meters["battery_w"] = load, sun, power
    meters["delivered_w"] = sun - load + power
    meters["unserved_w"] = wanted - load
    meters["available_w"] = available
    meters["curtailed_w"] = available - sun
    meters["cost_micro"] = battery.wear_micro(p.battery, power, interval.tick_hours)
    meters["stored_mwh"] = s.stored_mwh.copy()
    return Meters(**meters)
