"""Records of the audit log: canonical bytes, and dispatches that fit their contracts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from swarm.trust.audit import AuditLog
from swarm.trust.records import (
    KINDS,
    Dispatches,
    Record,
    Refusals,
    Violations,
    from_bytes,
    to_bytes,
)
from swarm.trust.verify import FaultCode, Pairs, Verified, verify_log
from tests.trust.logs import (
    RUN,
    chained,
    codes,
    contracts,
    countersigned,
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


@pytest.mark.parametrize(
    "record", [*one_tick(1), *other_records(1)], ids=lambda r: type(r).__name__
)
def test_records_are_read_back(record: Record) -> None:
    code = next(code for code, kind in KINDS.items() if kind is type(record))
    data = to_bytes(record)
    again = from_bytes(code, data)
    assert to_bytes(again) == data
    for name in record.__struct_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(record, name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"agent": np.zeros(3, np.int32)}, "Contracts.agent: expected int64, got int32"),
        ({"agent": [0, 1, 2]}, "Contracts.agent: expected int64, got list"),
        ({"price_milli": ints(1)}, r"Contracts.price_milli: expected shape \(3,\), got \(1,\)"),
        ({"reserve_w": np.zeros((3, 2), np.int64)}, r"Contracts.reserve_w: expected shape \(3, 4"),
        ({"root": b"short"}, "Contracts.root: expected 32 bytes, got 5"),
        ({"signature": b""}, "Contracts.signature: expected 64 bytes, got 0"),
    ],
)
def test_malformed_records_are_refused(change: dict[str, Any], message: str) -> None:
    record = msgspec.structs.replace(contracts(0, 1, 2, 3), **change)
    with pytest.raises(ValueError, match=message):
        to_bytes(record)


def test_names_go_with_their_rows() -> None:
    _, violations, steps = other_records(0)
    for code in (1, -1):
        with pytest.raises(ValueError, match=r"Violations.rule: expected 0 to 0"):
            to_bytes(msgspec.structs.replace(violations, rule=codes(code)))
    with pytest.raises(ValueError, match=r"EmergencySteps.step: expected 1 names, got 2"):
        to_bytes(msgspec.structs.replace(steps, step=("alert", "storage")))


def test_a_violation_has_a_stage_there_is() -> None:
    _, violations, _ = other_records(0)
    for stage in ("offer", "dispatch"):
        data = to_bytes(msgspec.structs.replace(violations, stage=stage))
        again = from_bytes(5, data)
        assert isinstance(again, Violations)
        assert again.stage == stage
    made_up: Any = "night"
    data = to_bytes(msgspec.structs.replace(violations, stage=made_up))
    with pytest.raises(ValueError, match="Violations: Invalid enum value 'night'"):
        from_bytes(5, data)


def test_bytes_that_are_no_record_are_faults() -> None:
    log = log_of(1)
    parts = pieces(log.data())
    record = parts[3][20:-32]
    # The same values with the tick (the first element) as a longer integer.
    long_tick = record[:1] + b"\xcc" + record[1:]
    for payload, what in (
        (b"", "Dispatches"),
        (record + b"\0", "Dispatches"),
        (long_tick, "canon"),
    ):
        data = chained([*parts[:3], with_payload(parts[3], payload), parts[4]])
        anchor = replace(log.anchor(sign), head=data[-32:])
        found = fault(data, replace(anchor, signature=sign(anchor.message())))
        assert (found.code, found.record) == (FaultCode.CONTENTS, 2)
        assert what in found.what
    with pytest.raises(ValueError, match="record kind 9"):
        from_bytes(9, b"")


def pairs_fault(records: list[Record], finished: bool = True) -> str | None:
    log = AuditLog(None, RUN)
    for record in records:
        log.append(log.tick or 0, [record])
    found = verify_log(log.data(), log.anchor(sign), verify, [Pairs(finished)])
    if isinstance(found, Verified):
        return None
    assert found.code == FaultCode.CONTENTS
    return f"{found.record}: {found.what.partition(': ')[2]}"


AWARD = contracts(1, 5, -7, 9)
SIGNED = countersigned(1, ints(0, 1, 2), ints(1, 1, 1))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([AWARD, SIGNED, Dispatches(1, ints(2, 0, 1), ints(9, 0, -3))], None),
        ([contracts(1)], None),
        ([AWARD, AWARD], "1: contracts of tick 1 after those of tick 1"),
        (
            [msgspec.structs.replace(AWARD, agent=ints(4, 2, 4))],
            "0: agent 4 has two contracts of tick 1",
        ),
        ([SIGNED], "0: countersignatures of tick 1, which has no open contracts"),
        ([AWARD, SIGNED, SIGNED], "2: the contract of agent 0 was countersigned twice"),
        (
            [AWARD, countersigned(1, ints(0, 1), ints(2, 2))],
            "1: the contract of agent 1 was countersigned twice",
        ),
        (
            [AWARD, countersigned(1, ints(7), ints(1))],
            "1: a countersignature of agent 7, which has no contract",
        ),
        (
            [AWARD, countersigned(1, ints(-1), ints(2))],
            "1: a countersignature of agent -1, which has no contract",
        ),
        (
            [AWARD, countersigned(1, ints(1), ints(0))],
            "1: a countersignature of agent 1, which has no contract",
        ),
        ([Dispatches(1, ints(0), ints(5))], "0: tick 1 has no open contracts"),
        ([AWARD, SIGNED, Dispatches(1, ints(3), ints(5))], "2: agent 3 has no contract of tick 1"),
        (
            [AWARD, SIGNED, Dispatches(1, ints(0, 0), ints(5, 5))],
            "2: the contract of agent 0 of tick 1 was settled twice",
        ),
        (
            [
                AWARD,
                SIGNED,
                Dispatches(1, ints(1), ints(-7)),
                Refusals(1, "dispatch", ints(1), codes(1)),
            ],
            "3: the contract of agent 1 of tick 1 was settled twice",
        ),
        (
            [AWARD, Dispatches(1, ints(0), ints(5))],
            "1: agent 0 acted on a contract it did not countersign",
        ),
        (
            [AWARD, SIGNED, Dispatches(1, ints(0, 1), ints(5, -8))],
            "2: agent 1 was dispatched at -8 W on a contract of -7 W",
        ),
        (
            [AWARD, SIGNED, Dispatches(1, ints(0), ints(-1))],
            "2: agent 0 was dispatched at -1 W on a contract of 5 W",
        ),
        (
            [AWARD, SIGNED, Dispatches(1, ints(0, 2), ints(5, 9))],
            "0: the contract of agent 1 was neither dispatched nor refused",
        ),
        (
            [AWARD, Refusals(1, "offer", ints(0, 1, 2), codes(1, 1, 1))],
            "0: the contract of agent 0 was neither dispatched nor refused",
        ),
        ([AWARD, Refusals(1, "dispatch", ints(0, 1, 2), codes(1, 1, 1))], None),
    ],
)
def test_dispatches_and_contracts_are_one_to_one(
    records: list[Record], expected: str | None
) -> None:
    assert pairs_fault(records) == expected


def test_a_run_that_was_cut_off_may_have_open_contracts() -> None:
    assert pairs_fault([AWARD, SIGNED], finished=False) is None
