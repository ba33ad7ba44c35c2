"""The audit log of a run: what each tick adds to it, and how it ends."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from swarm.grid.balance import Event, Operated
from swarm.loop import Sink
from swarm.market.record import TickRecord
from swarm.results.audit import PUBLIC_KEYS, AuditWriter
from swarm.results.folder import write_bytes
from swarm.runtime.setup import Plan
from swarm.trust.records import EmergencySteps, Record


class AuditedSink:
    """A sink that also appends what each tick left for the audit log."""

    def __init__(self, sink: Sink, audit: AuditWriter) -> None:
        self._sink, self._audit = sink, audit

    def write(self, record: TickRecord, operated: Operated) -> None:
        """See `Sink`; the log first, so that no result is without it."""
        records: list[Record] = [] if record.audit is None else record.audit.records()
        if operated.events:
            records.append(_steps(record.tick, operated.events))
        self._audit.write(record.tick, records)
        self._sink.write(record, operated)


def trust_section(ready: Plan, public_keys: bytes) -> dict[str, Any] | None:
    """What the manifest says of signatures; None where nothing is signed.

    Args:
        ready: the run.
        public_keys: the file of public keys.
    """
    signing = ready.signing
    if signing is None:
        return None
    return {
        "run_id": signing.run.hex(),
        "signatures": "per_shard" if signing.per_shard else "per_agent",
        "keys": "seed" if signing.folder is None else "folder",
        "market_public_key": signing.market.hex(),
        "public_keys_sha256": hashlib.sha256(public_keys).hexdigest(),
        "shadow": signing.shadow,
    }


@contextmanager
def audited(
    folder: Path | None,
    ready: Plan,
    public_keys: bytes,
    manifest: dict[str, Any],
    kept: Any = None,
) -> Iterator[AuditWriter | None]:
    """The audit log while the block lasts, anchored however it ends; None where nothing is signed.

    Args:
        folder: the run's folder; None keeps the log in memory.
        ready: the run.
        public_keys: the file of public keys.
        manifest: has the `trust_section`, and is told of the anchor.
        kept: the log's state at a checkpoint to go back to; None: a new log.
    """
    signing = ready.signing
    if signing is None:
        yield None
        return
    audit = AuditWriter(folder, signing.run, signing.market_key(), kept)
    if folder is not None:
        write_bytes(folder / PUBLIC_KEYS, public_keys)
    try:
        yield audit
    finally:
        manifest["trust"]["anchor"] = audit.anchor()
        if folder is not None:
            audit.close()


def _steps(tick: int, events: Sequence[Event]) -> EmergencySteps:
    return EmergencySteps(
        tick,
        tuple(event.step for event in events),
        np.array([event.second for event in events], dtype=np.float64),
        np.array([event.power_w for event in events], dtype=np.float64),
        np.array([event.frequency_hz for event in events], dtype=np.float64),
    )
