"""Agents of every kind in a market and a world as nobody would wish them, for contract tests."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from swarm.agents.effects import Clock, Effect
from swarm.agents.host import Host
from swarm.agents.policy import Exploration, Learned
from swarm.agents.shard import Shard, ShardSpec
from swarm.agents.view import View
from swarm.learning.networks import Weights
from swarm.market.orders import SELL
from swarm.messages import (
    ORDER_COLUMNS,
    Int,
    Notice,
    Orders,
    Signal,
    StepReply,
    concatenate,
    encode,
)
from swarm.runtime.packing import cut
from tests.agents.helpers import CAP, FLOOR, shard_spec, signal
from tests.learning.sets import drawn

PolicyWeights: TypeAlias = dict[str, Weights]
BATTERY = {"self_discharge_per_hour": 0.01, "round_trip_efficiency": 0.8}
ASSETS: dict[str, list[dict[str, Any]]] = {
    "consumer": [
        {"load_noise": 0.1},
        {"load_mw": 5, "flexible_mw": 5, "shift_window_hours": 0.5},
        {"flexible_mw": 0, "response_price_per_mwh": 400},
    ],
    "ev": [
        {**BATTERY, "vehicle_to_grid": True},
        {"arrival_hour": 2, "departure_hour": 9, "power_mw": 0.003},
        {"arrival_hour": 22, "departure_hour": 1, "trip_energy_mwh": 1, "vehicle_to_grid": True},
    ],
    "generator": [
        {"min_output_mw": 60, "ramp_mw_per_minute": 1, "start_cost": 9, "min_up_hours": 1},
        {"marginal_cost_slope_per_mw": 0.1, "mean_time_to_failure_hours": 2, "min_down_hours": 2},
        {"profile": "hydro", "offer_price_per_mwh": 5, "mean_time_to_repair_hours": 0.5},
    ],
    "home": [{**BATTERY, "load_noise": 0.2}, {"energy_mwh": 0}, {"solar_mw": 0, "load_mw": 0.01}],
    "solar": [{}, {"offer_price_per_mwh": -40}, {"capacity_mw": 0}],
    "storage": [
        BATTERY,
        {"min_state_of_charge": 0.5, "max_state_of_charge": 0.5},
        {"degradation_cost_per_mwh": 0, "round_trip_efficiency": 1},
    ],
    "wind": [{}, {"offer_price_per_mwh": -40}, {"capacity_mw": 0.001}],
}
BUILT = ("heuristic", "random", "trained")
POLICIES = (
    *BUILT,
    "tests.contract.outside_policies:Erratic",
    "tests.contract.outside_policies:Still",
)
EXPLORES = Exploration(0.3, 0.2)
TICKS = 210
"""More than a day."""
PACKED = 125
"""Ticks over which packings are compared: past every event."""
NONE = np.zeros(0, dtype=np.int64)


@functools.cache
def weights_of(kind: str, policies: int) -> PolicyWeights:
    """Of `policies` agents, by network, that nobody trained."""
    return drawn({kind: policies})[kind]


def spec_of(kind: str, policy: str, seed: int = 1) -> ShardSpec:
    """Seven agents of uneven size; those that are trained share their weights."""
    assets = [*ASSETS[kind], *ASSETS[kind], *ASSETS[kind][:1]]
    r = np.random.default_rng(9)
    series = {role: r.random((TICKS, 3)) * 1.1 for role in ("load", "availability")}
    effects = (
        Effect("outage", 40, 60, (101, 104)),
        Effect("maintenance", 70, 90, (100, 103, 104)),
        Effect("load", 30, 80, (102, 105), 1.5),
        Effect("sun", 100, 120, None, 0.2),
    )
    spec = shard_spec(
        kind,
        assets,
        series=series,
        policy=policy,
        seed=seed,
        first=100,
        ticks=TICKS,
        clock=Clock(7, 20.25),
        effects=effects,
    )
    return with_weights(spec, weights_of(kind, 1)) if policy == "trained" else spec


def with_weights(
    spec: ShardSpec, weights: PolicyWeights, exploration: Exploration | None = None
) -> ShardSpec:
    """The same agents acting on these weights."""
    return replace(spec, learned=Learned(weights, exploration))


@functools.cache
def rough_signal(tick: int) -> Signal:
    """Prices that leap between floor and cap, with gaps, as nobody would wish them."""
    r = np.random.default_rng(tick)
    forecast = np.clip(r.normal(60, 10.0 ** r.integers(0, 4), 24), FLOOR, CAP)
    history = np.where(r.random(24) < 0.2, np.nan, forecast[::-1])
    if tick % 17 == 0:
        forecast, history = np.full(24, np.nan), np.full(24, np.nan)
    carbon = float(r.choice([0.0, 80.0]))
    return signal(
        tick,
        price_per_mwh=float("nan"),
        price_forecast=forecast,
        price_history=history,
        carbon_price_per_tonne=carbon,
        accepting=tick < TICKS,
    )


def acceptance(tick: int, orders: Any) -> Int:
    """All, nothing or a part of each order, from its owner alone, whatever the packing."""
    luck = (orders.agent * 7919 + tick * 104729 + orders.side * 31) % 5
    part = orders.quantity * ((orders.agent + tick) % 11) // 10
    accepted = np.where(luck < 2, orders.quantity, np.where(luck == 2, 0, part))
    # No market accepts both sides of an agent whose buy is below its sell; take the purchase.
    return np.where((orders.side == SELL) & (tick % 3 == 0), 0, accepted)


def run(
    spec: ShardSpec, cuts: tuple[int, ...] = (), steps: int = TICKS + 2
) -> tuple[list[StepReply], list[Host]]:
    """Step the agents of `spec`, cut into hosts, and join their replies in order."""
    edges = [0, *cuts, len(spec.roster)]
    hosts = [Host([cut(spec, a, b)]) for a, b in itertools.pairwise(edges)]
    told: list[Notice | None] = [None] * len(hosts)
    replies = []
    for tick in range(steps):
        parts = [h.step(rough_signal(tick), n) for h, n in zip(hosts, told, strict=True)]
        told = []
        for part, host in zip(parts, hosts, strict=True):
            agents = host.shards[0].agents
            profit = agents * 1000 + tick if tick > 0 else NONE
            told.append(Notice(tick, acceptance(tick, part.orders), profit))
        replies.append(joined(parts))
    return replies, hosts


@functools.cache
def whole_run(kind: str, policy: str) -> tuple[list[StepReply], list[Host]]:
    """All ticks, all agents in one host."""
    return run(spec_of(kind, policy))


def joined(parts: list[StepReply]) -> StepReply:
    """One reply of several, orders and meters one after the other."""
    orders = Orders(*(np.concatenate([getattr(p.orders, c) for p in parts]) for c in ORDER_COLUMNS))
    meters = [p.meters for p in parts if p.meters is not None]
    return StepReply(parts[0].tick, orders, concatenate(meters) if meters else None)


def same(a: list[StepReply], b: list[StepReply]) -> bool:
    """Whether both are the same bytes."""
    return [encode(x) for x in a] == [encode(x) for x in b]


def view_of(of: Shard, tick: int) -> View:
    """What the agents of a shard would see at a tick."""
    return View(
        signal=rough_signal(tick),
        tick_hours=of.spec.clock.tick_hours,
        hour_of_day=of.spec.clock.hour_of_day(tick),
        forecast=of.nature.values(tick),
        standing=np.zeros(len(of.agents), dtype=bool),
        uniforms=of._uniforms("policy", tick),
    )


def steps(of: Shard, ticks: range, last: StepReply | None = None) -> list[StepReply]:
    """Step on by hand after the reply `last`; all are paid alike."""
    replies = []
    for tick in ticks:
        accepted = NONE if last is None else acceptance(tick - 1, last.orders)
        last = of.step(rough_signal(tick), accepted, of.agents * 1000 if tick > 1 else NONE)
        replies.append(last)
    return replies
