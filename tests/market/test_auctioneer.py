"""The market of a run: nothing may depend on how agents are packed, and the ledger closes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.market.auction import MarketSpec
from swarm.market.auctioneer import Market
from swarm.market.clearing import MECHANISMS
from swarm.market.orders import BUY, SELL, WATTS_PER_MW
from swarm.market.outside import Connection
from swarm.market.record import Cleared, TickRecord
from swarm.messages import (
    FLOAT_METERS,
    METER_COLUMNS,
    NO_RESERVE,
    Drawn,
    Meters,
    Notice,
    Orders,
    StepReply,
    encode,
)

from .oracle import Order, walk

FLOOR, CAP = -500.0, 3_000.0
PRICES = [-500_000, -499_999, 0, 1, 10_000, 20_000, 3_000_000]
QUANTITIES = [0, 1, 2, 3, 7, 1_000_003, 30_000_000]
OUTSIDE_PRICES = [-500.0, -499.999, 0.0, 10.0, 20.0, 2_990.0]

# A generator drawn by its seed: hypothesis' own would turn every shuffle into many draws.
shuffles = st.builds(random.Random, st.integers(0, 2**32 - 1))


@dataclass(frozen=True)
class Play:
    """Some ticks of a market: the offers of each (grouped by agent) and the meters after it."""

    agents: int
    offers: list[list[Order]]
    meters: list[Meters]
    spec: MarketSpec


@st.composite
def plays(draw: st.DrawFn, max_agents: int = 5, max_ticks: int = 2) -> Play:
    """Random offers and meters; an order is drawn as one integer and taken apart, for speed."""
    agents, ticks = draw(st.integers(1, max_agents)), draw(st.integers(1, max_ticks))
    codes = st.integers(0, 2 * len(PRICES) * len(QUANTITIES) * agents - 1)
    offers = []
    for _ in range(ticks):
        orders = []
        for code in draw(st.lists(codes, max_size=7)):
            rest, is_buy = divmod(code, 2)
            rest, price = divmod(rest, len(PRICES))
            agent, quantity = divmod(rest, len(QUANTITIES))
            side = BUY if is_buy else SELL
            orders.append(Order(side, PRICES[price], QUANTITIES[quantity], agent))
        offers.append(sorted(orders, key=lambda order: order.agent))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    meters = [random_meters(rng, agents) for _ in range(ticks)]
    outside = Connection(
        import_limit_w=draw(st.sampled_from([0, 5, 10**7])),
        export_limit_w=draw(st.sampled_from([0, 5, 10**7])),
        price_per_mwh=np.array([draw(st.sampled_from(OUTSIDE_PRICES)) for _ in range(ticks)]),
        import_premium_per_mwh=draw(st.sampled_from([0.0, 0.001, 10.0])),
        export_discount_per_mwh=draw(st.sampled_from([0.0, 0.001, 10.0])),
        balancing_margin_w=draw(st.sampled_from([0, 2])),
    )
    spec = MarketSpec(
        mechanism=draw(st.sampled_from(sorted(MECHANISMS))),
        vertical_step=draw(st.sampled_from(["lower", "midpoint"])),
        price_floor=FLOOR,
        price_cap=np.full(ticks, CAP),
        penalty_per_mwh=draw(st.sampled_from([0.0, 0.003, 20.0])),
        tick_minutes=draw(st.sampled_from([1, 5, 60])),
        outside=outside,
        host_agents=(),
        keep_orders=True,
    )
    return Play(agents, offers, meters, spec)


def random_meters(rng: np.random.Generator, agents: int) -> Meters:
    """Any numbers: the market only reads what was delivered."""
    return Meters(
        **{
            name: rng.random(agents)
            if name in FLOAT_METERS
            else rng.integers(-(10**8), 10**8, agents)
            for name in METER_COLUMNS
        }
    )


def pack(agents: int, rng: random.Random) -> tuple[np.ndarray, ...]:
    """Every agent on some host, in any order there; hosts may be empty."""
    hosts: list[list[int]] = [[] for _ in range(rng.randint(1, agents + 1))]
    for agent in rng.sample(range(agents), agents):
        rng.choice(hosts).append(agent)
    return tuple(np.array(host, dtype=np.int64) for host in hosts)


def mix(orders: list[Order], host: np.ndarray, rng: random.Random) -> list[Order]:
    """The orders of a host's agents in any order, each agent's own in the order it sent them."""
    queues = {agent: [o for o in orders if o.agent == agent] for agent in host.tolist()}
    turns = [agent for agent, queue in queues.items() for _ in queue]
    rng.shuffle(turns)
    return [queues[agent].pop(0) for agent in turns]


def columns(orders: Sequence[Order]) -> Orders:
    side, price, quantity, agent = np.array(orders, dtype=np.int64).reshape(-1, 4).T.copy()
    return Orders(side.astype(np.int8), price, quantity, agent)


@dataclass
class Played:
    market: Market
    cleared: list[Cleared]
    records: list[TickRecord]
    sent: list[list[list[Order]]]
    """By tick and host, as sent."""
    notices: list[tuple[Notice, ...]]


def run(play: Play, hosts: tuple[np.ndarray, ...], rng: random.Random) -> Played:
    """Step the market through all ticks and the closing step, checking the ledger each time."""
    market = Market(replace(play.spec, host_agents=hosts))
    played = Played(market, [], [], [], [])
    ticks = len(play.offers)
    for tick in range(ticks + 1):
        offers = play.offers[tick] if tick < ticks else []
        sent = [mix(offers, host, rng) for host in hosts]
        replies = [
            StepReply(
                tick,
                columns(orders),
                Meters(*(getattr(play.meters[tick - 1], name)[host] for name in METER_COLUMNS))
                if tick
                else None,
            )
            for orders, host in zip(sent, hosts, strict=True)
        ]
        flow = play.spec.outside.flow_w(int(play.meters[tick - 1].delivered_w.sum())) if tick else 0
        cleared, record, notices = market.clear(tick, replies, plain(tick, flow))
        played.cleared.append(cleared)
        played.sent.append(sent)
        played.notices.append(notices)
        assert (record is None) == (tick == 0)
        if record is not None:
            played.records.append(record)
        ledger = sum(market.balances_micro.tolist()) + market.operator_micro
        assert ledger + market.rounding_micro == 0
    return played


def plain(tick: int, flow_w: int) -> Drawn:
    """The operator asks for no reserve and draws nothing."""
    return Drawn(tick, NO_RESERVE, True, flow_w, 0, None)


def flat(play: Play, rng: random.Random) -> Played:
    """All agents on one host, in order."""
    return run(play, (np.arange(play.agents),), rng)


@given(plays(), shuffles)
def test_packing_changes_nothing(play: Play, rng: random.Random) -> None:
    one, packed = flat(play, rng), run(play, pack(play.agents, rng), rng)
    assert packed.cleared == one.cleared
    # The bytes cover every field: contracts, payments, meters and the book in global order.
    assert [encode(r) for r in packed.records] == [encode(r) for r in one.records]
    assert packed.market.balances_micro.tolist() == one.market.balances_micro.tolist()
    assert packed.market.operator_micro == one.market.operator_micro
    assert packed.market.rounding_micro == one.market.rounding_micro


def test_packing_changes_nothing_where_agents_send_many_orders() -> None:
    """Long enough that a sort that is not stable would mix up an agent's own orders."""
    draw, agents = random.Random(1), 20
    offers = [
        Order(draw.choice([SELL, BUY]), draw.choice(PRICES), draw.choice(QUANTITIES), agent)
        for agent in range(agents)
        for _ in range(100)
    ]
    meters = random_meters(np.random.default_rng(1), agents)
    spec = MarketSpec(
        mechanism="uniform_price",
        vertical_step="lower",
        price_floor=FLOOR,
        price_cap=np.full(1, CAP),
        penalty_per_mwh=20.0,
        tick_minutes=5,
        outside=Connection.none(1),
        host_agents=(),
        keep_orders=True,
    )
    play = Play(agents, [offers], [meters], spec)
    one, packed = flat(play, draw), run(play, pack(agents, draw), draw)
    assert one.cleared[0].volume_w > 0
    assert [encode(r) for r in packed.records] == [encode(r) for r in one.records]


@given(plays(), shuffles)
def test_notices_answer_each_host_in_its_own_order(play: Play, rng: random.Random) -> None:
    hosts = pack(play.agents, rng)
    played = run(play, hosts, rng)
    for tick, record in enumerate(played.records):
        assert record.book is not None
        # An agent's orders keep their order everywhere, so its acceptances can be told off.
        accepted = {
            agent: record.accepted_w[record.book.agent == agent].tolist()
            for agent in range(play.agents)
        }
        for sent, host, notice, later in zip(
            played.sent[tick], hosts, played.notices[tick], played.notices[tick + 1], strict=True
        ):
            assert notice.tick == tick
            assert notice.accepted_w.tolist() == [accepted[o.agent].pop(0) for o in sent]
            assert later.received_micro.tolist() == record.received_micro[host].tolist()
        assert not any(accepted.values())
    assert all(len(notice.received_micro) == 0 for notice in played.notices[0])
    assert all(len(notice.accepted_w) == 0 for notice in played.notices[-1])


@given(plays(), shuffles)
def test_every_tick_is_the_walk_over_all_orders_and_the_outside(
    play: Play, rng: random.Random
) -> None:
    """Price, volume and acceptances as merit order has them; the record adds up."""
    played = run(play, pack(play.agents, rng), rng)
    outside, premium = play.spec.outside, play.spec.outside.import_premium_per_mwh
    for tick, record in enumerate(played.records):
        assert record.book is not None
        book = record.book
        rows = [Order(*r) for r in zip(*(c.tolist() for c in vars(book).values()), strict=True)]
        assert [r for r in rows if r.agent < play.agents] == play.offers[tick]
        found = walk(rows)
        assert record.volume_w == played.cleared[tick].volume_w == found.volume
        assert record.accepted_w.tolist() == found.accepted
        assert record.price_milli == played.cleared[tick].price_milli
        if play.spec.mechanism == "uniform_price" and play.spec.vertical_step == "lower":
            assert record.price_milli == found.price

        signed = [r.side * w for r, w in zip(rows, found.accepted, strict=True)]
        own = np.zeros(play.agents + 1, dtype=np.int64)
        for row, watts in zip(rows, signed, strict=True):
            own[row.agent] += watts
        assert record.contract_w.tolist() == own[:-1].tolist()
        assert record.imported_w == own[-1] == -record.contract_w.sum()
        assert record.orders == len(rows)
        assert record.supply_offered_w == sum(r.quantity for r in rows if r.side == SELL)
        assert record.demand_bid_w == sum(r.quantity for r in rows if r.side == BUY)
        paid = sum(record.received_micro.tolist()) + record.outside_micro
        assert paid + record.operator_micro + record.rounding_micro == 0

        # The connection is never on both sides of a trade, and keeps its margin free.
        at_outside = [s for r, s in zip(rows, signed, strict=True) if r.agent == play.agents]
        assert not (min(at_outside, default=0) < 0 < max(at_outside, default=0))
        room = outside.balancing_margin_w
        assert max(at_outside, default=0) <= max(outside.import_limit_w - room, 0)
        assert -min(at_outside, default=0) <= max(outside.export_limit_w - room, 0)
        if record.imported_w > 0 and record.price_milli is not None:
            asked = round((outside.price_per_mwh[tick] + premium) * 1_000)
            uniform = play.spec.mechanism == "uniform_price"
            assert not uniform or record.price_milli >= asked


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(-(2**41), 2**41), st.booleans())
def test_the_outside_balances_what_it_can(most_in: int, most_out: int, net: int, at: bool) -> None:
    connection = replace(Connection.none(1), import_limit_w=most_in, export_limit_w=most_out)
    net = most_out if at else net
    flow = connection.flow_w(net)
    assert -most_out <= flow <= most_in
    if -most_in <= net <= most_out:
        assert flow + net == 0
    else:
        assert abs(flow + net) == min(abs(-net - most_in), abs(-net + most_out))


@pytest.mark.parametrize(
    ("price", "premium", "discount", "expected"),
    [
        (50.0, 2.0, 3.0, {SELL: 52_000, BUY: 47_000}),
        (50.0, 0.0, 0.0, {SELL: 50_000, BUY: 49_999}),
        (-499.0, 0.0, 3.0, {SELL: -499_000, BUY: -500_000}),
        (-500.0, 0.0, 0.0, {SELL: -500_000}),
    ],
)
def test_the_outside_offers_imports_and_bids_for_exports(
    price: float, premium: float, discount: float, expected: dict[int, int]
) -> None:
    outside = Connection(10, 7, np.array([price]), premium, discount, 2)
    orders = outside.orders(0, 3, int(FLOOR * 1_000))
    assert dict(zip(orders.side.tolist(), orders.price.tolist(), strict=True)) == expected
    assert orders.quantity.tolist() == [8, 5][: len(expected)]
    assert orders.agent.tolist() == [3] * len(expected)


@pytest.mark.parametrize("price", [FLOOR, FLOOR + 0.001, 0.0])
@pytest.mark.parametrize("discount", [0.0, 0.001, 5.0])
def test_the_outside_does_not_trade_with_itself(price: float, discount: float) -> None:
    """Alone in the market it finds no partner, at the floor either."""
    outside = Connection(10, 10, np.array([price]), 0.0, discount, 0)
    orders = outside.orders(0, 1, int(FLOOR * 1_000))
    offers, bids = orders.price[orders.side == SELL], orders.price[orders.side == BUY]
    assert len(offers) == 1
    assert (bids < offers.min()).all()
    assert (bids >= FLOOR * 1_000).all()


def market(outside: Connection, ticks: int, minutes: int = 60) -> Market:
    return Market(
        MarketSpec(
            mechanism="uniform_price",
            vertical_step="lower",
            price_floor=FLOOR,
            price_cap=np.full(ticks, CAP),
            penalty_per_mwh=20.0,
            tick_minutes=minutes,
            outside=outside,
            host_agents=(np.array([0, 1]),),
            keep_orders=False,
        )
    )


def step(at: Market, tick: int, orders: list[Order], delivered_mw: list[int]) -> TickRecord | None:
    meters = random_meters(np.random.default_rng(0), 2)
    delivered = np.array(delivered_mw) * WATTS_PER_MW
    meters = replace(meters, delivered_w=delivered)
    flow = at.spec.outside.flow_w(int(delivered.sum()))
    reply = StepReply(tick, columns(orders), meters if tick else None)
    return at.clear(tick, [reply], plain(tick, flow))[1]


def test_one_hour_by_hand() -> None:
    """10 MWh sold at 30, 1 MWh of it missing at 30 + 20; the outside brings that and gets 30."""
    outside = replace(
        Connection.none(2), import_limit_w=5 * WATTS_PER_MW, price_per_mwh=np.array([90.0, 90.0])
    )
    at = market(outside, 2)
    ten = 10 * WATTS_PER_MW
    step(at, 0, [Order(SELL, 30_000, ten, 0), Order(BUY, 50_000, ten, 1)], [])
    record = step(at, 1, [], [9, -10])
    assert record is not None
    assert (record.price_milli, record.imbalance_price_milli) == (30_000, 30_000)
    assert record.received_micro.tolist() == [300_000_000 - 50_000_000, -300_000_000]
    assert record.outside_micro == 30_000_000
    assert record.operator_micro == 20_000_000
    assert at.balances_micro.tolist() == [250_000_000, -300_000_000, 30_000_000]
    assert record.book is None
    assert len(record.accepted_w) == 0


def test_without_trade_imbalance_settles_at_the_last_price() -> None:
    """An island: at first there is none, so zero; later the price of the last trade."""
    at = market(Connection.none(4), 4)
    orders = [Order(SELL, 30_000, 5, 0), Order(BUY, 50_000, 5, 1)]
    prices = []
    for tick, offers in enumerate([[], orders, [], [], []]):
        record = step(at, tick, offers, [0, 0])
        if record is not None:
            prices.append((record.price_milli, record.imbalance_price_milli))
    assert prices == [(None, 0), (30_000, 30_000), (None, 30_000), (None, 30_000)]


def test_without_trade_imbalance_settles_at_the_outside_price() -> None:
    outside = replace(Connection.none(2), export_limit_w=5, price_per_mwh=np.array([90.0, 70.0]))
    at = market(outside, 2)
    step(at, 0, [], [])
    record = step(at, 1, [], [0, 0])
    assert record is not None
    assert (record.price_milli, record.status) == (None, "no_trade")
    assert (record.imbalance_price_milli, record.outside_price_milli) == (90_000, 90_000)
