"""Negotiation against clearing the same curves as one book; lateness; what it refuses."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from swarm.errors import UsageError
from swarm.market.clearing import clear
from swarm.market.curves import Quantities, Sums
from swarm.market.negotiation import Answer, Call, negotiate, present, share
from swarm.market.orders import BUY, SELL
from swarm.messages import decode, encode
from swarm.scenario.load import load_scenario
from swarm.scenario.negotiation import Negotiation

from .negotiated import PATIENT, bargained
from .oracle import Order, largest_remainder, walk
from .strategies import CAP, FLOOR, VERTICAL_STEP, book_of, books, prices

SELLER_AND_BUYER = [Order(SELL, 40_000, 10, 0), Order(BUY, 90_000, 6, 1)]
starts = st.one_of(prices, st.integers(FLOOR - 10, CAP + 10))
FEWER = settings(max_examples=settings.default.max_examples // 2)
homes = st.lists(st.integers(0, 2), min_size=1, max_size=4)


# The same curves, cleared as one book


@given(books, starts, homes)
def test_it_ends_where_the_book_clears(found: list[Order], start: int, hosts: list[int]) -> None:
    expected, walked = clear(book_of(found), price_floor=FLOOR, price_cap=CAP), walk(found)
    deal = bargained(found, start_price=start, hosts=hosts)
    clearing = deal.agreement.clearing
    assert deal.negotiated.consensus
    assert clearing.price == expected.price == walked.price
    assert (clearing.volume, clearing.status) == (expected.volume, expected.status)
    assert deal.accepted.tolist() == expected.accepted.tolist() == walked.accepted


@given(books, starts, homes, homes, st.integers(2, 12))
@FEWER
def test_packing_changes_nothing(
    found: list[Order], start: int, one: list[int], other: list[int], rounds: int
) -> None:
    rules = Negotiation(max_rounds=rounds)
    a = bargained(found, start_price=start, hosts=one, rules=rules)
    b = bargained(found, start_price=start, hosts=other, rules=rules)
    assert a.negotiated == b.negotiated
    assert a.heard == b.heard
    for name in ("agent", "supply_w", "demand_w"):
        assert getattr(a.agreement.awards, name).tolist() == (
            getattr(b.agreement.awards, name).tolist()
        )
    assert a.agreement.book.agent.tolist() == b.agreement.book.agent.tolist()
    assert a.accepted.tolist() == b.accepted.tolist()


@given(books, starts, st.integers(2, 30))
@FEWER
def test_without_consensus_it_still_balances_and_nobody_loses(
    found: list[Order], start: int, rounds: int
) -> None:
    deal = bargained(found, start_price=start, rules=Negotiation(max_rounds=rounds))
    price, clearing = deal.negotiated.price, deal.agreement.clearing
    assert deal.negotiated.rounds == len(deal.negotiated.called) + 1 <= rounds
    traded = {SELL: 0, BUY: 0}
    willing = {SELL: 0, BUY: 0}
    for order, watts in zip(found, deal.accepted.tolist(), strict=True):
        assert 0 <= watts <= order.quantity
        assert not watts or order.side * (price - order.price) >= 0
        traded[order.side] += watts
        willing[order.side] += order.quantity * (order.side * (price - order.price) >= 0)
    # The short side trades in full, whatever the price.
    assert traded[SELL] == traded[BUY] == clearing.volume == min(willing.values())
    if not deal.negotiated.consensus:
        assert price in deal.negotiated.called
        least = min(sums.residual_w for sums in deal.heard[:-1])
        assert deal.heard[-1].residual_w == least


# How it searches


@given(books, starts)
@FEWER
def test_it_doubles_and_halves(found: list[Order], start: int) -> None:
    negotiated = bargained(found, start_price=start).negotiated
    called = negotiated.called
    assert len(set(called)) == len(called)
    assert all(FLOOR <= price <= CAP for price in called)
    # Doublings to get past it, halvings of the last double step, start and final call.
    distance = abs(negotiated.price - min(max(start, FLOOR), CAP))
    assert negotiated.rounds == len(called) + 1 <= 2 * max(distance, 1_000).bit_length() + 4


def test_a_price_that_still_holds_needs_one_call_and_the_final_one() -> None:
    deal = bargained(SELLER_AND_BUYER, start_price=40_000)
    assert (deal.negotiated.price, deal.negotiated.called) == (40_000, (40_000,))
    assert (deal.negotiated.rounds, deal.negotiated.consensus) == (2, True)


def test_steps_double_from_the_last_price() -> None:
    rules = Negotiation(first_step_per_mwh=0.5, max_rounds=200)
    called = bargained(SELLER_AND_BUYER, start_price=38_000, rules=rules).negotiated.called
    assert called[:4] == (38_000, 38_500, 39_500, 41_500)
    called = bargained(SELLER_AND_BUYER, start_price=42_000, rules=rules).negotiated.called
    # At 42.000 all was sold at 41.999 too, so steps are counted from there, as after each call.
    assert called[:4] == (42_000, 41_499, 40_498, 38_497)


def test_demand_above_all_supply_ends_at_the_cap() -> None:
    found = [Order(SELL, 40_000, 5, 0), Order(BUY, CAP, 9, 1)]
    deal = bargained(found, start_price=40_000)
    assert deal.agreement.clearing.price == CAP
    assert deal.agreement.clearing.status == "scarcity"
    assert deal.accepted.tolist() == [5, 5]


def test_bids_below_the_next_offer_are_no_scarcity() -> None:
    found = [Order(SELL, 10, 5, 0), Order(SELL, 30, 5, 1), Order(BUY, 20, 9, 2)]
    clearing = bargained(found).agreement.clearing
    assert (clearing.price, clearing.volume, clearing.status) == (20, 5, "cleared")


def test_a_vertical_step_ends_at_its_lower_end() -> None:
    assert bargained(VERTICAL_STEP, start_price=25_000).agreement.clearing.price == 20_000


@given(st.lists(st.integers(0, 3), min_size=40, max_size=40), starts)
@FEWER
def test_it_ends_whatever_is_answered(noise: list[int], start: int) -> None:
    """Answers that are no curve at all."""
    said = [Sums(9, 0, 0, 0), Sums(0, 0, 9, 0), Sums(5, 0, 5, 0), Sums(0, 5, 0, 5)]
    calls: list[int] = []

    def ask(price: int) -> Sums:
        calls.append(price)
        return said[noise[len(calls) % len(noise)]]

    found = negotiate(ask, start_price=start, floor=FLOOR, cap=CAP, rules=PATIENT)
    assert FLOOR <= found.price <= CAP
    assert found.called == tuple(calls)
    assert len(set(calls)) == len(calls) <= 46


def test_a_single_price_is_not_searched_for() -> None:
    found = negotiate(
        lambda price: pytest.fail("asked"), start_price=7, floor=5, cap=5, rules=PATIENT
    )
    assert (found.price, found.rounds, found.consensus) == (5, 1, True)


def test_a_floor_above_the_cap_is_refused() -> None:
    with pytest.raises(ValueError, match="floor 6 is above cap 5"):
        negotiate(lambda price: Sums(0, 0, 0, 0), start_price=0, floor=6, cap=5, rules=PATIENT)


# Sharing out


def answer(*rows: tuple[int, int, int, int, int]) -> Quantities:
    return Quantities(*np.array(rows, dtype=np.int64).reshape(-1, 5).T)


def test_firm_quantities_of_the_long_side_share_where_they_are_too_many() -> None:
    supply = {0: 10, 1: 7, 4: 5}
    found = share([answer(*((a, w, 3, 0, 0) for a, w in supply.items()), (9, 0, 0, 11, 0))], 50, 0)
    assert found.clearing.volume == 11
    awarded = dict(zip(found.awards.agent.tolist(), found.awards.supply_w.tolist(), strict=True))
    assert awarded == largest_remainder(supply, 11) | {9: 0}
    assert found.awards.demand_w.tolist() == [0, 0, 0, 11]
    assert found.clearing.status == "cleared"


def test_indifferent_quantities_share_what_firm_ones_leave() -> None:
    found = share([answer((0, 0, 0, 4, 6), (2, 0, 0, 0, 3)), answer((1, 8, 0, 0, 0))], 50, 1)
    assert found.awards.agent.tolist() == [0, 1, 2]
    assert found.awards.demand_w.tolist() == [4 + 3, 0, 1]  # 4 left of 9: 8/3 and 4/3
    assert found.awards.supply_w.tolist() == [0, 8, 0]
    assert found.book.agent.tolist() == [0, 1, 2]
    assert found.book.quantity.tolist() == [10, 8, 3]
    assert found.clearing.accepted.tolist() == [7, 8, 1]
    assert found.clearing.pay.tolist() == [50, 50, 50]
    assert found.book.price.tolist() == [50, 50, 50]


def test_an_agent_that_sells_and_buys_has_two_rows() -> None:
    found = share([answer((3, 5, 0, 0, 2), (4, 0, 0, 4, 0))], 50, 0)
    assert found.book.side.tolist() == [SELL, BUY, BUY]
    assert found.book.agent.tolist() == [3, 3, 4]
    assert found.clearing.accepted.tolist() == [5, 1, 4]


def test_nothing_answered_is_no_trade() -> None:
    found = share([answer(), answer((3, 5, 0, 0, 0))], 50, 0)
    assert (found.clearing.price, found.clearing.status) == (None, "no_trade")
    assert found.clearing.accepted.tolist() == [0]


@given(books, prices)
@FEWER
def test_every_share_is_within_one_watt_of_proportion(found: list[Order], price: int) -> None:
    deal = bargained(found, start_price=price, rules=Negotiation(max_rounds=2))
    price, volume = deal.negotiated.price, deal.agreement.clearing.volume
    awards = deal.agreement.awards
    for side, watts in ((SELL, awards.supply_w), (BUY, awards.demand_w)):
        firm: dict[int, int] = dict.fromkeys(awards.agent.tolist(), 0)
        at = firm.copy()
        for order in found:
            if order.side == side and order.quantity and side * (price - order.price) >= 0:
                (at if order.price == price else firm)[order.agent] += order.quantity
        for agent, got in zip(awards.agent.tolist(), watts.tolist(), strict=True):
            if volume < sum(firm.values()):
                exact = Fraction(firm[agent] * volume, sum(firm.values()))
            else:
                left = volume - sum(firm.values())
                exact = firm[agent] + Fraction(at[agent] * left, sum(at.values()) or 1)
            assert abs(got - exact) < 1


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([answer((1, 5, 0, 0, 0)), answer((1, 0, 0, 3, 0))], "agent 1 answered twice"),
        ([answer((1, 5, 0, -2, 0))], "agent 1 answered firm_demand_w = -2 to 50"),
        ([answer((1, 2**62, 2**62, 0, 0))], "quantity"),
        ([answer((1, 2**53, 2**53, 0, 0))], "sum to more than"),
    ],
)
def test_impossible_answers_are_refused(parts: list[Quantities], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        share(parts, 50, 0)


# Lateness


def test_slow_answers_leave_fewer_rounds() -> None:
    rules = Negotiation(budget_seconds=30, answer_limit_seconds=10, max_rounds=200)
    quick = bargained(SELLER_AND_BUYER, start_price=0, rules=rules, slowest_ms=10)
    slow = bargained(SELLER_AND_BUYER, start_price=0, rules=rules, slowest_ms=6_000)
    assert quick.negotiated.consensus
    assert not slow.negotiated.consensus
    assert slow.negotiated.rounds == 5  # of 6 s each in 30 s
    assert slow.negotiated.called == quick.negotiated.called[:4]


def test_answer_times_are_exponential() -> None:
    taking_part, answer_ms = present(Negotiation(answer_seconds=2), 7, 3, 0, 50_000)
    assert stats.kstest(answer_ms / 1_000, stats.expon(scale=2).cdf).pvalue > 0.01
    assert taking_part.tolist() == (answer_ms <= 10_000).tolist()
    # e**-5 of 50,000 are late: 337, give or take 18.
    assert 265 < np.sum(~taking_part) < 409


def test_lost_answers_are_a_share_of_all() -> None:
    rules = Negotiation(lost_share=0.25, answer_seconds=0)
    taking_part, answer_ms = present(rules, 7, 3, 0, 40_000)
    assert stats.binomtest(int(taking_part.sum()), 40_000, 0.75).pvalue > 0.01
    assert not answer_ms.any()
    # Which answers are lost has nothing to do with how long they take.
    taking_part, answer_ms = present(Negotiation(lost_share=0.25), 7, 3, 0, 40_000)
    lost_s = answer_ms[~taking_part] / 1_000
    assert stats.kstest(lost_s, stats.expon(scale=0.5).cdf).pvalue > 0.01
    assert not present(Negotiation(lost_share=1), 7, 3, 0, 100)[0].any()
    assert present(Negotiation(), 7, 3, 0, 100)[0].all()


def test_who_is_late_depends_on_seed_tick_and_agent_alone() -> None:
    rules = Negotiation(lost_share=0.3)
    taking_part, answer_ms = present(rules, 7, 3, 100, 500)
    parts = [present(rules, 7, 3, 100 + start, 125) for start in range(0, 500, 125)]
    assert np.concatenate([part[0] for part in parts]).tolist() == taking_part.tolist()
    assert np.concatenate([part[1] for part in parts]).tolist() == answer_ms.tolist()
    alone = [int(present(rules, 7, 3, 100 + agent, 1)[1][0]) for agent in range(500)]
    assert alone == answer_ms.tolist()
    assert present(rules, 7, 4, 100, 500)[1].tolist() != answer_ms.tolist()
    assert present(rules, 8, 3, 100, 500)[1].tolist() != answer_ms.tolist()


# Messages and rules


def test_calls_and_answers_travel_as_bytes() -> None:
    call = Call(3, -40_000, 2, True)
    assert decode(encode(call), Call) == call
    sent = Answer(3, 2, Sums(1, 2, 3, 4, 5, 6, 7), answer((1, 5, 0, 0, 2**50)))
    back = decode(encode(sent), Answer)
    assert (back.tick, back.round, back.sums) == (3, 2, sent.sums)
    assert back.quantities is not None
    assert back.quantities.indifferent_demand_w.tolist() == [2**50]
    assert decode(encode(Answer(3, 2, sent.sums)), Answer).quantities is None


def load(tmp_path: Path, tick_minutes: int = 5, **market: Any) -> Any:
    file = tmp_path / "s.yaml"
    fields = {"name": "s", "tick_minutes": tick_minutes, "market": market}
    file.write_text(yaml.safe_dump(fields))
    return load_scenario(str(file)).scenario


@pytest.mark.parametrize(
    ("tick_minutes", "market", "words"),
    [
        (5, {"vertical_step": "midpoint"}, "market.vertical_step: 'negotiated' ends at the lower"),
        (2, {}, "budget_seconds: got 120, expected less than a tick of 120 seconds"),
        (5, {"negotiation": {"budget_seconds": 19}}, "19 is less than two rounds of"),
        (5, {"negotiation": {"max_rounds": 1}}, "max_rounds: got 1, expected at least 2"),
        (5, {"negotiation": {"lost_share": 1.5}}, "lost_share: got 1.5, expected at most 1"),
        (5, {"negotiation": {"first_step_per_mwh": 0}}, "got 0, expected above 0"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(
    tmp_path: Path, tick_minutes: int, market: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        load(tmp_path, tick_minutes, mechanism="negotiated", **market)


def test_rules_are_read_and_matter_to_this_mechanism_only(tmp_path: Path) -> None:
    rules = {"max_rounds": 9, "budget_seconds": 59}
    market = load(tmp_path, 1, mechanism="negotiated", negotiation=rules).market
    assert market.negotiation == Negotiation(max_rounds=9, budget_seconds=59)
    assert load(tmp_path, 1, vertical_step="midpoint").market.negotiation == Negotiation()
