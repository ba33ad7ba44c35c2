"""Grid batteries: buy cheap, sell dear, inside energy, power and wear limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.agents import battery
from swarm.agents.view import Interval, View
from swarm.market.orders import BUY, SELL
from swarm.messages import Float, Int, Meters, no_meters
from swarm.scenario.roster import Roster

ACTION = battery.ACTION
SIDES = (BUY, SELL)


@dataclass(frozen=True)
class Parameters:
    """n storages."""

    battery: battery.Battery


@dataclass
class State:
    """Changes from tick to tick."""

    stored_mwh: Float


def build(roster: Roster) -> Parameters:
    """Parameters of the storages in `roster`."""
    return Parameters(battery.build(roster))


def series(roster: Roster) -> dict[str, tuple[str, ...]]:
    """World series each agent needs: role -> series name per agent. Storage needs none."""
    return {}


def start(p: Parameters) -> State:
    """State before the first tick."""
    return State(p.battery.initial_mwh.copy())


def heuristic(p: Parameters, s: State, view: View) -> Float:
    """The quantile rule of `battery.heuristic`."""
    return battery.heuristic(p.battery, view)


def random(p: Parameters, s: State, view: View) -> Float:
    """Uniform power and price, see `battery.random`."""
    return battery.random(p.battery, view)


def offer(p: Parameters, s: State, view: View, action: Float) -> tuple[Float, Int]:
    """Order prices per MWh and quantities in watts, (n, 2) each, for the sides in `SIDES`."""
    price, quantity = battery.orders(p.battery, s.stored_mwh, action, view)
    quantity[view.standing] = 0
    return price, quantity


def deliver(p: Parameters, s: State, interval: Interval) -> Meters:
    """Run the interval on what was accepted; a failed unit stands still."""
    meters = no_meters(len(s.stored_mwh))
    wanted = interval.accepted_w[:, 1] - interval.accepted_w[:, 0]
    wanted = np.where(interval.failed, 0, wanted)
    power, s.stored_mwh = battery.run(p.battery, s.stored_mwh, wanted, interval.tick_hours)
    meters["delivered_w"] = meters["battery_w"] = power
    meters["cost_micro"] = battery.wear_micro(p.battery, power, interval.tick_hours)
    meters["stored_mwh"] = s.stored_mwh.copy()
    return Meters(**meters)
