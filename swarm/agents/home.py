"""Homes: solar, load and battery behind one meter; the market sees one agent.

The meter buys the load that its own sun does not cover at the price cap and sells surplus sun at
zero; the battery follows the quantile rule of `battery`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.agents import battery
from swarm.agents.device import Device
from swarm.agents.reserve import ReserveShape
from swarm.agents.view import Interval, View, noisy, watts
from swarm.market.orders import BUY, SELL, to_milli
from swarm.messages import Float, Int, Meters, Response, no_meters
from swarm.scenario.roster import Roster
from swarm.trust.rules import Use

ACTION = battery.ACTION
SIDES = (BUY, SELL, BUY, SELL)
"""Slot 0 is load not covered by sun, slot 1 surplus sun, slots 2 and 3 the battery."""
USES = (Use.LOAD, Use.SURPLUS, Use.CHARGE, Use.DISCHARGE)
FLEXIBLE = True


@dataclass(frozen=True)
class Parameters:
    """n homes; power in MW."""

    battery: battery.Battery
    load_mw: Float
    load_noise: Float
    solar_mw: Float


@dataclass
class State(battery.State):
    """n homes."""

    load_w: Int
    """Load and sun in the last interval."""
    sun_w: Int


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
    cells = battery.start(p.battery)
    return State(**vars(cells), load_w=cells.power_w, sun_w=cells.power_w)


def device(p: Parameters, s: State, hours: float, hour_of_day: float) -> Device:
    """What rules need to know before the coming tick; sun and load are not for them."""
    return battery.device(p.battery, s, s.stored_mwh, hours)


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


def reserve(
    p: Parameters, s: State, view: View, price: Float, quantity: Int
) -> ReserveShape | None:
    """The battery's, see `battery.reserve`; load and sun hold nothing.

    Where the battery sells below the price of surplus sun, the market would take room for reserve
    out of the sun: then it offers no more than it has to spare.
    """
    up = battery.discharge_limit_w(p.battery, s.stored_mwh, view.tick_hours)
    down = battery.charge_limit_w(p.battery, s.stored_mwh, view.tick_hours)
    spare = up - quantity[:, 3], down - quantity[:, 2]
    sun_first = (quantity[:, 1] > 0) & (to_milli(price[:, 3]) < to_milli(price[:, 1]))
    up = np.where(sun_first, spare[0], up)
    return battery.reserve(view, up, down, spare, price[:, 3], price[:, 2])


def deliver(p: Parameters, s: State, interval: Interval) -> Meters:
    """Run load, sun and battery through the interval; an outage stops sun and battery."""
    meters = no_meters(len(p.load_mw))
    accepted, offered = interval.accepted_w, interval.offered_w
    wanted = _load_w(p, interval, 0.0)
    shining = watts(p.solar_mw * np.clip(interval.actual["availability"], 0.0, 1.0))
    available = np.where(interval.failed, 0, shining)

    load, sun = _load_and_sun(wanted, available, accepted, offered)
    s.load_w, s.sun_w = load, sun
    trade = accepted[:, 3] - accepted[:, 2]
    given = np.where(interval.failed, 0, trade)
    power = battery.deliver(p.battery, s, given, interval.tick_hours)

    meters["load_w"], meters["generation_w"], meters["battery_w"] = load, sun, power
    meters["delivered_w"] = sun - load + power
    meters["unserved_w"] = wanted - load
    meters["available_w"] = available
    meters["curtailed_w"] = available - sun
    meters["cost_micro"] = battery.wear_micro(p.battery, power, interval.tick_hours)
    meters["stored_mwh"] = s.stored_mwh.copy()
    if interval.physical:
        up, down = battery.headroom(p.battery, s, interval.tick_hours)
        meters["up_w"] = np.where(interval.failed, 0, up)
        meters["down_w"] = np.where(interval.failed, 0, down)
        sudden = battery.lost_w(p.battery, s, trade, interval)
        if interval.struck is not None:
            _, unhurt = _load_and_sun(wanted, shining, accepted, offered)
            sudden -= np.where(interval.struck, unhurt, 0)
        if interval.load_jump is not None:
            before = _load_w(p, interval, interval.load_jump)
            sudden += _load_and_sun(before, available, accepted, offered)[0] - load
        meters["sudden_w"] = sudden
    return Meters(**meters)


def _load_w(p: Parameters, interval: Interval, without: Float | float) -> Int:
    """The load as it really is, `without` a part of its series, watts, (n,)."""
    load = p.load_mw * (interval.actual["load"] - without)
    return watts(noisy(load, p.load_noise, interval.uniforms[:, 0]))


def _load_and_sun(
    wanted_w: Int, available_w: Int, accepted_w: Int, offered_w: Int
) -> tuple[Int, Int]:
    """Load that is served and sun that is used under what was accepted, int64 (n,) each."""
    rationed = accepted_w[:, 0] < offered_w[:, 0]
    load = np.where(rationed, np.minimum(wanted_w, available_w + accepted_w[:, 0]), wanted_w)
    capped = accepted_w[:, 1] < offered_w[:, 1]
    sun = np.where(capped, np.minimum(available_w, load + accepted_w[:, 1]), available_w)
    return load, sun


def respond(
    p: Parameters, s: State, response: Response, hours: float, carbon: float
) -> tuple[Int, Int]:
    """The battery ran at what was activated; wear and no emissions, (n,) each.

    What is shed is the load's and what is held back is the sun's as far as they reach, then the
    battery's.
    """
    shed = np.maximum(response.shed_w - s.load_w, 0)
    held_back = np.maximum(response.held_back_w - s.sun_w, 0)
    change = response.activated_w + shed - held_back
    return battery.respond(p.battery, s, change, hours), np.zeros_like(change)
