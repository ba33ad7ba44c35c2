"""What an engine keeps of a boundary between two ticks, whatever carries its notices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from swarm.grid.balance import Operated
from swarm.loop import Boundary, Closed
from swarm.market.record import Cleared
from swarm.messages import Signal, decode, encode
from swarm.runtime.bargain import Bargain
from swarm.snapshot import capture, pack, restore, unpack


class _Loop(msgspec.Struct, array_like=True, frozen=True):
    tick: int
    signal: Signal
    cleared: Cleared
    operated: Operated
    record: bytes
    notices: list[bytes]


def host_part(index: int) -> str:
    """Name of the part of a host."""
    return f"host-{index:04d}"


def kept_loop(
    at: Boundary, record: bytes, notices: Sequence[bytes], bargain: Bargain
) -> dict[str, bytes]:
    """The parts that the driver itself holds.

    Args:
        at: where the run stands.
        record: of the last settled tick, as it travels; empty before there is one.
        notices: of each host, likewise.
        bargain: the rounds of negotiations.
    """
    closed = at.closed
    loop = _Loop(at.tick, at.signal, closed.cleared, closed.operated, record, list(notices))
    return {"loop": pack(np.frombuffer(encode(loop), np.uint8)), "bargain": pack(capture(bargain))}


def loop_of(parts: Mapping[str, bytes], bargain: Bargain) -> tuple[Boundary, bytes, list[bytes]]:
    """What `kept_loop` kept: boundary, record and notices, which the boundary still lacks."""
    restore(bargain, unpack(parts["bargain"]))
    loop = decode(unpack(parts["loop"]).tobytes(), _Loop)
    closed = Closed(loop.cleared, loop.operated, [], None)
    return Boundary(loop.tick, loop.signal, closed), loop.record, loop.notices
