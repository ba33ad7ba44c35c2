"""What solar and wind farms share: output limited by the weather, offered at or below zero.

Dispatch is semi-scheduled as in the Australian market: a plant whose whole forecast was accepted
runs with the weather, one that was accepted in part is capped at what was accepted (AEMO,
Dispatch procedure SO_OP_3705, semi-dispatch cap).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.agents.device import Device, no_device
from swarm.agents.reserve import ReserveShape, by_direction, expected_price, split
from swarm.agents.view import Interval, View, watts
from swarm.market.orders import SELL
from swarm.messages import Float, Int, Meters, Response, no_meters
from swarm.scenario.roster import Roster
from swarm.trust.rules import Use

ACTION = ("offer_price_per_mwh",)
SIDES = (SELL,)
USES = (Use.GENERATION,)
FLEXIBLE = False


@dataclass(frozen=True)
class Parameters:
    """n plants: capacity in MW and the price they offer at, float64 (n,) each."""

    capacity_mw: Float
    offer_price_per_mwh: Float


@dataclass
class State:
    """n plants: output in the last interval, watts, int64 (n,)."""

    output_w: Int


def build(roster: Roster) -> Parameters:
    """Parameters of the plants in `roster`."""
    return Parameters(roster.column("capacity_mw"), roster.column("offer_price_per_mwh"))


def series(roster: Roster) -> dict[str, tuple[str, ...]]:
    """World series each agent needs: availability, by its profile."""
    return {"availability": tuple(asset["profile"] for asset in roster.assets)}


def start(p: Parameters) -> State:
    """State before the first tick: standing."""
    return State(np.zeros(len(p.capacity_mw), dtype=np.int64))


def device(p: Parameters, s: State, hours: float, hour_of_day: float) -> Device:
    """What rules need to know before the coming tick: the output and no emissions."""
    known = no_device(len(p.capacity_mw))
    known["previous_w"] = s.output_w.astype(np.float64)
    known["emissions_g_per_mwh"] = known["emitted_g"] = np.zeros(len(p.capacity_mw))
    return Device(**known)


def heuristic(p: Parameters, s: State, view: View) -> Float:
    """Offer at the price of the scenario: with no fuel, marginal cost or below, (n, 1)."""
    return p.offer_price_per_mwh[:, None]


def random(p: Parameters, s: State, view: View) -> Float:
    """Uniform between the market's floor and zero, (n, 1)."""
    return view.signal.price_floor * view.uniforms[:, :1]


def offer(p: Parameters, s: State, view: View, action: Float) -> tuple[Float, Int]:
    """Offer what the weather is expected to give, (n, 1) each."""
    quantity = watts(p.capacity_mw * np.clip(view.forecast["availability"], 0.0, 1.0))
    quantity[view.standing] = 0
    return np.minimum(action, 0.0), quantity[:, None]


def reserve(
    p: Parameters, s: State, view: View, price: Float, quantity: Int
) -> ReserveShape | None:
    """Downwards what it offers, where it expects to sell all of it; nothing upwards.

    Room downwards is there only if the energy is sold, so the offer is a bet on the price. Holding
    it costs nothing; what is not generated is worth its offer price.
    """
    asked = view.signal.reserve_w
    sells = np.where(expected_price(view.signal) > price[:, 0], quantity[:, 0], 0)
    nothing = np.zeros_like(sells)
    return ReserveShape(
        quantity=split(nothing, sells, asked),
        price=np.zeros((len(sells), len(asked))),
        energy_price=by_direction(price[:, 0], price[:, 0]),
        spare=np.column_stack([nothing, sells]),
    )


def deliver(p: Parameters, s: State, interval: Interval) -> Meters:
    """Generate what the weather gives, capped where the offer was accepted in part."""
    meters = no_meters(len(p.capacity_mw))
    blowing = watts(p.capacity_mw * np.clip(interval.actual["availability"], 0.0, 1.0))
    available = np.where(interval.failed, 0, blowing)
    meters["delivered_w"] = run(available, interval.accepted_w[:, 0], interval.offered_w[:, 0])
    meters["generation_w"] = s.output_w = meters["delivered_w"]
    meters["available_w"] = available
    meters["curtailed_w"] = available - meters["delivered_w"]
    if interval.physical:
        meters["up_w"], meters["down_w"] = meters["curtailed_w"], meters["generation_w"]
        if interval.struck is not None:
            unhurt = run(blowing, interval.accepted_w[:, 0], interval.offered_w[:, 0])
            meters["sudden_w"] = np.where(interval.struck, -unhurt, 0)
    return Meters(**meters)


def respond(
    p: Parameters, s: State, response: Response, hours: float, carbon: float
) -> tuple[Int, Int]:
    """The last output was what really flowed; weather has no cost and no emissions, (n,) each."""
    change = response.activated_w + response.shed_w - response.held_back_w
    s.output_w = np.maximum(s.output_w + change, 0)
    nothing = np.zeros(len(p.capacity_mw), dtype=np.int64)
    return nothing, nothing


def run(available_w: Int, accepted_w: Int, offered_w: Int) -> Int:
    """Output under a semi-dispatch cap, watts (n,); a plant that offered nothing stands still."""
    capped = (accepted_w < offered_w) | (offered_w == 0)
    return np.where(capped, np.minimum(available_w, accepted_w), available_w)
