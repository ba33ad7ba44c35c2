"""The audit log: its format, and how it is written and recovered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from swarm.errors import RunError, UsageError
from swarm.trust.audit import AuditLog
from swarm.trust.records import (
    Dispatches,
)
from swarm.trust.verify import Fault, FaultCode, Pairs, Verified, verify_log
from tests.trust.logs import (
    RUN,
    chained,
    fault,
    ints,
    log_of,
    one_tick,
    pieces,
    sign,
    verify,
)


def test_a_sound_log_is_verified() -> None:
    log = log_of(20)
    found = verify_log(log.data(), log.anchor(sign), verify, [Pairs()])
    expected = {
        "Contracts": 20,
        "Countersignatures": 20,
        "Dispatches": 20,
        "Refusals": 24,
        "Violations": 4,
        "EmergencySteps": 4,
    }
    assert found == Verified(92, log.head, expected)


def test_an_empty_log_is_verified() -> None:
    log = AuditLog(None, RUN)
    found = verify_log(log.data(), log.anchor(sign), verify, [Pairs()])
    assert isinstance(found, Verified)
    assert found.count == 0


def test_the_format_is_pinned() -> None:
    log = log_of(5)
    assert log.data().startswith(b"swarm audit log 1\n\x20" + RUN)
    assert log.head.hex() == "897e867477642a19683d053e2b4eb063764b535601890eb65615b7def1efc1ae"


def test_the_head_is_the_chain_of_the_documented_bytes() -> None:
    log = log_of(5)
    parts = pieces(log.data())
    assert len(parts) == 1 + log.count
    assert chained(parts) == log.data()
    assert parts[-1][-32:] == log.head


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = log_of(20, path)
    log.close()
    assert path.read_bytes() == log_of(20).data()
    assert isinstance(verify_log(path, log_of(20).anchor(sign), verify), Verified)


def test_one_write_a_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(tmp_path / "audit.log", RUN)
    sizes: list[int] = []
    raw = log._file
    monkeypatch.setattr(log, "_file", _Counted(raw.write, sizes))
    log.append(0, one_tick(0))
    log.append(0, [])
    assert len(sizes) == 1
    raw.close()


class _Counted:
    def __init__(self, write: Callable[[bytes], int], sizes: list[int]) -> None:
        self._write, self._sizes = write, sizes

    def write(self, data: bytes) -> int:
        self._sizes.append(len(data))
        return self._write(data)


def test_ticks_do_not_fall() -> None:
    log = log_of(3)
    with pytest.raises(ValueError, match="tick: expected 2 or later, got 1"):
        log.append(1, one_tick(1))
    parts = pieces(log.data())
    moved = chained([parts[0], *parts[5:9], *parts[1:5], *parts[9:]])
    found = fault(moved, log.anchor(sign))
    assert (found.record, found.tick) == (4, 0)
    assert "out of order" in found.what


@pytest.mark.parametrize("torn", ["prefix", "payload", "head", "append"])
def test_a_torn_tail_is_cut_off_and_the_run_goes_on(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "audit.log"
    whole, after = log_of(3).data(), log_of(4).data()
    last = pieces(after)[13]
    more = {"prefix": last[:7], "payload": last[:90], "head": last[:-1], "append": last}[torn]
    path.write_bytes(whole + more)
    found = verify_log(path, log_of(3).anchor(sign), verify)
    assert isinstance(found, Fault)
    assert found.code == (FaultCode.BEYOND if torn == "append" else FaultCode.TORN)
    log = AuditLog.recover(path)
    assert (log.count, log.tick, path.read_bytes()) == (12, 2, whole)
    log.append(3, one_tick(3))
    log.close()
    assert path.read_bytes() == after


def test_a_log_is_cut_back_to_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    then = log_of(3)
    log_of(9, path).close()
    log = AuditLog.recover(path, (then.count, then.head))
    assert (log.run, log.count, log.head, log.tick) == (RUN, 12, then.head, 2)
    log.append(3, one_tick(3))
    log.close()
    assert path.read_bytes() == log_of(4).data()
    start = AuditLog(None, RUN)
    assert AuditLog.recover(path, (0, start.head)).tick is None
    assert path.read_bytes() == start.data()


def test_what_is_not_torn_is_not_recovered(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    data = bytearray(log_of(3).data())
    data[300] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match="record 0"):
        AuditLog.recover(path)
    assert path.read_bytes() == data
    path.write_bytes(data[:30])
    with pytest.raises(RunError, match="header"):
        AuditLog.recover(path)
    for at in ((99, bytes(32)), (12, bytes(32))):
        path.write_bytes(log_of(3).data())
        with pytest.raises(RunError, match="checkpoint"):
            AuditLog.recover(path, at)
    with pytest.raises(UsageError, match=r"no\.log"):
        AuditLog.recover(tmp_path / "no.log")


def test_a_log_is_never_overwritten(tmp_path: Path) -> None:
    log_of(1, tmp_path / "audit.log").close()
    with pytest.raises(RunError, match="exists"):
        AuditLog(tmp_path / "audit.log", RUN)


def test_a_write_that_fails_is_told(tmp_path: Path) -> None:
    log = log_of(1, tmp_path / "audit.log")
    log.close()
    with pytest.raises(RunError, match=r"audit\.log"):
        log.append(1, one_tick(1))
    assert log.count == 4


def test_a_write_that_stops_short_is_told_and_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.log"
    log = log_of(3, path)
    raw = log._file

    class Full:
        def write(self, data: bytes) -> int:
            return raw.write(data[:200])

        def close(self) -> None:
            raw.close()

    monkeypatch.setattr(log, "_file", Full())
    with pytest.raises(RunError, match="wrote 200 of"):
        log.append(3, one_tick(3))
    with pytest.raises(RunError):
        log.append(3, one_tick(3))
    recovered = AuditLog.recover(path)
    assert (recovered.count, recovered.head) == (log.count, log.head)
    recovered.close()
    assert path.read_bytes() == log_of(3).data()


def test_an_append_has_a_most() -> None:
    with pytest.raises(ValueError, match="at most 65536 in an append"):
        AuditLog(None, RUN).append(0, [Dispatches(0, ints(), ints())] * 65_537)


@pytest.mark.parametrize("run", [b"", bytes(256)])
def test_the_run_has_an_id(run: bytes) -> None:
    with pytest.raises(ValueError, match="run: expected 1 to 255 bytes"):
        AuditLog(None, run)


def test_the_log_of_a_file_is_not_in_memory(tmp_path: Path) -> None:
    log = log_of(1, tmp_path / "audit.log")
    with pytest.raises(ValueError, match=r"audit\.log"):
        log.data()
    log.close()
