"""Every kind on a physical grid: what is sold can be held, what is drawn is booked.

The market is replaced by luck, and the trimming of energy orders is written again from its rule.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.agents.effects import Clock, Effect
from swarm.agents.host import Host
from swarm.agents.kinds import KINDS
from swarm.agents.policy import BUILT_IN
from swarm.agents.shard import Shard, ShardSpec
from swarm.market.orders import BUY, SELL
from swarm.messages import (
    DOWN,
    METER_COLUMNS,
    RESERVE_PRODUCTS,
    UP,
    Meters,
    Notice,
    Orders,
    ReserveOffers,
    Response,
    StepReply,
    encode,
)
from swarm.runtime.packing import cut
from tests.agents.helpers import check_meters, shard_spec, signal

from .rough import ASSETS, POLICIES, TICKS, rough_signal, weights_of, with_weights
from .test_kinds_and_policies import every_kind

NONE = np.zeros(0, dtype=np.int64)
STEPS = 100
"""Past every event."""
HELD = tuple(f"{product}_w" for product in RESERVE_PRODUCTS)
QUIET = {
    # Nothing fails, and load and weather come as forecast.
    "consumer": [
        {"load_mw": 5, "flexible_mw": 5, "shift_window_hours": 1},
        {},
        {"shift_window_hours": 0.2},
    ],
    "ev": [
        {"vehicle_to_grid": True, "trip_energy_mwh": 0.03},
        {"vehicle_to_grid": True, "round_trip_efficiency": 0.5, "self_discharge_per_hour": 0.01},
        {},
    ],
    "generator": [
        {"min_output_mw": 60, "ramp_mw_per_minute": 1, "start_cost": 9, "min_up_hours": 1},
        {"marginal_cost_slope_per_mw": 0.1, "ramp_mw_per_minute": 0.3, "droop": None},
        {"profile": "hydro", "min_output_mw": 10, "droop": 0.04},
    ],
    "home": [{"energy_mwh": 0.02, "self_discharge_per_hour": 0.01}, {"energy_mwh": 0}, {}],
    "solar": [{}, {"offer_price_per_mwh": -40}, {"capacity_mw": 0.1}],
    "storage": ASSETS["storage"],
    "wind": [{}, {"offer_price_per_mwh": -40}, {"capacity_mw": 0.001}],
}


def trimmed(orders: Orders, offers: ReserveOffers | None, sold: np.ndarray) -> np.ndarray:
    """Quantities left when what reserve needs beyond the spare is taken out, order by order."""
    left = orders.quantity.copy()
    if offers is None:
        return left
    for agent, (products, side) in itertools.product(
        np.unique(offers.agent), ((UP, SELL), (DOWN, BUY))
    ):
        of = (offers.agent == agent) & np.isin(offers.product, products)
        if not of.any():
            continue
        missing = max(0, int(sold[of].sum() - offers.spare[of][0]))
        rows = np.flatnonzero((orders.agent == agent) & (orders.side == side))
        # Dearest sells and cheapest buys first, the later order of two at one price.
        for row in sorted(rows, key=lambda r: (-side * orders.price[r], -r)):
            taken = min(missing, int(left[row]))
            left[row], missing = left[row] - taken, missing - taken
        assert missing == 0, "sold more than spare and orders together"
    return left


def accept(kind: str, orders: Orders, left: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """A part of each order; what an agent's reserve bets on is accepted in full."""
    part = np.where(luck < 0.3, 0.0, np.where(luck < 0.6, 1.0, luck))
    sure = kind in ("solar", "wind") or (kind == "consumer" and orders.side == BUY)
    return np.where(sure, left, np.floor(left * part)).astype(np.int64)


@every_kind
@settings(max_examples=12)
@given(
    policy=st.sampled_from(("heuristic", "random", "tests.contract.outside_policies:Erratic")),
    asked=st.sampled_from([(1, 1, 1, 1), (3, 1, 1, 0), (0, 0, 1, 1), (1, 0, 0, 0)]),
    hour=st.sampled_from([1.0, 17.5, 22.0]),
    seed=st.integers(0, 10_000),
)
def test_what_is_sold_of_reserve_can_be_held(
    kind: str, policy: str, asked: tuple[int, ...], hour: float, seed: int
) -> None:
    r = np.random.default_rng(seed)
    spec = shard_spec(
        kind,
        QUIET[kind],
        series={role: r.random((30, 3)) for role in ("load", "availability")},
        policy=policy,
        seed=seed,
        first=10,
        ticks=30,
        clock=Clock(15, hour),
        forecast="perfect",
        physical=True,
    )
    of, accepted, sold, rows = Shard(spec), NONE, NONE, None
    for tick in range(24):
        asks = tuple(share * 10**9 for share in asked)
        prices = r.normal(50, 60, 24).clip(-400, 2000)
        now = signal(tick, price_forecast=prices, reserve_w=asks, accepting=tick < 23)
        reply = of.step(now, accepted, NONE, sold)
        if reply.meters is not None:
            check_meters(reply.meters, 3)
            expected = np.zeros((3, 4), dtype=np.int64)
            if rows is not None:
                expected[rows.agent - 10, rows.product] = sold
            held = np.column_stack([getattr(reply.meters, name) for name in HELD])
            np.testing.assert_array_equal(held, expected)
        rows = reply.reserve
        sold = NONE
        if rows is not None:
            assert all(asked[product] for product in rows.product)
            assert (rows.quantity > 0).all()
            assert (rows.price >= 0).all()
            part = np.where(r.random(len(rows.agent)) < 0.5, 1.0, r.random(len(rows.agent)))
            sold = np.floor(rows.quantity * part).astype(np.int64)
        left = trimmed(reply.orders, rows, sold)
        accepted = accept(kind, reply.orders, left, r.random(len(left)))


def test_the_test_above_sees_reserve_of_every_kind() -> None:
    for kind in KINDS:
        clock = Clock(15, 20.0)
        of = Shard(shard_spec(kind, QUIET[kind], clock=clock, forecast="perfect", physical=True))
        prices = np.linspace(80, 160, 24)
        told, sold, products = NONE, NONE, set()
        for tick in range(3):
            now = signal(tick, price_forecast=prices, reserve_w=(10**9,) * 4)
            reply = of.step(now, told, NONE, sold)
            told = reply.orders.quantity
            assert reply.reserve is not None, kind
            sold = reply.reserve.quantity * 0
            products |= set(reply.reserve.product.tolist())
        ways = {"consumer": {0, 2}, "solar": {1, 3}, "wind": {1, 3}, "generator": {0, 1, 2, 3}}
        assert products == ways.get(kind, {0, 1, 2, 3}), kind


def drawn_in(tick: int, kind: str, meters: Meters) -> Response:
    """What the operator draws in the interval of these meters: luck within the headroom."""
    n = len(meters.up_w)
    u = np.random.default_rng(tick).random((n, 3))
    up, down = np.floor(meters.up_w * u[:, 0]), np.floor(meters.down_w * u[:, 0])
    way = np.where(u[:, 1] < 0.4, up, np.where(u[:, 1] < 0.8, -down, 0))
    shed = np.floor(meters.load_w * u[:, 2]) * (tick % 5 == 0)
    # Held back is of what is generated and not taken down already.
    left = meters.generation_w + np.minimum(way, 0) * (kind != "home")
    held_back = np.floor(np.maximum(left, 0) * u[:, 2]) * (tick % 7 == 0)
    return Response(*(x.astype(np.int64) for x in (way, shed, held_back)))


def physical_spec(kind: str, policy: str) -> ShardSpec:
    assets = [*ASSETS[kind], *ASSETS[kind], *ASSETS[kind][:1]]
    r = np.random.default_rng(9)
    effects = (
        Effect("outage", 40, 60, (101, 104)),
        Effect("maintenance", 70, 90, (100, 103, 104)),
        Effect("load", 30, 80, (102, 105), 1.5),
    )
    return shard_spec(
        kind,
        assets,
        series={role: r.random((TICKS, 3)) * 1.1 for role in ("load", "availability")},
        policy=policy,
        first=100,
        ticks=TICKS,
        clock=Clock(7, 20.25),
        effects=effects,
        physical=True,
    )


def grid_run(
    spec: ShardSpec, cuts: tuple[int, ...], steps: int
) -> tuple[list[StepReply], list[Response]]:
    """Step agents cut into shards of one host; reserve is sold and drawn from by luck."""
    edges = [0, *cuts, len(spec.roster)]
    host = Host([cut(spec, a, b) for a, b in itertools.pairwise(edges)])
    told, replies, responses = None, [], []
    for tick in range(steps):
        asks = {"reserve_w": (10**8, 10**8, 10**8, 10**8)} if tick % 4 else {}
        reply = host.step(msgspec.structs.replace(rough_signal(tick), **asks), told)
        replies.append(reply)
        response = None
        if reply.meters is not None:
            response = drawn_in(tick - 1, spec.roster.kind, reply.meters)
            responses.append(response)
        o, sold = reply.orders, NONE
        if reply.reserve is not None:
            offers = reply.reserve
            sold = offers.quantity * ((offers.agent + offers.product + tick) % 3) // 2
        left = trimmed(o, reply.reserve, sold)
        accepted = np.where((o.agent * 7919 + tick * 31 + o.side) % 3 == 0, 0, left)
        accepted[o.side == SELL] *= tick % 3 > 0
        told = Notice(tick, accepted, NONE, sold, response)
    return replies, responses


@every_kind
@pytest.mark.parametrize("policy", POLICIES)
def test_state_and_books_hold_under_random_responses(kind: str, policy: str) -> None:
    spec = physical_spec(kind, policy)
    if policy == "trained":
        spec = with_weights(spec, weights_of(kind, 1))
    replies, responses = grid_run(spec, (), STEPS)
    battery = getattr(Shard(spec).parameters, "battery", None)
    stored = None if battery is None else battery.initial_mwh
    drawn_at_all = 0
    for reply, drawn in zip(replies[1:], responses, strict=True):
        m = reply.meters
        assert m is not None
        check_meters(m, len(spec.roster), after_response=True)
        drawn_at_all += int(np.abs(drawn.activated_w).sum())
        if battery is None:
            continue
        stored = stored - m.trip_mwh
        metered = after(battery, stored, m.battery_w, spec.clock.tick_hours)
        np.testing.assert_allclose(m.stored_mwh, metered, rtol=1e-9, atol=1e-12)
        # Metered is the schedule; the response moved the same cells in the same interval.
        flowed = m.battery_w + drawn.activated_w
        assert (np.abs(flowed) <= battery.power_mw * 1e6 + 1e-6).all()
        stored = after(battery, stored, flowed, spec.clock.tick_hours)
        floor = 0 if kind == "ev" else battery.floor_mwh
        for energy in (m.stored_mwh, stored):
            assert (energy >= floor - 1e-12 * battery.energy_mwh).all()
            assert (energy <= battery.ceiling_mwh + 1e-12 * battery.energy_mwh).all()
    # Units that odd policies never start have nothing to draw from.
    assert drawn_at_all > 0 or (kind == "generator" and policy not in BUILT_IN)


def after(battery: Any, stored: np.ndarray, power_w: np.ndarray, hours: float) -> np.ndarray:
    """Energy after an interval: e (1 - d)^h + charged eta_c - discharged / eta_d."""
    rested = stored * (1 - battery.self_discharge_per_hour) ** hours
    rested = np.maximum(rested, np.minimum(stored, battery.floor_mwh))
    energy = np.abs(power_w) / 1e6 * hours
    charged = np.where(power_w < 0, energy, 0) * battery.charge_efficiency
    return rested + charged - np.where(power_w > 0, energy, 0) / battery.discharge_efficiency


@every_kind
def test_reserve_and_response_pack_as_well(kind: str) -> None:
    spec = physical_spec(kind, "random")
    whole, responses = grid_run(spec, (), STEPS)
    cut_up, _ = grid_run(spec, (1, 2, 5), STEPS)
    assert [encode(reply) for reply in whole] == [encode(reply) for reply in cut_up]
    assert any(reply.reserve is not None for reply in whole)
    assert len(responses) == STEPS - 1


@every_kind
def test_without_a_grid_nothing_of_it_is_metered_and_nothing_changes(kind: str) -> None:
    replies = {}
    for physical in (False, True):
        spec = replace(physical_spec(kind, "random"), physical=physical)
        host, told = Host([spec]), None
        replies[physical] = []
        for tick in range(60):
            reply = host.step(rough_signal(tick), told)
            told = Notice(tick, reply.orders.quantity * (tick % 3) // 2, NONE)
            replies[physical].append(reply)
    seen = 0
    for plain, physical in zip(replies[False], replies[True], strict=True):
        assert plain.reserve is None is physical.reserve
        assert encode(StepReply(0, plain.orders, None)) == encode(
            StepReply(0, physical.orders, None)
        )
        if plain.meters is None or physical.meters is None:
            continue
        for name in METER_COLUMNS:
            ours, theirs = getattr(plain.meters, name), getattr(physical.meters, name)
            if name in ("up_w", "down_w", "sudden_w"):
                assert not ours.any()
                seen += np.count_nonzero(theirs)
            else:
                np.testing.assert_array_equal(ours, theirs)
    assert seen > 0


@every_kind
def test_who_does_not_respond_has_no_headroom_and_offers_no_reserve(kind: str) -> None:
    spec = replace(physical_spec(kind, "heuristic"), responds=False)
    replies, _ = grid_run(spec, (), 60)
    seen = sum(
        np.count_nonzero([reply.meters.up_w, reply.meters.down_w])
        for reply in replies
        if reply.meters is not None
    )
    seen += sum(reply.reserve is not None for reply in replies)
    assert (seen == 0) == KINDS[kind].FLEXIBLE
