"""Verification of an audit log: no damage of it passes, and the first bad record is named."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any, Literal

import msgspec
import numpy as np
import pytest

from swarm.errors import UsageError
from swarm.trust.anchor import Anchor
from swarm.trust.audit import AuditLog
from swarm.trust.records import (
    Dispatches,
    Refusals,
    Violations,
    from_bytes,
    to_bytes,
)
from swarm.trust.verify import Fault, FaultCode, Pairs, Verified, verify_log
from tests.trust.logs import (
    RUN,
    chained,
    codes,
    fault,
    ints,
    log_of,
    one_tick,
    other_records,
    pieces,
    sign,
    verify,
    with_payload,
)


def rechained(data: bytes) -> bytes | None:
    """The log with all heads made anew; None where it is not made of whole frames."""
    try:
        parts = pieces(data)
    except struct.error:
        return None
    return chained(parts) if all(len(part) >= 52 for part in parts[1:]) else None


def hundred() -> tuple[bytes, Anchor]:
    log = AuditLog(None, RUN)
    for tick in range(25):
        log.append(tick, one_tick(tick))
    assert log.count == 100
    return log.data(), log.anchor(sign)


def test_every_flipped_byte_is_named_by_its_record() -> None:
    log = AuditLog(None, RUN)
    log.append(0, [*one_tick(0), *other_records(0)])
    for tick in range(1, 32):
        log.append(tick, [Refusals(tick, "offer", ints(tick), codes(1))] * 3)
    assert log.count == 100
    data, anchor = log.data(), log.anchor(sign)
    ends = np.cumsum([len(part) for part in pieces(data)])
    bits = np.random.default_rng(1).integers(0, 8, len(data))
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << int(bits[at])
        found = fault(bytes(changed), anchor)
        expected = int(np.searchsorted(ends, at, side="right")) - 1
        if expected < 0:
            assert found.code == FaultCode.HEADER
        else:
            assert (found.code, found.record) == (FaultCode.DAMAGED, expected)


def test_every_truncation_is_detected() -> None:
    data, anchor = hundred()
    lengths = [len(part) for part in pieces(data)]
    ends = np.cumsum(lengths)
    for size in range(0, len(data), 17):
        found = fault(data[:size], anchor)
        if size >= ends[0]:
            whole = int(np.searchsorted(ends, size, side="right")) - 1
            assert found.code in (FaultCode.TORN, FaultCode.CUT)
            assert found.record == whole
    for records in range(100):
        found = fault(data[: ends[records]], anchor)
        # Four records are one append: a log that ends inside it is torn.
        code = FaultCode.TORN if records % 4 else FaultCode.CUT
        assert (found.code, found.record) == (code, records)


def tampered(parts: list[bytes], rng: np.random.Generator) -> tuple[bytes, int]:
    """A log with one thing done to it at random, and the first record that this touches."""
    frames, count = parts[1:], len(parts) - 1
    at = int(rng.integers(count))
    first = at
    way = rng.choice(["delete", "insert", "reorder", "truncate", "rewrite", "flip"])
    if way == "delete":
        del frames[at : at + int(rng.integers(1, 4))]
    elif way == "insert":
        frames.insert(at, frames[int(rng.integers(count))])
        # A copy of a record in front of it reads the same up to there.
        first = at + 1 if frames[at] == frames[at + 1] else at
    elif way == "reorder":
        other = int(rng.integers(count - 1))
        other += other >= at
        frames[at], frames[other] = frames[other], frames[at]
        first = min(at, other)
    elif way == "truncate":
        data = b"".join([parts[0], *frames[:at]])
        return data + frames[at][: int(rng.integers(len(frames[at])))], at
    elif way == "rewrite":
        payload = bytearray(frames[at][20:-32])
        payload[int(rng.integers(len(payload)))] ^= int(rng.integers(1, 256))
        frames[at] = with_payload(frames[at], bytes(payload))
    else:
        frame = bytearray(frames[at])
        frame[int(rng.integers(len(frame)))] ^= 1 << int(rng.integers(8))
        frames[at] = bytes(frame)
    return b"".join([parts[0], *frames]), first


def assert_all_detected(cases: int) -> None:
    data, anchor = hundred()
    parts = pieces(data)
    rng = np.random.default_rng(20_240_607)
    for _ in range(cases):
        changed, first = tampered(parts, rng)
        assert changed != data
        assert fault(changed, anchor).record == first
        # With all heads made anew the chain holds; then it is the anchor that does not.
        forged = rechained(changed)
        if forged not in (None, data):
            fault(forged, anchor)


def test_random_tampering_is_detected_and_named() -> None:
    assert_all_detected(1_000)


@pytest.mark.slow
def test_much_random_tampering_is_detected_and_named() -> None:
    assert_all_detected(10_000)


def test_a_log_written_anew_is_detected_by_the_anchor() -> None:
    data, anchor = hundred()
    parts = pieces(data)
    record = from_bytes(3, parts[-2][20:-32])
    assert isinstance(record, Dispatches)
    forged = msgspec.structs.replace(record, power_w=ints(1, -1))
    parts[-2] = with_payload(parts[-2], to_bytes(forged))
    found = fault(chained(parts), anchor)
    assert (found.code, found.record) == (FaultCode.REWRITTEN, 99)


def test_records_after_the_anchor_are_nobodys() -> None:
    log = log_of(3)
    anchor = log.anchor(sign)
    log.append(3, one_tick(3))
    found = fault(log.data(), anchor)
    assert (found.code, found.record, found.tick) == (FaultCode.BEYOND, 12, 3)


def test_what_a_crash_leaves_after_the_anchor_is_counted() -> None:
    log = log_of(3)
    anchor = log.anchor(sign)
    before = len(log.data())
    log.append(3, one_tick(3))
    data = log.data()
    ends = np.cumsum([len(part) for part in pieces(data)])[1:]
    for size in range(before, len(data) + 1):
        found = verify_log(data[:size], anchor, verify, [Pairs(False)], cut_off=True)
        assert isinstance(found, Verified)
        assert (found.count, found.records["Contracts"]) == (12, 3)
        assert found.beyond == int(np.searchsorted(ends, size, side="right")) - 12
        assert found.torn == (size not in (before, len(data)))
    # What the anchor counts must be there, and nothing may be damaged.
    for size in range(before):
        assert isinstance(verify_log(data[:size], anchor, verify, cut_off=True), Fault)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        found = verify_log(bytes(changed), anchor, verify, cut_off=True)
        assert isinstance(found, Fault)


def test_a_set_point_beyond_the_contract_needs_a_policy_that_stepped_in() -> None:
    award, signed, _, refused = one_tick(0)
    moved = Dispatches(0, ints(0, 1), ints(-3, -7))

    def clipped(tick: int, stage: Literal["offer", "dispatch"], agent: int) -> Violations:
        rows = ints(agent), codes(0), codes(0), codes(0), ints(5), ints(0)
        return Violations(tick, stage, ("max_discharge",), *rows)

    def found(*between: Violations) -> str | None:
        check = Pairs()
        for number, record in enumerate([award, signed, *between, moved, refused]):
            wrong = check.take(number, record)
            if wrong is not None:
                return wrong
        return check.finish() and "open"

    assert found(clipped(0, "dispatch", 0)) is None
    wrong = "agent 0 was dispatched at -3 W on a contract of 5 W"
    for other in (
        [],
        [clipped(0, "offer", 0)],
        [clipped(1, "dispatch", 0)],
        [clipped(0, "dispatch", 1)],
    ):
        assert found(*other) == wrong


def test_every_field_of_an_anchor_counts() -> None:
    log = log_of(3)
    anchor = log.anchor(sign)
    changes: list[tuple[dict[str, Any], FaultCode]] = [
        ({"run": bytes(32)}, FaultCode.HEADER),
        ({"count": 13}, FaultCode.CUT),
        ({"count": 11}, FaultCode.BEYOND),
        ({"head": bytes(32)}, FaultCode.REWRITTEN),
        ({"signature": bytes(64)}, FaultCode.ANCHOR),
    ]
    for change, code in changes:
        assert fault(log.data(), replace(anchor, **change)).code == code


def test_an_anchor_is_read_back_from_json() -> None:
    anchor = log_of(3).anchor(sign)
    assert Anchor.from_dict(json.loads(json.dumps(anchor.to_dict()))) == anchor


@pytest.mark.parametrize(
    "change",
    [
        {"count": -1},
        {"count": True},
        {"count": "3"},
        {"head": "00"},
        {"head": "AB" * 32},
        {"run": ""},
        {"run": 5},
        {"signature": "0" * 127},
        {"more": 1},
    ],
)
def test_a_damaged_anchor_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"anchor"):
        Anchor.from_dict(log_of(1).anchor(sign).to_dict() | change)


def test_an_append_that_lacks_a_record_is_out_of_order() -> None:
    log = log_of(3)
    parts = pieces(log.data())
    found = fault(chained([*parts[:2], *parts[3:]]), log.anchor(sign))
    assert found.record == 1
    assert "out of order" in found.what


def test_the_anchor_signs_the_run() -> None:
    anchor = log_of(1).anchor(sign)
    others = [
        replace(anchor, run=bytes(32)),
        replace(anchor, count=5),
        replace(anchor, head=bytes(32)),
        # The same digits cut elsewhere.
        replace(anchor, run=RUN + anchor.head[:1], head=anchor.head[1:]),
    ]
    assert len({anchor.message(), *(other.message() for other in others)}) == 5
