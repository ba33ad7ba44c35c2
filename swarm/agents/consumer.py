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

from swarm.agents.view import Interval, View, noisy, price_points, watts
from swarm.market.orders import BUY, SELL
from swarm.messages import Float, Int, Meters, no_meters
from swarm.scenario.roster import Roster

ACTION = ("response_share", "response_price_per_mwh", "catch_up_share", "catch_up_price_per_mwh")
SIDES = (BUY, BUY, SELL)
"""Slot 0 is the load, slot 1 the catch-up of what was put off, slot 2 the reduction."""


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


def heuristic(p: Parameters, s: State, view: View) -> Float:
    """Offer all flexibility at the comfort price; catch up in the cheaper half of known hours."""
    points = price_points(view.signal)
    cheap = np.median(points) if len(points) else view.signal.price_floor
    n = len(p.load_mw)
    catch_up = np.minimum(p.response_price_per_mwh, np.full(n, cheap))
    return np.column_stack([np.ones(n), p.response_price_per_mwh, np.ones(n), catch_up])


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
    open_backlog = s.backlog_w > 0
    # The last ticks of the window must be enough to catch up at full flexible power.
    ticks_needed = np.ceil(s.backlog_w / np.maximum(watts(p.flexible_mw), 1))
    due = open_backlog & (s.hours_left <= (ticks_needed + 1) * view.tick_hours)
    catch_up = np.minimum(s.backlog_w, watts(p.flexible_mw))
    catch_up = np.where(due, catch_up, np.floor(share[:, 1] * catch_up).astype(np.int64))
    # What one window can hold is what it can give back at full power in half of it.
    room = watts(p.flexible_mw) * np.floor(p.shift_window_hours / (2 * view.tick_hours))
    room = np.maximum(room.astype(np.int64), watts(p.flexible_mw)) - s.backlog_w
    reduction = np.minimum(np.floor(share[:, 0] * flexible).astype(np.int64), np.maximum(room, 0))
    reduction[due | view.standing] = 0
    cap = view.signal.price_cap
    catch_up_price = np.where(due, cap, np.minimum(action[:, 3], action[:, 1]))
    price = np.column_stack([np.full(len(load), cap), catch_up_price, action[:, 1]])
    return price, np.column_stack([load, catch_up, reduction])


def deliver(p: Parameters, s: State, interval: Interval) -> Meters:
    """Consume: the load as it really is where it was bought in full, else what was bought."""
    meters = no_meters(len(p.load_mw))
    bought, caught_up, sold = interval.accepted_w.T
    wanted = watts(
        noisy(p.load_mw * interval.actual["load"], p.load_noise, interval.uniforms[:, 0])
    )
    rationed = bought < interval.offered_w[:, 0]
    served = np.where(rationed, np.minimum(wanted, bought), wanted)
    reduced = np.minimum(np.where(interval.failed, 0, sold), served)
    caught_up = np.minimum(caught_up, s.backlog_w)

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
