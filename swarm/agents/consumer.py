"""Consumers: a load with a flexible part that is shifted in time, not lost.

A consumer buys its whole load at the price cap and sells reductions as demand response. What it
puts off it catches up within its shift window: at a price below what it was paid while there is
time, at any price when the window ends. (Shiftable load with rebound as in O'Connell et al.,
Benefits and challenges of electrical demand response, Renewable and Sustainable Energy Reviews
39, 2014.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.agents.device import Device, no_device
from swarm.agents.reserve import ReserveShape, by_direction, split
from swarm.agents.view import Interval, View, noisy, price_points, watts
from swarm.market.orders import BUY, MILLI_PER_UNIT, SELL
from swarm.messages import Float, Int, Meters, Response, no_meters
from swarm.scenario.roster import Roster
from swarm.trust.rules import Use

ACTION = ("response_share", "response_price_per_mwh", "catch_up_share", "catch_up_price_per_mwh")
SIDES = (BUY, BUY, SELL)
"""Slot 0 is the load, slot 1 the catch-up of what was put off, slot 2 the reduction."""
USES = (Use.LOAD, Use.CATCH_UP, Use.REDUCTION)
FLEXIBLE = True


@dataclass(frozen=True)
class Parameters:
    """n consumers, float64 (n,) each; power in MW."""

    load_mw: Float
    flexible_mw: Float
    response_price_per_mwh: Float
    shift_window_hours: Float
    load_noise: Float


@dataclass
class State:
    """n consumers; what was put off, in watt-ticks so that it is exact, and its time left."""

    backlog_w: Int
    hours_left: Float


def build(roster: Roster) -> Parameters:
    """Parameters of the consumers in `roster`; comfort sets a price where none is given."""
    asked = roster.column("response_price_per_mwh")
    comfort = roster.column("comfort_preference")
    return Parameters(
        load_mw=roster.column("load_mw"),
        flexible_mw=roster.column("flexible_mw"),
        response_price_per_mwh=np.where(np.isnan(asked), comfort, asked),
        shift_window_hours=roster.column("shift_window_hours"),
        load_noise=roster.column("load_noise"),
    )


def series(roster: Roster) -> dict[str, tuple[str, ...]]:
    """World series each agent needs: its load profile."""
    return {"load": tuple(asset["profile"] for asset in roster.assets)}


def start(p: Parameters) -> State:
    """Nothing put off."""
    n = len(p.load_mw)
    return State(np.zeros(n, dtype=np.int64), np.zeros(n))


def device(p: Parameters, s: State, hours: float, hour_of_day: float) -> Device:
    """Nothing: a consumer has a load alone."""
    return Device(**no_device(len(p.load_mw)))


def heuristic(p: Parameters, s: State, view: View) -> Float:
    """Offer all flexibility at the comfort price; catch up in the cheaper half of known hours."""
    points = price_points(view.signal)
    cheap = np.median(points) if len(points) else view.signal.price_floor
    n = len(p.load_mw)
    catch_up = np.minimum(p.response_price_per_mwh, np.full(n, cheap))
    return np.column_stack([np.ones(n), p.response_price_per_mwh, np.ones(n), catch_up])


def worth_per_mwh(p: Parameters, s: State, view: View, share: Float) -> Float:
    """Price above which the dearest `share`, (n,), of the hours left of each window lie; (n,).

    Hours left are those to the end of the window of what is owed, or of a window that begins now.
    Where none of them is forecast, all known prices count; the comfort price where there is none.
    """
    forecast, known = view.signal.price_forecast, price_points(view.signal)
    left = np.where(s.backlog_w > 0, s.hours_left, p.shift_window_hours)
    hours = np.clip(np.ceil(left), 1, len(forecast)).astype(np.int64)
    worth = p.response_price_per_mwh.copy()
    for ahead in np.unique(hours):
        points = np.sort(forecast[:ahead])[: np.isfinite(forecast[:ahead]).sum()]
        points = points if len(points) else np.sort(known)
        if len(points):
            rows = hours == ahead
            at = (1.0 - share[rows]) * (len(points) - 1)
            worth[rows] = np.interp(at, np.arange(len(points)), points)
    return worth


def at_worth(p: Parameters, worth_per_mwh: Float) -> Float:
    """The action that takes energy to be worth that much, (n,): puts off above, catches up below.

    One price unit lies between the two, so that it does not trade with itself.
    """
    ones = np.ones(len(worth_per_mwh))
    response = np.maximum(p.response_price_per_mwh, worth_per_mwh)
    return np.column_stack([ones, response, ones, worth_per_mwh - 1 / MILLI_PER_UNIT])


def random(p: Parameters, s: State, view: View) -> Float:
    """Uniform share of the flexibility at up to twice the comfort price, (n, 4)."""
    u = view.uniforms
    return np.column_stack(
        [
            u[:, 0],
            2 * p.response_price_per_mwh * u[:, 1],
            u[:, 2],
            p.response_price_per_mwh * u[:, 3],
        ]
    )


def offer(p: Parameters, s: State, view: View, action: Float) -> tuple[Float, Int]:
    """Load at the cap, catch-up at a price (at the cap when due), reduction, (n, 3) each."""
    load = watts(p.load_mw * np.maximum(view.forecast["load"], 0.0))
    flexible = np.minimum(watts(p.flexible_mw), load)
    share = np.clip(action[:, [0, 2]], 0.0, 1.0)
    due = _due(p, s, view.tick_hours)
    wished = 0.0 if view.emergency else share[:, 1]
    catch_up = np.minimum(s.backlog_w, watts(p.flexible_mw))
    catch_up = np.where(due, catch_up, np.floor(wished * catch_up).astype(np.int64))
    room = _room_w(p, s, view.tick_hours)
    reduction = np.minimum(np.floor(share[:, 0] * flexible).astype(np.int64), room)
    reduction[view.standing] = 0
    cap = view.signal.price_cap
    catch_up_price = np.where(due, cap, np.minimum(action[:, 3], action[:, 1]))
    price = np.column_stack([np.full(len(load), cap), catch_up_price, action[:, 1]])
    return price, np.column_stack([load, catch_up, reduction])


def _ticks_needed(p: Parameters, s: State) -> Float:
    """Ticks of full flexible power that catch up what was put off, (n,)."""
    return np.ceil(s.backlog_w / np.maximum(watts(p.flexible_mw), 1))


def _due(p: Parameters, s: State, hours: float) -> np.ndarray:
    """bool (n,): the last ticks of the window must go to catching up at full flexible power."""
    due: np.ndarray = (s.backlog_w > 0) & (s.hours_left <= (_ticks_needed(p, s) + 1) * hours)
    return due


def _bears(p: Parameters, s: State, hours: float, responses: int) -> np.ndarray:
    """bool (n,): catches up in time even after this many more ticks of full response.

    Each costs a tick of catching up, and one passes before it learns of it.
    """
    left = np.where(s.backlog_w > 0, s.hours_left, p.shift_window_hours)
    bears: np.ndarray = left + 1e-9 >= (_ticks_needed(p, s) + 1 + responses) * hours
    return bears


def _room_w(p: Parameters, s: State, hours: float) -> Int:
    """What can still be put off, watt-ticks, (n,); nothing while a catch-up is due.

    One window holds what it can give back at full power in half of it.
    """
    flexible = watts(p.flexible_mw)
    held = flexible * np.floor(p.shift_window_hours / (2 * hours)).astype(np.int64)
    room = np.maximum(held, flexible) - s.backlog_w
    return np.where(_due(p, s, hours), 0, np.maximum(room, 0))


def reserve(
    p: Parameters, s: State, view: View, price: Float, quantity: Int
) -> ReserveShape | None:
    """Load that can be put off at once, upwards only, at the price of a reduction.

    Room and time for one more tick of response are kept: that of the last tick is not known yet.
    """
    room = _room_w(p, s, view.tick_hours)
    able = np.minimum(np.minimum(watts(p.flexible_mw), quantity[:, 0]), room)
    up = np.clip(room - watts(p.flexible_mw), 0, able)
    up = np.where(_bears(p, s, view.tick_hours, 2), up, 0)
    nothing = np.zeros_like(up)
    asked = view.signal.reserve_w
    return ReserveShape(
        quantity=split(up, nothing, asked),
        price=np.zeros((len(up), len(asked))),
        energy_price=by_direction(price[:, 2], price[:, 2]),
        spare=np.column_stack([able - quantity[:, 2], nothing]),
    )


def deliver(p: Parameters, s: State, interval: Interval) -> Meters:
    """Consume: the load as it really is where it was bought in full, else what was bought."""
    meters = no_meters(len(p.load_mw))
    bought, caught_up, sold = interval.accepted_w.T
    wanted = _load_w(p, interval, 0.0)
    most = np.where(bought < interval.offered_w[:, 0], bought, np.iinfo(np.int64).max)
    served = np.minimum(wanted, most)
    unhurt = np.minimum(sold, served)
    reduced = np.where(interval.failed, 0, unhurt)
    caught_up = np.minimum(caught_up, s.backlog_w)
    if interval.physical:
        flexible = np.minimum(watts(p.flexible_mw), served)
        able = np.minimum(flexible, _room_w(p, s, interval.tick_hours)) - reduced
        bears = _bears(p, s, interval.tick_hours, 1) & ~interval.failed
        meters["up_w"] = np.where(bears, np.maximum(able, 0), 0)
        if interval.struck is not None:
            meters["sudden_w"] -= np.where(interval.struck, unhurt, 0)
        if interval.load_jump is not None:
            before = _load_w(p, interval, interval.load_jump)
            meters["sudden_w"] += np.minimum(before, most) - served

    s.hours_left = np.where(s.backlog_w > 0, s.hours_left, p.shift_window_hours)
    s.hours_left = s.hours_left - interval.tick_hours
    s.backlog_w = s.backlog_w + reduced - caught_up
    meters["load_w"] = served - reduced + caught_up
    meters["delivered_w"] = -meters["load_w"]
    meters["unserved_w"] = wanted - served
    meters["shifted_w"] = reduced - caught_up
    discomfort = reduced * p.response_price_per_mwh * interval.tick_hours
    meters["cost_micro"] = np.rint(discomfort).astype(np.int64)
    meters["backlog_mwh"] = s.backlog_w * (interval.tick_hours / 1e6)
    return Meters(**meters)


def _load_w(p: Parameters, interval: Interval, without: Float | float) -> Int:
    """The load as it really is, `without` a part of its series, watts, (n,)."""
    load = p.load_mw * (interval.actual["load"] - without)
    return watts(noisy(load, p.load_noise, interval.uniforms[:, 0]))


def respond(
    p: Parameters, s: State, response: Response, hours: float, carbon: float
) -> tuple[Int, Int]:
    """What was activated was put off and is caught up in time; what was shed is lost.

    Returns:
        Discomfort in micro-currency and no emissions, int64 (n,) each.
    """
    # A backlog that begins with the response has its window from that interval on.
    s.hours_left = np.where(s.backlog_w > 0, s.hours_left, p.shift_window_hours - hours)
    s.backlog_w = np.maximum(s.backlog_w + response.activated_w, 0)
    discomfort = np.maximum(response.activated_w, 0) * p.response_price_per_mwh * hours
    return np.rint(discomfort).astype(np.int64), np.zeros_like(response.activated_w)
