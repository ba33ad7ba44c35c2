"""One contract for every kind on a physical grid: what is sold can be held, what is drawn is booked.

The market is replaced by luck, and the trimming of energy orders is written again from its rule.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.agents.kinds import KINDS
from swarm.agents.shard import Clock, Effect, Host, Shard, ShardSpec, cut
from swarm.market.orders import BUY, SELL
from swarm.messages import (
    DOWN,
    RESERVE_PRODUCTS,
    UP,
    Meters,
    Notice,
    Orders,
    ReserveOffers,
    Response,
    StepReply,
    concatenate,
    encode,
)
from tests.agents.helpers import check_meters, shard_spec, signal

from .test_kinds_and_policies import ASSETS, POLICIES, TICKS, every_kind, rough_signal

NONE = np.zeros(0, dtype=np.int64)
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
        clock=Clock(15, hour),
        perfect_forecast=True,
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
        of = Shard(shard_spec(kind, QUIET[kind], clock=clock, perfect_forecast=True, physical=True))
        prices = np.linspace(40, 60, 24)
        told, products = NONE, set()
        for tick in range(3):
            now = signal(tick, price_forecast=prices, reserve_w=(10**9,) * 4)
            reply = of.step(now, told, NONE, NONE if tick == 0 else sold)
            told = reply.orders.quantity // 2
            assert reply.reserve is not None, kind
            sold = reply.reserve.quantity * 0
            products |= set(reply.reserve.product.tolist())
        ways = {"consumer": {0, 2}, "solar": {1, 3}, "wind": {1, 3}, "generator": {0, 1, 2, 3}}
        assert products == ways.get(kind, {0, 1, 2, 3}), kind


class Grid:
    """Draws a response within the headroom of every agent, by its global index alone."""

    def __init__(self, kind: str, seed: int = 3) -> None:
        self.kind, self.seed = kind, seed

    def drawn(self, tick: int, meters: Meters, first: int) -> Response:
        """What is drawn in the interval of these meters, of agents from `first` on."""
        n = len(meters.up_w)
        r = np.random.default_rng([self.seed, tick])
        u = r.random((200, 3))[first - 100 : first - 100 + n]
        up, down = np.floor(meters.up_w * u[:, 0]), np.floor(meters.down_w * u[:, 0])
        way = np.where(u[:, 1] < 0.4, up, np.where(u[:, 1] < 0.8, -down, 0))
        shed = np.floor(meters.load_w * u[:, 2]) if tick % 5 == 0 else np.zeros(n)
        # Held back is what is generated and not taken down already.
        rest = meters.generation_w + np.minimum(way, 0) * (self.kind != "home")
        held = np.floor(np.maximum(rest, 0) * u[:, 2]) if tick % 7 == 0 else np.zeros(n)
        return Response(*(x.astype(np.int64) for x in (way, shed, held)))


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
    grid, told, replies, responses = Grid(spec.roster.kind), None, [], []
    for tick in range(steps):
        asks = {"reserve_w": (10**8, 10**8, 10**8, 10**8)} if tick % 4 else {}
        reply = host.step(_with(rough_signal(tick), asks), told)
        replies.append(reply)
        response = None
        if reply.meters is not None:
            response = grid.drawn(tick - 1, reply.meters, 100)
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


def _with(given: Any, changes: dict[str, Any]) -> Any:
    values = {name: getattr(given, name) for name in given.__struct_fields__}
    return type(given)(**{**values, **changes})


@every_kind
@pytest.mark.parametrize("policy", POLICIES)
def test_state_and_books_hold_under_random_responses(kind: str, policy: str) -> None:
    spec = physical_spec(kind, policy)
    replies, responses = grid_run(spec, (), 200)
    n, hours = len(spec.roster), spec.clock.tick_hours
    cells = getattr(Shard(spec).parameters, "battery", None)
    true = None if cells is None else cells.initial_mwh
    for reply, drawn in zip(replies[1:], responses, strict=True):
        m = reply.meters
        assert m is not None
        check_meters(m, n, after_response=True)
        if cells is None or true is None:
            continue
        assert (m.stored_mwh >= (0 if kind == "ev" else cells.floor_mwh)).all()
        assert (m.stored_mwh <= cells.ceiling_mwh).all()
        true = book(spec, true - m.trip_mwh, m.battery_w, hours)
        np.testing.assert_allclose(m.stored_mwh, true, rtol=1e-9, atol=1e-12)
        flowed = m.battery_w + drawn.activated_w
        assert (np.abs(flowed) <= cells.power_mw * 1e6 + 1e-6).all()
        before = previous(spec, replies, responses, reply.tick)
        true = book(spec, before - m.trip_mwh, flowed, hours)
        assert (true >= (-1e-12 if kind == "ev" else cells.floor_mwh - 1e-12)).all()
        assert (true <= cells.ceiling_mwh + 1e-12).all()
        _TRUE[kind, policy, reply.tick] = true


_TRUE: dict[Any, np.ndarray] = {}
