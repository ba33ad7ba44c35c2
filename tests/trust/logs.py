"""Small audit logs for the tests, and their bytes read by the documented format."""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from pathlib import Path

import numpy as np

from swarm.trust.anchor import Anchor
from swarm.trust.audit import AuditLog
from swarm.trust.records import (
    Contracts,
    Countersignatures,
    Dispatches,
    EmergencySteps,
    Record,
    Refusals,
    Violations,
)
from swarm.trust.verify import Fault, verify_log

RUN = bytes(range(32))


def sign(message: bytes) -> bytes:
    """Stands for a signature: 64 bytes that only the holder of the key makes."""
    return hmac.digest(b"key", message, "sha512")


def verify(message: bytes, signature: bytes) -> bool:
    return hmac.compare_digest(sign(message), signature)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def codes(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int8)


def contracts(tick: int, *quantity_w: int) -> Contracts:
    n = len(quantity_w)
    return Contracts(
        tick=tick,
        last_tick=tick,
        root=bytes([tick % 256]) * 32,
        signature=bytes([tick % 251]) * 64,
        agent=np.arange(n, dtype=np.int64),
        quantity_w=ints(*quantity_w),
        price_milli=np.full(n, 40_000, dtype=np.int64),
        reserve_w=np.zeros((n, 4), dtype=np.int64),
    )


def countersigned(tick: int, first: np.ndarray, agents: np.ndarray) -> Countersignatures:
    signature = np.full((len(first), 64), tick % 256, dtype=np.uint8)
    return Countersignatures(tick, first, agents, signature)


def one_tick(tick: int) -> list[Record]:
    """Four records; agent 2 is refused."""
    return [
        contracts(tick, 5 + tick, -7, 9),
        countersigned(tick, ints(0, 1), ints(1, 2)),
        Dispatches(tick, ints(0, 1), ints(5 + tick, -7)),
        Refusals(tick, "dispatch", ints(2), codes(3)),
    ]


def other_records(tick: int) -> list[Record]:
    return [
        Refusals(tick, "offer", ints(1), codes(1)),
        Violations(
            tick,
            "offer",
            ("max_discharge",),
            ints(1),
            *(codes(0),) * 3,
            ints(9),
            ints(5),
        ),
        EmergencySteps(tick, ("alert",), np.array([0.5]), np.array([1e6]), np.array([49.7])),
    ]


def log_of(ticks: int, path: Path | None = None) -> AuditLog:
    """Four records a tick, and three more at every fifth."""
    log = AuditLog(path, RUN)
    for tick in range(ticks):
        log.append(tick, [*one_tick(tick), *(other_records(tick) if tick % 5 == 4 else [])])
    return log


def pieces(data: bytes) -> list[bytes]:
    """Header and frames of a log, read by the format in words and not by the module."""
    at = data.index(b"\n") + 2 + len(RUN)
    found = [data[:at]]
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        found.append(data[at : at + 20 + length + 32])
        at += len(found[-1])
    return found


def fault(data: bytes, anchor: Anchor) -> Fault:
    found = verify_log(data, anchor, verify)
    assert isinstance(found, Fault)
    return found


def chained(parts: list[bytes]) -> bytes:
    """A log with these frames in a chain that holds: what a forger without the key can make."""
    head = hashlib.sha256(parts[0]).digest()
    done = [parts[0]]
    for part in parts[1:]:
        head = hashlib.sha256(head + part[:-32]).digest()
        done.append(part[:-32] + head)
    return b"".join(done)


def with_payload(frame: bytes, payload: bytes) -> bytes:
    fields = struct.pack("<I", len(payload)) + frame[4:16]
    return fields + struct.pack("<I", zlib.crc32(fields)) + payload + frame[-32:]
