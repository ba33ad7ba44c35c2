"""Grid batteries: buy cheap, sell dear, inside energy, power and wear limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.agents import battery
from swarm.agents.device import Device
from swarm.agents.reserve import ReserveShape
from swarm.agents.view import Interval, View
from swarm.market.orders import BUY, SELL
from swarm.messages import Float, Int, Meters, Response, no_meters
from swarm.scenario.roster import Roster
from swarm.trust.rules import Use

ACTION = battery.ACTION
SIDES = (BUY, SELL)
USES = (Use.CHARGE, Use.DISCHARGE)
FLEXIBLE = True


@dataclass(frozen=True)
class Parameters:
    """n storages."""

    battery: battery.Battery


def build(roster: Roster) -> Parameters:
    """Parameters of the storages in `roster`."""
    return Parameters(battery.build(roster))


def series(roster: Roster) -> dict[str, tuple[str, ...]]:
    """World series each agent needs: role -> series name per agent. Storage needs none."""
    return {}


def start(p: Parameters) -> battery.State:
    """State before the first tick."""
    return battery.start(p.battery)


def device(p: Parameters, s: battery.State, hours: float, hour_of_day: float) -> Device:
    """What rules need to know before the coming tick."""
    return battery.device(p.battery, s, s.stored_mwh, hours)


def heuristic(p: Parameters, s: battery.State, view: View) -> Float:
    """The quantile rule of `battery.heuristic`."""
    return battery.heuristic(p.battery, view)


def random(p: Parameters, s: battery.State, view: View) -> Float:
    """Uniform power and price, see `battery.random`."""
    return battery.random(p.battery, view)


def offer(p: Parameters, s: battery.State, view: View, action: Float) -> tuple[Float, Int]:
    """Order prices per MWh and quantities in watts, (n, 2) each, for the sides in `SIDES`."""
    price, quantity = battery.orders(p.battery, s.stored_mwh, action, view)
    quantity[view.standing] = 0
    return price, quantity


def reserve(
    p: Parameters, s: battery.State, view: View, price: Float, quantity: Int
) -> ReserveShape | None:
    """Charging and discharging power within its limits, see `battery.reserve`."""
    up = battery.discharge_limit_w(p.battery, s.stored_mwh, view.tick_hours)
    down = battery.charge_limit_w(p.battery, s.stored_mwh, view.tick_hours)
    spare = up - quantity[:, 1], down - quantity[:, 0]
    return battery.reserve(view, up, down, spare, price[:, 1], price[:, 0])


def deliver(p: Parameters, s: battery.State, interval: Interval) -> Meters:
    """Run the interval on what was accepted; a failed unit stands still."""
    meters = no_meters(len(s.stored_mwh))
    wanted = interval.accepted_w[:, 1] - interval.accepted_w[:, 0]
    given = np.where(interval.failed, 0, wanted)
    power = battery.deliver(p.battery, s, given, interval.tick_hours)
    meters["delivered_w"] = meters["battery_w"] = power
    meters["cost_micro"] = battery.wear_micro(p.battery, power, interval.tick_hours)
    meters["stored_mwh"] = s.stored_mwh.copy()
    if interval.physical:
        up, down = battery.headroom(p.battery, s, interval.tick_hours)
        meters["up_w"] = np.where(interval.failed, 0, up)
        meters["down_w"] = np.where(interval.failed, 0, down)
        meters["sudden_w"] = battery.lost_w(p.battery, s, wanted, interval)
    return Meters(**meters)


def respond(
    p: Parameters, s: battery.State, response: Response, hours: float, carbon: float
) -> tuple[Int, Int]:
    """The last interval ran at what really flowed; wear and no emissions, (n,) each."""
    change = response.activated_w + response.shed_w - response.held_back_w
    return battery.respond(p.battery, s, change, hours), np.zeros_like(change)
