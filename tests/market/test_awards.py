"""From awards to contracts: who gets one, at what price, and why an order did not clear."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.market.awards import Notary, outcomes
from swarm.market.clearing import clear, pay_as_bid
from swarm.market.orders import BUY, SELL, OrderBook
from swarm.messages import Int, Orders, Outcome, StepReply, decode, encode
from swarm.trust.contracts import build_contracts, seal_is_signed
from swarm.trust.exchange import Awards, Report, offers_data
from swarm.trust.holder import Signing, no_reserve
from swarm.trust.keys import Purpose, market_key, sign, simulation_keys
from swarm.trust.merkle import verify_inclusion

MW = 1_000_000
SEED, RUN = 5, bytes(range(32))
BOUNDS = {"price_floor": 0, "price_cap": 100_000}


def book(*orders: tuple[int, int, int]) -> OrderBook:
    """Side, price in whole units, and MW, one agent each."""
    side, price, quantity = np.array(orders, dtype=np.int64).reshape(-1, 3).T
    return OrderBook(side.astype(np.int8), price * 1000, quantity * MW, np.arange(len(orders)))


def notary(agents: int) -> Notary:
    signing = Signing(RUN, SEED, market_key(SEED).public)
    return Notary(signing, [np.arange(agents)], [simulation_keys(SEED, 0, 1)[0].public])


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        # The example of the design: clears at 20.
        (
            [(SELL, 10, 10), (SELL, 30, 10), (BUY, 50, 10), (BUY, 20, 10)],
            [Outcome.FILLED, Outcome.OUT_OF_MERIT, Outcome.FILLED, Outcome.MARGINAL],
        ),
        # Two share the margin.
        (
            [(SELL, 10, 10), (SELL, 10, 10), (BUY, 50, 15), (BUY, 5, 10)],
            [Outcome.PARTLY, Outcome.PARTLY, Outcome.FILLED, Outcome.OUT_OF_MERIT],
        ),
        ([(SELL, 60, 10), (BUY, 50, 10)], [Outcome.NO_TRADE, Outcome.NO_TRADE]),
        (
            [(SELL, 10, 0), (SELL, 10, 10), (BUY, 50, 10)],
            [Outcome.RESERVED, Outcome.FILLED, Outcome.FILLED],
        ),
    ],
)
def test_everybody_is_told_why(orders: list[tuple[int, int, int]], expected: list[Outcome]) -> None:
    found = book(*orders)
    offered: Int = np.full(len(found), 10 * MW)
    assert outcomes(offered, found, clear(found, **BOUNDS)).tolist() == expected


def test_an_order_whose_signature_did_not_hold_is_told_so() -> None:
    found = book((SELL, 10, 0), (SELL, 10, 10), (BUY, 50, 10))
    sent = outcomes(found.quantity, found, clear(found, **BOUNDS))
    assert sent.tolist() == [Outcome.REFUSED, Outcome.FILLED, Outcome.FILLED]


def test_who_trades_or_holds_reserve_has_one_contract() -> None:
    found = book((SELL, 10, 10), (SELL, 30, 10), (BUY, 50, 10), (BUY, 20, 10))
    reserve = no_reserve(5)
    reserve[4, 2] = 7
    sealed = notary(5).seal(3, found, clear(found, **BOUNDS), reserve)
    assert sealed.record.agent.tolist() == [0, 2, 4]
    assert sealed.record.quantity_w.tolist() == [10 * MW, -10 * MW, 0]
    assert sealed.record.reserve_w.tolist() == [[0] * 4, [0] * 4, [0, 0, 7, 0]]
    assert sealed.record.price_milli.tolist() == [20_000] * 3
    assert seal_is_signed(sealed.seal)
    assert sealed.largest() == ((0, 10 * MW), (2, -10 * MW), (4, 0))


def test_a_host_gets_the_proofs_of_its_own_agents() -> None:
    found = book(*((SELL, 10, 1) for _ in range(6)), (BUY, 50, 6))
    sealed = notary(7).seal(3, found, clear(found, **BOUNDS), no_reserve(7))
    awards = decode(sealed.for_host(np.array([1, 2, 5])), Awards)
    assert awards.agent.tolist() == [1, 2, 5]
    contracts = build_contracts(
        RUN, 3, awards.agent, np.full(3, MW), awards.price_milli, no_reserve(3)
    )
    for contract, proof in zip(contracts, awards.proofs(0, 3), strict=True):
        seal = awards.seal
        assert verify_inclusion(seal.root, seal.leaves, proof.leaf, contract, proof.path)
    assert [proof.leaf for proof in awards.proofs(1, 3)] == [2, 5]


def test_a_pay_as_bid_contract_names_what_is_paid() -> None:
    """Two offers of one agent at 10 and 40, 1 and 2 MW, are paid 30 in the mean."""
    columns = [
        np.array([SELL, SELL, BUY], np.int8),
        np.array([10_000, 40_000, 90_000]),
        np.array([1, 2, 3]) * MW,
        np.array([0, 0, 1]),
    ]
    found = OrderBook(*columns)
    sealed = notary(2).seal(0, found, pay_as_bid(found, **BOUNDS), no_reserve(2))
    assert sealed.record.price_milli.tolist() == [30_000, 30_000]


def test_offers_count_only_as_they_were_signed() -> None:
    key = simulation_keys(SEED, 0, 1)[0]
    orders = Orders(np.array([SELL], np.int8), np.array([10_000]), np.array([MW]), np.array([0]))
    signature = sign(key, Purpose.OFFERS, offers_data(4, 0, orders, None))
    report = encode(Report(signature, None, None, None, None, None))
    for tick, taken in ((4, MW), (5, 0)):
        keeper = notary(1)
        (reply,), _ = keeper.accept(tick, [StepReply(tick, orders, None, None, report)])
        assert reply.orders.quantity.tolist() == [taken]
        assert keeper.refused_offers == (taken == 0)
