"""Electric vehicles: charge between arrival and departure, discharge where allowed.

Heuristic: least laxity first (Xu, Pan and Tong, Dynamic scheduling for charging electric vehicles,
IEEE Trans. Automatic Control 61, 2016): a vehicle whose laxity is used up charges at any price;
before that it buys only in the cheapest of the known hours until it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.agents import battery
from swarm.agents.device import Device
from swarm.agents.reserve import ReserveShape
from swarm.agents.view import Interval, View, price_points
from swarm.market.orders import BUY, SELL
from swarm.messages import FORECAST_HOURS, Float, Int, Meters, Response, no_meters
from swarm.scenario.roster import Roster
from swarm.trust.rules import Use

ACTION = battery.ACTION
SIDES = (BUY, BUY, SELL)
"""Slot 0 charges at any price (the need is urgent), slot 1 at a price, slot 2 discharges."""
USES = (Use.URGENT_CHARGE, Use.CHARGE, Use.DISCHARGE)
FLEXIBLE = True


@dataclass(frozen=True)
class Parameters:
    """n vehicles; hours are local clock, energy in MWh."""

    battery: battery.Battery
    arrival_hour: Float
    departure_hour: Float
    required_mwh: Float
    trip_mwh: Float
    vehicle_to_grid: np.ndarray


@dataclass
class State(battery.State):
    """n vehicles."""

    away: np.ndarray | None
    """bool (n,); None before the first interval, which nobody leaves or comes back in."""


def build(roster: Roster) -> Parameters:
    """Parameters of the vehicles in `roster`."""
    cells = battery.build(roster)
    return Parameters(
        battery=cells,
        arrival_hour=roster.column("arrival_hour"),
        departure_hour=roster.column("departure_hour"),
        required_mwh=roster.column("required_state_of_charge") * cells.energy_mwh,
        trip_mwh=roster.column("trip_energy_mwh"),
        vehicle_to_grid=roster.column("vehicle_to_grid") > 0,
    )


def series(roster: Roster) -> dict[str, tuple[str, ...]]:
    """World series each agent needs: none."""
    return {}


def start(p: Parameters) -> State:
    """With the initial charge, wherever they are."""
    return State(**vars(battery.start(p.battery)), away=None)


def device(p: Parameters, s: State, hours: float, hour_of_day: float) -> Device:
    """What rules need to know before the coming tick, in which some may come back from a trip."""
    stored = s.stored_mwh - _trip(p, s, connected(p, hour_of_day))
    return battery.device(p.battery, s, stored, hours)


def connected(p: Parameters, hour_of_day: float) -> np.ndarray:
    """bool (n,): plugged in during an interval that starts at this local hour."""
    since = (hour_of_day - p.arrival_hour) % 24
    return since < (p.departure_hour - p.arrival_hour) % 24


def heuristic(p: Parameters, s: State, view: View) -> Float:
    """Charge in the cheapest known hours that suffice; sell by the quantile rule, (n, 4)."""
    action = battery.heuristic(p.battery, view)
    stored = s.stored_mwh - _trip(p, s, connected(p, view.hour_of_day))
    hours_needed = _hours_needed(p, stored, _hours_left(p, view.hour_of_day))
    hours_left = np.clip(_hours_left(p, view.hour_of_day), 1.0, FORECAST_HOURS)
    ahead = np.sort(_forecast_until(view, hours_left), axis=1)
    # Two hours of charging and a rounding error are two hours.
    last = np.minimum(np.ceil(hours_needed - 1e-9), np.ceil(hours_left)).astype(np.int64)
    threshold = np.take_along_axis(ahead, np.maximum(last, 1)[:, None] - 1, axis=1)[:, 0]
    needs = (hours_needed > 0) & np.isfinite(threshold)
    action[:, 1] = np.where(needs, np.maximum(action[:, 1], threshold), action[:, 1])
    action[:, 3] = np.maximum(action[:, 3], battery.break_even(p.battery, action[:, 1]))
    if len(price_points(view.signal)) == 0:
        action[:, 0] = needs
    return action


def random(p: Parameters, s: State, view: View) -> Float:
    """Uniform power and price, see `battery.random`; urgent needs are still met first."""
    return battery.random(p.battery, view)


def _hours_left(p: Parameters, hour_of_day: float) -> Float:
    """Hours until departure, above 0 and at most 24, (n,)."""
    return 24.0 - (hour_of_day - p.departure_hour) % 24


def _trip(p: Parameters, s: State, here: np.ndarray) -> Float:
    """Energy that vehicles which come back in this interval have used, MWh, (n,)."""
    if s.away is None:
        return np.zeros(len(here))
    return np.where(here & s.away, np.minimum(p.trip_mwh, s.stored_mwh), 0.0)


def _kept(p: Parameters, hours: Float) -> Float:
    """Share of the stored energy that self-discharge leaves after `hours`, (n,)."""
    kept: Float = (1.0 - p.battery.self_discharge_per_hour) ** hours
    return kept


def _hours_needed(p: Parameters, stored_mwh: Float, hours_left: Float) -> Float:
    """Hours of charging at full power now that leave the required energy at departure, (n,)."""
    kept = np.maximum(_kept(p, hours_left), 1e-12)
    lacking = np.maximum(0.0, p.required_mwh - stored_mwh * kept) / kept
    power = np.maximum(p.battery.power_mw * p.battery.charge_efficiency, 1e-12)
    return lacking / power


def _forecast_until(view: View, hours_left: Float) -> Float:
    """Hourly forecast, infinite from departure on, (n, 24)."""
    hour = np.arange(FORECAST_HOURS)
    return np.where(hour < np.ceil(hours_left)[:, None], view.signal.price_forecast, np.inf)


def offer(p: Parameters, s: State, view: View, action: Float) -> tuple[Float, Int]:
    """Urgent charging at the cap, wished charging and discharging at a price, (n, 3) each."""
    here = connected(p, view.hour_of_day) & ~view.standing
    stored = s.stored_mwh - _trip(p, s, connected(p, view.hour_of_day))
    price, wished = battery.orders(p.battery, stored, action, view)
    limit = battery.charge_limit_w(p.battery, stored, view.tick_hours)
    laxity, recharging = _laxity(p, stored, view.hour_of_day)
    lacking = p.required_mwh - battery.after_loss(p.battery, stored, view.tick_hours)
    lacking = lacking / (p.battery.charge_efficiency * view.tick_hours)
    need = np.clip(np.ceil(lacking * 1e6), 0, limit).astype(np.int64)
    # One tick early: the need must fit into whole ticks.
    urgent = np.where(laxity <= view.tick_hours, need, 0)
    # A tick of discharging costs itself and its recharging in laxity, which must stay above one.
    may_sell = p.vehicle_to_grid & (laxity > (2 + recharging) * view.tick_hours)
    quantity = np.column_stack(
        [urgent, np.minimum(wished[:, 0], limit - urgent), np.where(may_sell, wished[:, 1], 0)]
    )
    quantity[~here] = 0
    cap = np.full((len(here), 1), view.signal.price_cap)
    return np.concatenate([cap, price], axis=1), quantity


def _laxity(p: Parameters, stored_mwh: Float, hour_of_day: float) -> tuple[Float, Float]:
    """Hours it need not charge until departure, and hours to recharge an hour of discharge."""
    hours_left = _hours_left(p, hour_of_day)
    round_trip = p.battery.charge_efficiency * p.battery.discharge_efficiency
    recharging = 1.0 / (round_trip * np.maximum(_kept(p, hours_left), 1e-12))
    return hours_left - _hours_needed(p, stored_mwh, hours_left), recharging


def _patient(p: Parameters, stored_mwh: Float, hour_of_day: float, tick_hours: float) -> np.ndarray:
    """bool (n,): can respond upwards through the tick that starts now and still be full in time.

    It learns of a response one tick late, so laxity must bear two of them and stay above one tick.
    Without discharging to the grid a response is a tick of charging put off.
    """
    laxity, recharging = _laxity(p, stored_mwh, hour_of_day)
    of_one = 1.0 + np.where(p.vehicle_to_grid, recharging, 0.0)
    patient: np.ndarray = laxity > (1 + 2 * of_one) * tick_hours
    return patient


def reserve(
    p: Parameters, s: State, view: View, price: Float, quantity: Int
) -> ReserveShape | None:
    """Plugged in, the charger's power within limits, see `battery.reserve`.

    Upwards only where it may discharge and has the time to recharge; urgent charging stays.
    """
    here = connected(p, view.hour_of_day)
    stored = s.stored_mwh - _trip(p, s, here)
    gives = p.vehicle_to_grid & _patient(p, stored, view.hour_of_day, view.tick_hours)
    up = battery.discharge_limit_w(p.battery, stored, view.tick_hours)
    up = np.where(here & gives, up, 0)
    down = battery.charge_limit_w(p.battery, stored, view.tick_hours) - quantity[:, 0]
    down = np.where(here, down, 0)
    spare = np.maximum(up - quantity[:, 2], 0), down - quantity[:, 1]
    return battery.reserve(view, up, down, spare, price[:, 2], price[:, 1])


def deliver(p: Parameters, s: State, interval: Interval) -> Meters:
    """Charge or discharge while plugged in; count what is missing at departure."""
    meters = no_meters(len(s.stored_mwh))
    here = connected(p, interval.hour_of_day)
    away = ~here if s.away is None else s.away
    meters["missed_mwh"] = np.where(
        ~here & ~away, np.maximum(0.0, p.required_mwh - s.stored_mwh), 0.0
    )
    meters["trip_mwh"] = _trip(p, s, here)
    s.stored_mwh = s.stored_mwh - meters["trip_mwh"]
    s.away = ~here

    wanted = interval.accepted_w[:, 2] - interval.accepted_w[:, :2].sum(axis=1)
    wanted = np.where(here, wanted, 0)
    given = np.where(interval.failed, 0, wanted)
    power = battery.deliver(p.battery, s, given, interval.tick_hours)
    meters["delivered_w"] = meters["battery_w"] = power
    meters["cost_micro"] = battery.wear_micro(p.battery, power, interval.tick_hours)
    meters["stored_mwh"] = s.stored_mwh.copy()
    if interval.physical:
        up, down = battery.headroom(p.battery, s, interval.tick_hours)
        responds = here & ~interval.failed
        gives = _patient(p, s.before_mwh, interval.hour_of_day, interval.tick_hours)
        up = np.where(p.vehicle_to_grid, up, np.maximum(-power, 0))
        meters["up_w"] = np.where(responds & gives, up, 0)
        meters["down_w"] = np.where(responds, down, 0)
        meters["sudden_w"] = battery.lost_w(p.battery, s, wanted, interval)
    return Meters(**meters)


def respond(
    p: Parameters, s: State, response: Response, hours: float, carbon: float
) -> tuple[Int, Int]:
    """The last interval ran at what really flowed; wear and no emissions, (n,) each."""
    change = response.activated_w + response.shed_w - response.held_back_w
    return battery.respond(p.battery, s, change, hours), np.zeros_like(change)
