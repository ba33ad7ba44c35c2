"""Nothing is lost, doubled or reordered on the way, and the sender's counts always add up."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from swarm.errors import RunError
from swarm.messages import encode
from swarm.post import (
    MARKET_TURNS,
    TOPICS,
    VERSION,
    Counts,
    Inbox,
    Kind,
    Lane,
    Outbox,
    Parcel,
    Part,
    Reason,
    Receipt,
    Topic,
    unpack,
)

ROOM = {Lane.EMERGENCY: 4, Lane.MARKET: 10, Lane.TELEMETRY: 6}
PLAIN = {
    Lane.EMERGENCY: (Topic.EMERGENCY, Kind.EMERGENCY_SIGNAL),
    Lane.MARKET: (Topic.OFFERS, Kind.GENERATION_BID),
    Lane.TELEMETRY: (Topic.STATUS, Kind.STATUS_UPDATE),
}
LANES = st.sampled_from(list(Lane))
SENDERS = ("host 0", "host 1", "host 2")


def post(outbox: Outbox, lane: Lane, messages: int = 1, body: Any = None) -> Parcel:
    return outbox.post(lane, 0, [Part(*PLAIN[lane], messages)], body)


@dataclass(eq=False)
class Way:
    """A call under way: it may be carried out several times; the last answer comes back."""

    parcel: Parcel
    answer: Receipt | None = None


class Traffic(RuleBasedStateMachine):
    """Three senders, one inbox, a careless transport; bodies are serial numbers.

    The books kept here know only what was posted, what the inbox answered and what came out of it.
    """

    @initialize()
    def begin(self) -> None:
        self.inbox = Inbox(SENDERS, ROOM)
        self.outboxes = {name: Outbox(name) for name in SENDERS}
        self.ways: dict[tuple[str, Lane], deque[Way]] = {
            (name, lane): deque() for name in SENDERS for lane in Lane
        }
        self.serial = 0
        self.size: dict[int, int] = {}
        self.where: dict[int, tuple[str, Lane]] = {}
        self.refused: set[int] = set()
        self.seen: list[Parcel] = []

    @rule(name=st.sampled_from(SENDERS), lane=LANES, sizes=st.lists(st.integers(1, 7), min_size=1))
    def burst(self, name: str, lane: Lane, sizes: list[int]) -> None:
        for size in sizes:
            parcel = post(self.outboxes[name], lane, size, self.serial)
            self.ways[name, lane].append(Way(parcel))
            self.size[self.serial], self.where[self.serial] = size, (name, lane)
            self.serial += 1

    @rule(data=st.data(), times=st.integers(1, 3))
    def arrive(self, data: st.DataObject, times: int) -> None:
        """A call is carried out, or carried out again; later calls may be lost before it is."""
        waiting = [way for ways in self.ways.values() for way in ways]
        if waiting:
            way = data.draw(st.sampled_from(waiting))
            for _ in range(times):
                way.answer = self.inbox.put(way.parcel, tick=3)
                assert way.answer.number == way.parcel.number

    @rule(name=st.sampled_from(SENDERS), lane=LANES)
    def answer(self, name: str, lane: Lane) -> None:
        """The sender hears of its calls, in any order among those that were carried out."""
        ways = self.ways[name, lane]
        for way in [way for way in ways if way.answer is not None]:
            ways.remove(way)
            assert way.answer is not None
            self.outboxes[name].receipt(way.answer)
            if way.answer.reason not in (None, Reason.DUPLICATE):
                self.refused.add(way.parcel.body)

    @rule(lane=st.none() | LANES)
    def handle(self, lane: Lane | None) -> None:
        urgent = self.inbox.queued(Lane.EMERGENCY) > 0
        parcel = self.inbox.next() if lane is None else self.inbox.take(lane)
        if parcel is not None:
            self.seen.append(parcel)
        if lane is None:
            assert (parcel is not None and parcel.lane is Lane.EMERGENCY) is urgent

    @rule(name=st.sampled_from(SENDERS), lane=LANES)
    def acknowledge(self, name: str, lane: Lane) -> None:
        self.outboxes[name].delivered(lane, self.inbox.delivered(name, lane))

    @precondition(lambda self: self.serial > 8)
    @rule()
    def kill(self) -> None:
        """The receiver dies with all it has; another begins with an empty inbox."""
        for name, outbox in self.outboxes.items():
            before = [outbox.counts(lane) for lane in Lane]
            after = [Counts(c.sent, c.delivered, 0, c.refused + c.queued) for c in before]
            assert outbox.lost() == sum(counts.queued for counts in before)
            assert [outbox.counts(lane) for lane in Lane] == after
            # Answers that were on the way change nothing any more.
            for way in [way for lane in Lane for way in self.ways[name, lane]]:
                if way.answer is not None:
                    outbox.receipt(way.answer)
            assert [outbox.counts(lane) for lane in Lane] == after
            with pytest.raises(RunError, match=name):
                post(outbox, Lane.MARKET)
        self.begin()

    @invariant()
    def it_adds_up(self) -> None:
        for name, outbox in self.outboxes.items():
            for lane in Lane:
                counts = outbox.counts(lane)
                assert min(counts.delivered, counts.queued, counts.refused) >= 0
                assert counts.sent == counts.delivered + counts.queued + counts.refused
                mine = [serial for serial, place in self.where.items() if place == (name, lane)]
                out = {p.body for p in self.seen if (p.sender, p.lane) == (name, lane)}
                assert counts.sent == sum(self.size[serial] for serial in mine)
                assert counts.delivered <= sum(self.size[serial] for serial in out)
                assert counts.refused == sum(self.size[s] for s in mine if s in self.refused)

    @invariant()
    def once_and_in_order(self) -> None:
        for name in SENDERS:
            for lane in Lane:
                out = [p.body for p in self.seen if (p.sender, p.lane) == (name, lane)]
                assert out == sorted(set(out))
                assert not self.refused & set(out)

    @invariant()
    def no_lane_holds_more_than_its_room(self) -> None:
        for lane in Lane:
            assert self.inbox.queued(lane) <= ROOM[lane] * len(SENDERS)

    def teardown(self) -> None:
        """Once all calls are answered and acknowledged, sender and receiver agree."""
        for (name, lane), ways in self.ways.items():
            for way in ways:
                way.answer = self.inbox.put(way.parcel, tick=3)
            self.answer(name, lane)
            self.acknowledge(name, lane)
        self.it_adds_up()
        for lane in Lane:
            told = [outbox.counts(lane) for outbox in self.outboxes.values()]
            assert sum(counts.queued for counts in told) == self.inbox.queued(lane)
            out = sum(parcel.messages for parcel in self.seen if parcel.lane is lane)
            assert sum(counts.delivered for counts in told) == out


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=200, stateful_step_count=40)


def test_a_full_inbox_says_so_and_when_to_come_again() -> None:
    inbox, outbox = Inbox(["a"], ROOM), Outbox("a")
    for size in (6, 4):
        outbox.receipt(inbox.put(post(outbox, Lane.MARKET, size), tick=7))
    refused = inbox.put(post(outbox, Lane.MARKET, 1, "late"), tick=7)
    assert (refused.reason, refused.retry_at_tick) == (Reason.FULL, 8)
    assert refused.detail == "1 messages, room for 0 of 10"
    outbox.receipt(refused)
    assert outbox.counts(Lane.MARKET) == Counts(sent=11, delivered=0, queued=10, refused=1)
    assert inbox.take(Lane.MARKET) is not None
    again = post(outbox, Lane.MARKET, 1, "late")
    assert again.number == refused.number
    outbox.receipt(inbox.put(again, tick=8))
    assert outbox.counts(Lane.MARKET) == Counts(sent=12, delivered=6, queued=5, refused=1)


def test_what_follows_a_refused_parcel_is_refused_too() -> None:
    inbox, outbox = Inbox(["a"], ROOM), Outbox("a")
    first, second, third = (post(outbox, Lane.MARKET, size, size) for size in (9, 2, 1))
    answers = [inbox.put(parcel, tick=0) for parcel in (first, second, third)]
    assert [answer.reason for answer in answers] == [None, Reason.FULL, Reason.GAP]
    assert answers[2].detail == "number 2, expected 1"
    assert (answers[1].expected, answers[2].retry_at_tick) == (1, 0)
    for answer in answers:
        outbox.receipt(answer)
    assert post(outbox, Lane.MARKET).number == 1


def test_what_a_dead_receiver_said_late_changes_nothing() -> None:
    inbox, outbox = Inbox(["a"], ROOM), Outbox("a")
    outbox.receipt(inbox.put(post(outbox, Lane.MARKET, 2), tick=0))
    inbox.next()
    late = inbox.put(post(outbox, Lane.MARKET, 3), tick=0)
    assert late.delivered == 1
    assert outbox.lost() == 5
    outbox.receipt(late)
    assert outbox.counts(Lane.MARKET) == Counts(sent=5, delivered=0, queued=0, refused=5)


def test_a_copy_is_dropped_and_counts_once() -> None:
    inbox, outbox = Inbox(["a"], ROOM), Outbox("a")
    parcel = post(outbox, Lane.TELEMETRY, 5)
    inbox.put(parcel, tick=0)
    copy = inbox.put(parcel, tick=0)
    assert (copy.reason, copy.stands) == (Reason.DUPLICATE, True)
    outbox.receipt(copy)
    assert outbox.counts(Lane.TELEMETRY) == Counts(5, 0, 5, 0)
    assert inbox.take(Lane.TELEMETRY) == parcel
    assert inbox.take(Lane.TELEMETRY) is None
    assert inbox.put(parcel, tick=1).reason is Reason.DUPLICATE
    assert inbox.take(Lane.TELEMETRY) is None


@pytest.mark.parametrize(
    ("changed", "reason", "detail"),
    [
        ({"version": VERSION + 1}, Reason.VERSION, "version 2, expected 1"),
        ({"sender": "x"}, Reason.SENDER, "sender 'x' is not known here"),
        ({"number": 3}, Reason.GAP, "number 3, expected 0"),
        (
            {"parts": (Part(Topic.OFFERS, Kind.GENERATION_BID, 11),)},
            Reason.TOO_LARGE,
            "11 messages, never room for over 10",
        ),
        ({"parts": ()}, Reason.MALFORMED, "it carries no message"),
        (
            {"lane": Lane.EMERGENCY},
            Reason.MALFORMED,
            "market/offers does not travel in the emergency lane",
        ),
    ],
)
def test_what_is_wrong_with_a_parcel_is_told(
    changed: dict[str, Any], reason: Reason, detail: str
) -> None:
    inbox, outbox = Inbox(["a"], ROOM), Outbox("a")
    good = post(outbox, Lane.MARKET)
    receipt = inbox.put(msgspec.structs.replace(good, **changed), tick=0)
    assert (receipt.reason, receipt.detail, receipt.stands) == (reason, detail, False)
    assert all(inbox.queued(lane) == 0 for lane in Lane)
    assert inbox.put(good, tick=0).stands


def test_a_closed_inbox_takes_nothing_and_gives_out_what_it_has() -> None:
    inbox, outbox = Inbox(["a"], ROOM), Outbox("a")
    first, second = post(outbox, Lane.MARKET, 2), post(outbox, Lane.MARKET, 3)
    outbox.receipt(inbox.put(first, tick=0))
    inbox.close()
    outbox.receipt(inbox.put(second, tick=0))
    assert inbox.put(first, tick=0).reason is Reason.DUPLICATE
    assert outbox.counts(Lane.MARKET) == Counts(5, 0, 2, 3)
    assert inbox.next() == first


@pytest.mark.parametrize(
    ("lane", "parts", "message"),
    [
        (Lane.MARKET, [], "no message"),
        (Lane.MARKET, [Part(Topic.OFFERS, Kind.GENERATION_BID, 0)], "no message"),
        (Lane.MARKET, [Part(Topic.OFFERS, Kind.GENERATION_BID, -1)], "-1 messages of market/off"),
        (Lane.MARKET, [Part(Topic.PRICE, Kind.STATUS_UPDATE, 1)], "grid/price does not carry"),
        (Lane.MARKET, [Part(Topic.EMERGENCY, Kind.EMERGENCY_SIGNAL, 1)], "in the market lane"),
        (Lane.EMERGENCY, [Part(Topic.STATUS, Kind.STATUS_UPDATE, 1)], "in the emergency lane"),
        (Lane.TELEMETRY, [Part(Topic.AWARDS, Kind.PRICE_UPDATE, 1)], "in the telemetry lane"),
    ],
)
def test_a_sender_cannot_post_what_does_not_belong(
    lane: Lane, parts: list[Part], message: str
) -> None:
    outbox = Outbox("host 4")
    with pytest.raises(ValueError, match=f"parcel of host 4 for tick 9: .*{message}"):
        outbox.post(lane, 9, parts, None)
    assert outbox.counts(lane) == Counts(0, 0, 0, 0)


def test_telemetry_may_ride_along_in_the_market_lane() -> None:
    parts = [Part(Topic.OFFERS, Kind.GENERATION_BID, 3), Part(Topic.STATUS, Kind.STATUS_UPDATE, 4)]
    outbox = Outbox("a")
    assert outbox.post(Lane.MARKET, 0, parts, None).messages == 7
    assert outbox.counts(Lane.TELEMETRY) == Counts(0, 0, 0, 0)


def test_every_kind_and_every_lane_has_a_topic() -> None:
    assert {kind for _, kinds in TOPICS.values() for kind in kinds} == set(Kind)
    assert {lane for lane, _ in TOPICS.values()} == set(Lane)
    assert set(TOPICS) == set(Topic)


def test_more_delivered_than_sent_is_refused() -> None:
    outbox = Outbox("a")
    post(outbox, Lane.MARKET)
    with pytest.raises(ValueError, match="2 parcels delivered, expected 1 at most"):
        outbox.delivered(Lane.MARKET, 2)


@pytest.mark.parametrize("lane", Lane)
def test_every_lane_needs_room(lane: Lane) -> None:
    with pytest.raises(ValueError, match=f"capacity 0 of {lane.name}"):
        Inbox(["a"], {**ROOM, lane: 0})


def test_emergency_goes_first_and_no_lane_starves() -> None:
    inbox, outbox = Inbox(["a"], dict.fromkeys(Lane, 1000)), Outbox("a")
    for _ in range(40):
        inbox.put(post(outbox, Lane.MARKET), tick=0)
    for _ in range(4):
        inbox.put(post(outbox, Lane.TELEMETRY), tick=0)
    inbox.put(post(outbox, Lane.EMERGENCY), tick=0)
    lanes = [parcel.lane for parcel in iter(inbox.next, None)]
    assert lanes[0] is Lane.EMERGENCY
    turn = [Lane.MARKET] * MARKET_TURNS + [Lane.TELEMETRY]
    assert lanes[1:] == turn * 4 + [Lane.MARKET] * (40 - 4 * MARKET_TURNS)


def test_a_late_telemetry_parcel_waits_for_no_more_than_its_turns() -> None:
    inbox, outbox = Inbox(["a"], dict.fromkeys(Lane, 1000)), Outbox("a")
    for _ in range(40):
        inbox.put(post(outbox, Lane.MARKET), tick=0)
    for _ in range(MARKET_TURNS - 1):
        inbox.next()
    inbox.put(post(outbox, Lane.TELEMETRY), tick=0)
    ahead = 0
    while (parcel := inbox.next()) is not None and parcel.lane is Lane.MARKET:
        ahead += 1
    assert ahead == MARKET_TURNS


def test_a_flooding_sender_takes_neither_room_nor_turns_of_another() -> None:
    inbox, loud, quiet = Inbox(["loud", "quiet"], ROOM), Outbox("loud"), Outbox("quiet")
    loud_answers = [inbox.put(post(loud, Lane.MARKET), tick=0) for _ in range(50)]
    assert sum(answer.stands for answer in loud_answers) == ROOM[Lane.MARKET]
    assert inbox.put(post(quiet, Lane.MARKET), tick=0).stands
    assert [parcel.sender for parcel in (inbox.next(), inbox.next()) if parcel] == ["loud", "quiet"]


def test_a_parcel_comes_back_equal_from_bytes() -> None:
    for lane in Lane:
        parcel = post(Outbox("host 3"), lane, 3, encode(Part(*PLAIN[lane], 1)))
        assert unpack(encode(parcel)) == parcel


def test_a_parcel_of_another_version_is_recognised_and_refused() -> None:
    data = msgspec.msgpack.encode([VERSION + 1, 1, "a", 0, {"new": [1, 2]}, "more"])
    receipt = Inbox(["a"], ROOM).put(unpack(data), tick=0)
    assert (receipt.reason, receipt.number) == (Reason.VERSION, 0)


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x93\x01\x01\xa1a", b"\x94\x01\x07\xa1a\x00"])
def test_bytes_that_are_no_parcel_are_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(data)


def test_threads_lose_nothing() -> None:
    """Senders that try until they are taken, while one handler empties the inbox."""
    inbox = Inbox(SENDERS, ROOM)
    outboxes = {name: Outbox(name) for name in SENDERS}
    each, seen = 150, []

    def send(outbox: Outbox) -> None:
        for serial in range(each):
            taken = False
            while not taken:
                receipt = inbox.put(post(outbox, Lane.MARKET, 3, serial), tick=0)
                outbox.receipt(receipt)
                taken = receipt.stands

    threads = [threading.Thread(target=send, args=(outbox,)) for outbox in outboxes.values()]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or inbox.queued(Lane.MARKET):
        parcel = inbox.next()
        if parcel is not None:
            seen.append(parcel)
    for name, outbox in outboxes.items():
        assert [parcel.body for parcel in seen if parcel.sender == name] == list(range(each))
        outbox.delivered(Lane.MARKET, inbox.delivered(name, Lane.MARKET))
        counts = outbox.counts(Lane.MARKET)
        assert (counts.delivered, counts.queued) == (3 * each, 0)
        assert counts.sent == counts.delivered + counts.refused
