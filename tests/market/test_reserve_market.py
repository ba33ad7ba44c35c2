"""A run's market with reserve and response: what is sold, what is paid, nothing lost."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction

import msgspec
import numpy as np
from hypothesis import given

from swarm.market.auctioneer import Market
from swarm.market.orders import BUY, SELL, WATTS_PER_MW
from swarm.market.record import Cleared, TickRecord
from swarm.messages import (
    DOWN,
    METER_COLUMNS,
    NO_RESERVE,
    NOTHING,
    RESERVE_PRODUCTS,
    UP,
    Drawn,
    Meters,
    Notice,
    Response,
    StepReply,
    decode,
    encode,
    no_meters,
)

from .oracle import Order
from .reserve_cases import (
    FACTOR,
    FEW,
    MINUTES,
    PENALTY_MILLI,
    Case,
    cases,
    offer_table,
    order_table,
    spec,
)

SAID_AGAIN = tuple(
    name
    for name in Cleared.__struct_fields__
    if name in TickRecord.__struct_fields__ and name not in ("unpermitted", "agreed")
)


def meters_of(agents: int, seed: int) -> Meters:
    rng = np.random.default_rng(seed)
    columns = no_meters(agents)
    columns["delivered_w"] = rng.integers(-(10**8), 10**8, agents)
    for name in RESERVE_PRODUCTS:
        columns[f"{name}_w"] = rng.choice([0, 1, 3, 10**6, 10**8], agents)
    return Meters(**columns)


def response_of(agents: int, seed: int) -> Response | None:
    rng = np.random.default_rng(seed)
    if rng.random() < 0.2:
        return None
    watts = rng.integers(0, 10**6, (3, agents)) * rng.integers(0, 2, (3, agents))
    return Response(watts[0] * rng.choice([-1, 1], agents), watts[1], watts[2])


def reply(case: Case, hosts: list[list[int]], tick: int, meters: Meters) -> list[StepReply]:
    """What each host sends: its agents one after the other, in its own order."""
    replies = []
    for host in hosts:
        orders = [o for agent in host for o in case.orders if o.agent == agent]
        offers = [o for agent in host for o in case.offers if o.agent == agent]
        own = Meters(*(getattr(meters, name)[host] for name in METER_COLUMNS))
        replies.append(
            StepReply(
                tick,
                order_table([] if tick else orders),
                own if tick else None,
                offer_table(offers) if offers and not tick else None,
            )
        )
    return replies


def play(
    case: Case, hosts: list[list[int]] | None = None
) -> tuple[Market, TickRecord, list[tuple[Notice, ...]], Drawn]:
    """Clear one tick and settle it on random meters and a random response."""
    hosts = hosts or [list(range(case.agents))]
    index = tuple(np.array(host, dtype=np.int64) for host in hosts)
    market = Market(spec(case.agents, host_agents=index))
    meters = meters_of(case.agents, len(case.orders))
    first = Drawn(0, case.asked_w, True, 0, 0, None)
    drawn = Drawn(1, NO_RESERVE, True, -3, 11, response_of(case.agents, case.agents))
    cleared, nothing, awards = market.clear(0, reply(case, hosts, 0, meters), first)
    assert nothing is None
    _, record, settled = market.clear(1, reply(case, hosts, 1, meters), drawn)
    assert record is not None
    # What is said at once is what the record says an interval later.
    for name in SAID_AGAIN:
        assert getattr(cleared, name) == getattr(record, name)
    return market, record, [awards, settled], drawn


def sold(case: Case, notice: Notice) -> list[list[int]]:
    """By agent and product, from what one host that has all of them is told."""
    found = [[0] * 4 for _ in range(case.agents)]
    for offer, watts in zip(case.offers, notice.reserve_w.tolist(), strict=True):
        assert 0 <= watts <= offer.quantity
        found[offer.agent][offer.product] += watts
    return found


# What is sold


@FEW
@given(cases)
def test_reserve_and_energy_together_are_never_more_than_what_was_offered(case: Case) -> None:
    _, record, (awards, _), _ = play(case)
    reserve = sold(case, awards[0])
    assert record.reserve_bought_w == tuple(sum(column) for column in zip(*reserve, strict=True))
    assert all(got <= ask for got, ask in zip(record.reserve_bought_w, case.asked_w, strict=True))
    energy: dict[tuple[int, int], int] = defaultdict(int)
    able: dict[tuple[int, int], int] = defaultdict(int)
    for order, watts in zip(case.orders, awards[0].accepted_w.tolist(), strict=True):
        assert 0 <= watts <= order.quantity
        energy[order.agent, order.side] += watts
        able[order.agent, order.side] += order.quantity
    for agent in range(case.agents):
        for side, products in ((SELL, UP), (BUY, DOWN)):
            spare = [o.spare for o in case.offers if o.agent == agent and o.product in products]
            held = sum(reserve[agent][product] for product in products)
            assert held + energy[agent, side] <= able[agent, side] + max(spare, default=0)


@FEW
@given(cases)
def test_the_record_keeps_the_orders_that_reserve_left(case: Case) -> None:
    _, record, (awards, _), _ = play(case)
    assert record.book is not None
    own = record.book.agent < case.agents
    assert (record.accepted_w <= record.book.quantity).all()
    assert record.accepted_w[own].tolist() == awards[0].accepted_w.tolist()
    reserve = sold(case, awards[0])
    for agent in range(case.agents):
        for side, products in ((SELL, UP), (BUY, DOWN)):
            rows = (record.book.agent == agent) & (record.book.side == side)
            sent = sum(o.quantity for o in case.orders if (o.agent, o.side) == (agent, side))
            spare = [o.spare for o in case.offers if o.agent == agent and o.product in products]
            taken = max(0, sum(reserve[agent][p] for p in products) - max(spare, default=0))
            assert int(record.book.quantity[rows].sum()) == sent - taken


@FEW
@given(cases)
def test_reserve_that_nobody_buys_changes_nothing(case: Case) -> None:
    """No offers, none asked for, or all above the cap: energy and money are as without."""
    without = replace(case, offers=[])
    above = [offer._replace(price=50_001) for offer in case.offers]
    expected = play(replace(without, asked_w=NO_RESERVE))
    for other in (without, replace(case, asked_w=NO_RESERVE), replace(case, offers=above)):
        market, record, _, _ = play(other)
        assert market.balances_micro.tolist() == expected[0].balances_micro.tolist()
        assert record.reserve_asked_w == other.asked_w
        assert record.reserve_price_milli == (None,) * 4
        # The one array is empty in one and zero in the other, where nobody is drawn from.
        alike = {"reserve_asked_w": NO_RESERVE, "reserve_received_micro": NOTHING}
        found, plain = (msgspec.structs.replace(r, **alike) for r in (record, expected[1]))
        assert encode(found) == encode(plain)


# What is paid


def micro(price: int | Fraction, watts: int) -> int:
    """milli-currency/MWh for so many watts and a tick, in micro-currency, half to even."""
    energy_mwh = Fraction(watts, WATTS_PER_MW) * Fraction(MINUTES, 60)
    return round(Fraction(price) / 1_000 * energy_mwh * WATTS_PER_MW)


@FEW
@given(cases)
def test_every_payment_is_what_exact_fractions_say(case: Case) -> None:
    market, record, (awards, _), drawn = play(case)
    reserve, reference = sold(case, awards[0]), record.imbalance_price_milli
    totals, received = [0, 0, 0], []
    for agent in range(case.agents):
        paid = fined = drew = 0
        mine = [
            (o, w)
            for o, w in zip(case.offers, awards[0].reserve_w.tolist(), strict=True)
            if o.agent == agent and w
        ]
        for product, name in enumerate(RESERVE_PRODUCTS):
            watts, price = reserve[agent][product], record.reserve_price_milli[product]
            held = min(watts, int(getattr(record.meters, f"{name}_w")[agent]))
            if price is not None:
                paid += micro(price, held)
                fined += micro(max(price, reference) * Fraction(FACTOR), watts - held)
        if drawn.response is not None:
            watts = int(drawn.response.activated_w[agent])
            own = [o.energy_price for o, _ in mine if o.product in (UP if watts > 0 else DOWN)]
            drew += micro((max if watts > 0 else min)([reference, *own]), watts)
            cut = int(drawn.response.shed_w[agent] - drawn.response.held_back_w[agent])
            drew += micro(reference, cut)
        received.append(paid + drew - fined)
        totals = [a + b for a, b in zip(totals, (paid, drew, fined), strict=True)]
    if case.offers or drawn.response is not None:
        assert record.reserve_received_micro.tolist() == received
    else:
        assert len(record.reserve_received_micro) == 0
    assert [
        record.availability_micro,
        record.activation_micro,
        record.reserve_penalty_micro,
    ] == totals

    # The rest of what an agent gets: its contract, and its meter against that at two prices.
    assert record.book is not None
    rest = [0] * (case.agents + 1)
    rows = zip(*(c.tolist() for c in vars(record.book).values()), strict=True)
    for row, accepted in zip(map(Order._make, rows), record.accepted_w.tolist(), strict=True):
        rest[row.agent] += row.side * micro(record.price_milli or 0, accepted)
    metered = [*record.meters.delivered_w.tolist(), drawn.flow_w]
    contract = [*record.contract_w.tolist(), record.imported_w]
    for agent, (got, due) in enumerate(zip(metered, contract, strict=True)):
        penalty = PENALTY_MILLI if agent < case.agents else 0
        rest[agent] += micro(reference + (penalty if got < due else -penalty), got - due)
    own = [a + b for a, b in zip(rest, [*received, 0], strict=True)]
    assert [*record.received_micro.tolist(), record.outside_micro] == own
    assert sum(own) + record.operator_micro + record.rounding_micro == 0
    assert market.balances_micro.tolist() == own
    assert (market.operator_micro, market.rounding_micro) == (
        record.operator_micro,
        record.rounding_micro,
    )
    assert record.losses_w == drawn.losses_w


# Packing and bytes


def pack(agents: int, draw: random.Random) -> list[list[int]]:
    """Every agent on some host, in any order there; hosts may be empty."""
    hosts: list[list[int]] = [[] for _ in range(draw.randint(1, agents + 1))]
    for agent in draw.sample(range(agents), agents):
        draw.choice(hosts).append(agent)
    return hosts


@FEW
@given(cases)
def test_packing_changes_nothing(case: Case) -> None:
    hosts = pack(case.agents, case.draw)
    flat, packed = play(case), play(case, hosts)
    assert encode(packed[1]) == encode(flat[1])
    assert packed[0].balances_micro.tolist() == flat[0].balances_micro.tolist()
    assert packed[0].operator_micro == flat[0].operator_micro
    # Every host is told of its own offers and agents, in the order in which it sent them.
    of_offer = dict(zip(map(id, case.offers), flat[2][0][0].reserve_w.tolist(), strict=True))
    for host, awards, settled in zip(hosts, *packed[2], strict=True):
        own = [o for agent in host for o in case.offers if o.agent == agent]
        assert awards.reserve_w.tolist() == [of_offer[id(offer)] for offer in own]
        assert awards.response is None
        drew = flat[3].response
        assert (settled.response is None) == (drew is None)
        for name in vars(drew) if drew is not None else ():
            assert getattr(settled.response, name).tolist() == getattr(drew, name)[host].tolist()


@FEW
@given(cases)
def test_the_record_travels_whole(case: Case) -> None:
    record = play(case)[1]
    back = decode(encode(record), TickRecord)
    assert encode(back) == encode(record)
    assert (back.reserve_bought_w, back.reserve_price_milli) == (
        record.reserve_bought_w,
        record.reserve_price_milli,
    )
    assert back.reserve_received_micro.tolist() == record.reserve_received_micro.tolist()
    for name in vars(record.response) if record.response is not None else ():
        assert getattr(back.response, name).tolist() == getattr(record.response, name).tolist()
