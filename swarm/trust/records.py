"""What the audit log keeps: one typed record per kind of event and tick, its rows as columns.

Canonical bytes are those of `swarm.messages.encode`: MessagePack arrays, little-endian columns.
Rows are in rising order of the agent's global index wherever the writer can choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from swarm.messages import RESERVE_PRODUCTS, Float, Int, decode, encode

Bytes = NDArray[np.uint8]
Codes = NDArray[np.int8]
Columns = Mapping[str, tuple[str, tuple[int, ...]]]
SIGNATURE_BYTES = 64
ROOT_BYTES = 32
POWER, PRICE = 0, 1
"""`Violations.field`: what was beyond the rule."""


class Contracts(msgspec.Struct, array_like=True, frozen=True):
    """Contracts of one tick and the market's seal on them."""

    COLUMNS: ClassVar[Columns] = {
        "agent": ("<i8", ()),
        "quantity_w": ("<i8", ()),
        "price_milli": ("<i8", ()),
        "reserve_w": ("<i8", (len(RESERVE_PRODUCTS),)),
    }

    tick: int
    """First interval in which they may be dispatched."""
    last_tick: int
    """The last one."""
    root: bytes
    """32 bytes, root of the Merkle tree over the contracts."""
    signature: bytes
    """64 bytes, the market's seal on run, tick, number of contracts and root."""
    agent: Int
    """int64 (n,), global index."""
    quantity_w: Int
    """int64 (n,), net injection; consumption is negative."""
    price_milli: Int
    """int64 (n,), milli-currency per MWh."""
    reserve_w: Int
    """int64 (n, 4), by product of `RESERVE_PRODUCTS`."""


class Countersignatures(msgspec.Struct, array_like=True, frozen=True):
    """Agents' signatures on contracts; each may bind a run of neighbouring agents."""

    COLUMNS: ClassVar[Columns] = {
        "first": ("<i8", ()),
        "agents": ("<i8", ()),
        "signature": ("|u1", (SIGNATURE_BYTES,)),
    }

    tick: int
    first: Int
    """int64 (m,), global index of the first agent bound."""
    agents: Int
    """int64 (m,), how many are bound; 1 where each agent signs."""
    signature: Bytes
    """uint8 (m, 64)."""


class Dispatches(msgspec.Struct, array_like=True, frozen=True):
    """Devices that acted on their contract of interval `tick`."""

    COLUMNS: ClassVar[Columns] = {"agent": ("<i8", ()), "power_w": ("<i8", ())}

    tick: int
    agent: Int
    """int64 (n,)."""
    power_w: Int
    """int64 (n,), net set point, between zero and the contract's quantity."""


class Refusals(msgspec.Struct, array_like=True, frozen=True):
    """What was refused, and why, decided in simulated time."""

    COLUMNS: ClassVar[Columns] = {"agent": ("<i8", ()), "reason": ("|i1", ())}

    tick: int
    stage: Literal["dispatch", "offer"]
    """dispatch: a contract was not acted on; offer: orders were not taken."""
    agent: Int
    """int64 (n,)."""
    reason: Codes
    """int8 (n,), the code of who refused."""


class Violations(msgspec.Struct, array_like=True, frozen=True):
    """Orders beyond a policy of their agent; one row per order, rule and field."""

    COLUMNS: ClassVar[Columns] = {
        "agent": ("<i8", ()),
        "slot": ("|i1", ()),
        "rule": ("|i1", ()),
        "field": ("|i1", ()),
        "asked": ("<i8", ()),
        "allowed": ("<i8", ()),
    }

    tick: int
    stage: Literal["offer", "dispatch"]
    """offer: orders before they were sent; dispatch: what was accepted, before a device moved."""
    rules: tuple[str, ...]
    """Names of the rules, in the order in which they were asked."""
    agent: Int
    """int64 (v,), global index."""
    slot: Codes
    """int8 (v,), order slot."""
    rule: Codes
    """int8 (v,), index into `rules`."""
    field: Codes
    """int8 (v,): `POWER` (watts) or `PRICE` (milli-currency per MWh)."""
    asked: Int
    """int64 (v,), as it came to the rule."""
    allowed: Int
    """int64 (v,), as it left the rule; 0 W where refused, as asked where only counted."""

    def count(self) -> dict[str, int]:
        """Number of violations of each rule, zero included."""
        counts = np.bincount(self.rule, minlength=len(self.rules))
        return {name: int(n) for name, n in zip(self.rules, counts, strict=True)}


class EmergencySteps(msgspec.Struct, array_like=True, frozen=True):
    """Steps of the emergency protocol inside interval `tick`, in simulated time."""

    COLUMNS: ClassVar[Columns] = {
        "second": ("<f8", ()),
        "power_w": ("<f8", ()),
        "frequency_hz": ("<f8", ()),
    }

    tick: int
    step: tuple[str, ...]
    """Name of each step."""
    second: Float
    """float64 (m,), from the start of the interval."""
    power_w: Float
    """float64 (m,), positive where injection rises or draw falls."""
    frequency_hz: Float
    """float64 (m,)."""


Record = Contracts | Countersignatures | Dispatches | Refusals | Violations | EmergencySteps
KINDS: Mapping[int, type[Record]] = {
    1: Contracts,
    2: Countersignatures,
    3: Dispatches,
    4: Refusals,
    5: Violations,
    6: EmergencySteps,
}
"""Code in the log -> type. Codes are never given anew."""
CODES: Mapping[type[Record], int] = {kind: code for code, kind in KINDS.items()}


def to_bytes(record: Record) -> bytes:
    """Canonical bytes of a record.

    Raises:
        ValueError: where a field has another type, shape or length than its record asks for.
    """
    fault = fault_of(record)
    if fault is not None:
        raise ValueError(fault)
    return encode(record)


def from_bytes(code: int, data: bytes) -> Record:
    """The record of kind `code` in `data`.

    Raises:
        ValueError: where it is none, or not in canonical bytes.
    """
    if code not in KINDS:
        raise ValueError(f"record kind {code}: expected {', '.join(map(str, KINDS))}")
    kind = KINDS[code]
    try:
        record: Record = decode(data, kind)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{kind.__name__}: {error}") from None
    fault = fault_of(record)
    if fault is not None:
        raise ValueError(fault)
    if encode(record) != data:
        raise ValueError(f"{kind.__name__}: the bytes are not canonical")
    return record


def fault_of(record: Record) -> str | None:
    """What is wrong with the fields of a record; None: nothing."""
    kind = type(record)
    rows = None
    for name, (dtype, shape) in kind.COLUMNS.items():
        column: Any = getattr(record, name)
        if not isinstance(column, np.ndarray) or column.dtype != np.dtype(dtype):
            got = getattr(column, "dtype", type(column).__name__)
            return f"{kind.__name__}.{name}: expected {np.dtype(dtype)}, got {got}"
        rows = len(column) if rows is None and column.ndim else rows
        if column.shape != (rows, *shape):
            return f"{kind.__name__}.{name}: expected shape {(rows, *shape)}, got {column.shape}"
    sizes = {"root": ROOT_BYTES, "signature": SIGNATURE_BYTES}
    for name, size in sizes.items() if isinstance(record, Contracts) else ():
        if len(getattr(record, name)) != size:
            return f"Contracts.{name}: expected {size} bytes, got {len(getattr(record, name))}"
    if isinstance(record, EmergencySteps) and len(record.step) != rows:
        return f"EmergencySteps.step: expected {rows} names, got {len(record.step)}"
    if isinstance(record, Violations) and not _within(record.rule, len(record.rules)):
        return f"Violations.rule: expected 0 to {len(record.rules) - 1}"
    return None


def _within(index: Codes, size: int) -> bool:
    return not len(index) or bool(index.min() >= 0 and index.max() < size)
