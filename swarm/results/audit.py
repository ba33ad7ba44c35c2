"""The audit log of a run as it goes: its file, its anchor, the agents' public keys.

| file in the run's folder | what it is |
|---|---|
| `audit.log` | the records, see `swarm.trust.audit` |
| `audit.anchor.json` | the newest anchor, see `swarm.trust.anchor` |
| `public_keys.parquet` | one row for each agent: its index, its id, its public key |

`swarm.results.audit_check` verifies them, `swarm.results.decision` reads one decision from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from swarm.errors import RunError, UsageError
from swarm.results.folder import write_bytes, write_json
from swarm.results.tables import parquet_bytes, read_parquet
from swarm.snapshot import restore
from swarm.trust.audit import AuditLog
from swarm.trust.keys import PUBLIC_BYTES, Key, Purpose, check_public_keys, sign
from swarm.trust.records import Record

LOG = "audit.log"
ANCHOR = "audit.anchor.json"
PUBLIC_KEYS = "public_keys.parquet"
ANCHOR_TICKS = 48
"""Ticks from one anchor to the next: four hours of five minutes. Each waits for the disk twice."""
_KEYS_SCHEMA = pa.schema(
    [("agent", pa.int32()), ("id", pa.string()), ("public_key", pa.binary(PUBLIC_BYTES))]
)


class AuditWriter:
    """Writes the audit log of a run and signs its anchors."""

    STATE = ("_ticks", "position")
    """See `swarm.snapshot`."""

    def __init__(self, folder: Path | None, run_id: bytes, market: Key, kept: Any = None) -> None:
        """Start the log and anchor that it is empty, or go back to where it once stood.

        Args:
            folder: the run's folder; None keeps the log in memory.
            run_id: the run's id, 1 to 255 bytes.
            market: signs the anchors.
            kept: what `swarm.snapshot.capture` made of a writer to this folder; None: a new log.

        Raises:
            RunError: where the folder has a log already, or not the one that was kept, or cannot
                be written; `write` likewise.
        """
        self._folder = folder
        self._sign = partial(sign, market, Purpose.ANCHOR)
        if kept is None or folder is None:
            self._log = AuditLog(None if folder is None else folder / LOG, run_id)
            self._ticks = 0
        else:
            state = kept["$state"]
            self._ticks = int(state["_ticks"])
            self._log = AuditLog.recover(folder / LOG, restore(None, state["position"]))
        self.anchor()

    @property
    def position(self) -> tuple[int, bytes]:
        """Records in the log, and the head of the chain."""
        return self._log.count, self._log.head

    def write(self, tick: int, records: Sequence[Record]) -> None:
        """Append the records of one tick in one write, maybe none; ticks come in order.

        Every `ANCHOR_TICKS` calls the log is anchored: what a crash leaves is vouched for up to
        there.
        """
        self._log.append(tick, records)
        self._ticks += 1
        if self._ticks % ANCHOR_TICKS == 0:
            self.anchor()

    def anchor(self) -> dict[str, Any]:
        """Sign what the log holds now and keep it beside the log; the same for the manifest.

        Raises:
            RunError: where it cannot be written, or the log is closed.
        """
        try:
            found = self._log.anchor(self._sign).to_dict()
        except (OSError, ValueError) as error:
            # ValueError: the log was closed, as it is after a write that failed.
            raise RunError(f"audit log: cannot anchor: {error}") from None
        if self._folder is not None:
            write_json(self._folder / ANCHOR, found)
        return found

    @property
    def count(self) -> int:
        """Records in the log."""
        return self._log.count

    def data(self) -> bytes:
        """The bytes of a log in memory.

        Raises:
            ValueError: where the log is a file.
        """
        return self._log.data()

    def close(self) -> None:
        """Take nothing more."""
        self._log.close()


def public_keys_bytes(ids: Sequence[str], keys: Sequence[bytes]) -> bytes:
    """The file of public keys: a function of its arguments alone.

    Args:
        ids: of the agents, in global order.
        keys: their public keys, 32 bytes each, likewise.

    Raises:
        UsageError: where a key cannot be accepted or two agents share one.
    """
    check_public_keys(ids, keys)
    columns = [
        pa.array(np.arange(len(ids), dtype=np.int32)),
        pa.array(ids, pa.string()),
        pa.array(keys, _KEYS_SCHEMA.field("public_key").type),
    ]
    return parquet_bytes(pa.Table.from_arrays(columns, schema=_KEYS_SCHEMA))


def write_public_keys(folder: Path | None, ids: Sequence[str], keys: Sequence[bytes]) -> str:
    """Write the agents' public keys; see `public_keys_bytes`.

    Args:
        folder: the run's folder; None writes nothing.
        ids: of the agents, in global order.
        keys: their public keys.

    Returns:
        SHA-256 of the file, hex, for the manifest.

    Raises:
        UsageError: see `public_keys_bytes`.
        RunError: where the folder cannot be written.
    """
    data = public_keys_bytes(ids, keys)
    if folder is not None:
        write_bytes(folder / PUBLIC_KEYS, data)
    return hashlib.sha256(data).hexdigest()


def read_public_keys(folder: Path) -> tuple[list[str], list[bytes]]:
    """Ids and public keys of a run's agents, in global order.

    Raises:
        UsageError: where the file is missing, damaged, or has keys that cannot be accepted.
    """
    path = folder / PUBLIC_KEYS
    try:
        table = read_parquet(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: missing") from None
    except (OSError, pa.ArrowException):
        raise UsageError(f"{path}: damaged: not a whole Parquet file") from None
    agent, ids, keys = ([], [], [])
    if table.schema.equals(_KEYS_SCHEMA):
        agent, ids, keys = (table.column(name).to_pylist() for name in _KEYS_SCHEMA.names)
    if not agent or agent != list(range(len(agent))) or None in ids or None in keys:
        raise UsageError(
            f"{path}: damaged: expected the columns {', '.join(_KEYS_SCHEMA.names)} "
            "and one row for each agent"
        )
    check_public_keys(ids, keys)
    return ids, keys
