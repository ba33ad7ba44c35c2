"""The audit log: records in a hash chain, appended once a tick, with an anchor kept apart.

A log is a header and then frames, one per record (all integers little-endian):

    header   b"swarm audit log 1\\n", length of the run's id (1 byte), the run's id
    frame    length of the payload (4 bytes), records still to come of this append (2), kind (2),
             tick (8), CRC-32 of these 16 bytes (4), payload, head (32)

The payload is a record in canonical bytes (`swarm.trust.records`). The head is
`SHA-256(previous head + the frame up to the head)`; before the first record it is the SHA-256 of
the header. Each record thus fixes all before it (linked time stamps: Haber, Stornetta, How to
time-stamp a digital document, Journal of Cryptology 3, 1991). A chain alone cannot show that its
tail was cut or that all of it was written anew: the anchor, a signed (run, count, head), does.

The CRC tells a frame that a crash left torn (its length is sound and the file ends early) from one
that was damaged; it guards against nobody.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from swarm.errors import RunError, UsageError
from swarm.trust.anchor import Anchor
from swarm.trust.records import CODES, Record, to_bytes

MAGIC = b"swarm audit log 1\n"
HEAD_BYTES = 32
MAX_RUN_BYTES = 255
_FIELDS = struct.Struct("<IHHq")
_CRC = struct.Struct("<I")
_PREFIX_BYTES = _FIELDS.size + _CRC.size
_MAX_APPEND = 2**16


@dataclass(frozen=True)
class Frame:
    """One record as it lies in the log.

    Attributes:
        number: of the record, from 0.
        tick: of the append.
        left: records still to come of the same append.
        kind: code of `swarm.trust.records.KINDS`.
        payload: the record's bytes.
        head: of the chain, this record included.
        end: offset in the file of the byte after it.
    """

    number: int
    tick: int
    left: int
    kind: int
    payload: bytes
    head: bytes
    end: int


class LogFault(Exception):
    """The log is not sound at one record.

    Attributes:
        number: the first bad record; None: the header.
        tick: of that record, where it can be read.
        torn: the file ends inside that record, as a crash leaves it.
        what: in words.
    """

    def __init__(self, number: int | None, tick: int | None, torn: bool, what: str) -> None:
        super().__init__(what)
        self.number, self.tick, self.torn, self.what = number, tick, torn, what


class AuditLog:
    """Appends records to a log of its own.

    Attributes:
        run: the run's id.
        count: records appended.
        head: of the chain, 32 bytes.
        tick: of the last append; None before the first.
    """

    def __init__(self, path: Path | None, run: bytes) -> None:
        """Start an empty log.

        Args:
            path: a file that does not exist yet; None keeps the log in memory (`data`).
            run: the run's id, 1 to 255 bytes.

        Raises:
            ValueError: where `run` has another length.
            RunError: where the file exists or cannot be written.
        """
        if not 0 < len(run) <= MAX_RUN_BYTES:
            raise ValueError(f"run: expected 1 to {MAX_RUN_BYTES} bytes, got {len(run)}")
        header = header_of(run)
        self.run, self.count, self.tick = run, 0, None
        self.head = hashlib.sha256(header).digest()
        self._path = path
        self._file: BinaryIO = io.BytesIO()
        if path is not None:
            try:
                self._file = path.open("xb", buffering=0)
            except OSError as error:
                raise _cannot_write(path, error) from None
        self._write(header)

    run: bytes
    count: int
    head: bytes
    tick: int | None

    @classmethod
    def recover(cls, path: Path, at: tuple[int, bytes] | None = None) -> Self:
        """Open a log for appending, cut back to where it was whole.

        Args:
            path: the log.
            at: (count, head) of a checkpoint to go back to; None: the last append that was
                written whole, all that a crash tears off.

        Raises:
            RunError: where the log is damaged before that point, or `at` is not in it.
            UsageError: where it cannot be read.
        """
        log = cls.__new__(cls)
        with open_log(path) as file:
            try:
                log.run, log.head, end = read_header(file)
                log.count, log.tick = 0, None
                for frame in frames(file) if at is None or at[0] else ():
                    if at is None and frame.left:
                        continue
                    if at is None or frame.number < at[0]:
                        log.count, log.tick = frame.number + 1, frame.tick
                        log.head, end = frame.head, frame.end
                    if at is not None and log.count == at[0]:
                        break
            except LogFault as fault:
                if not fault.torn:
                    raise RunError(f"audit log {path}: {fault.what}") from None
        if at is not None and (log.count, log.head) != at:
            raise RunError(
                f"audit log {path}: the checkpoint counts {at[0]} records up to head "
                f"{at[1].hex()[:16]}, the log has {log.count} up to {log.head.hex()[:16]}"
            )
        log._path = path
        try:
            os.truncate(path, end)
            log._file = path.open("ab", buffering=0)
            os.fsync(log._file.fileno())
        except OSError as error:
            raise _cannot_write(path, error) from None
        return log

    def append(self, tick: int, records: Sequence[Record]) -> None:
        """Append the records of one tick in one write; none writes nothing.

        Args:
            tick: not below that of the last append.
            records: at most 65,536.

        Raises:
            ValueError: where the tick falls, or a record is not well formed.
            RunError: where the log cannot be written; it takes nothing more then.
        """
        if self.tick is not None and tick < self.tick:
            raise ValueError(f"tick: expected {self.tick} or later, got {tick}")
        if len(records) > _MAX_APPEND:
            raise ValueError(f"records: expected at most {_MAX_APPEND} in an append")
        if not records:
            return
        parts: list[bytes] = []
        head = self.head
        for index, record in enumerate(records):
            payload = to_bytes(record)
            left = len(records) - 1 - index
            fields = _FIELDS.pack(len(payload), left, CODES[type(record)], tick)
            prefix = fields + _CRC.pack(zlib.crc32(fields))
            head = next_head(head, prefix, payload)
            parts += prefix, payload, head
        self._write(b"".join(parts))
        self.head, self.count, self.tick = head, self.count + len(records), tick

    def anchor(self, sign: Callable[[bytes], bytes]) -> Anchor:
        """The signed state of the log; what it counts is on the disk before it is signed.

        Args:
            sign: the signature of a message, with the purpose of an anchor.
        """
        if self._path is not None:
            os.fsync(self._file.fileno())
        message = Anchor(self.run, self.count, self.head, b"").message()
        return Anchor(self.run, self.count, self.head, sign(message))

    def data(self) -> bytes:
        """The bytes of a log in memory.

        Raises:
            ValueError: where the log is a file.
        """
        if not isinstance(self._file, io.BytesIO):
            raise ValueError(f"the log is in {self._path}")
        return self._file.getvalue()

    def close(self) -> None:
        """Take nothing more; a log in memory keeps its bytes."""
        if self._path is not None:
            self._file.close()

    def _write(self, data: bytes) -> None:
        try:
            written = self._file.write(data)
        except (OSError, ValueError) as error:
            raise _cannot_write(self._path, error) from None
        if written != len(data):
            # What was written of it is a torn tail; more after it would be damage.
            self._file.close()
            raise RunError(f"audit log {self._path}: wrote {written} of {len(data)} bytes")


def header_of(run: bytes) -> bytes:
    """The header of the log of a run."""
    return MAGIC + bytes([len(run)]) + run


def next_head(head: bytes, prefix: bytes, payload: bytes) -> bytes:
    """The head after one more record."""
    digest = hashlib.sha256(head)
    digest.update(prefix)
    digest.update(payload)
    return digest.digest()


def open_log(source: Path | bytes) -> BinaryIO:
    """A log for reading, from its file or its bytes.

    Raises:
        UsageError: where the file cannot be read.
    """
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return source.open("rb")
    except OSError as error:
        raise UsageError(f"audit log {source}: {error.strerror or error}") from None


def read_header(file: BinaryIO) -> tuple[bytes, bytes, int]:
    """The run's id, the first head and the offset of the first frame.

    Raises:
        LogFault: where there is no header of a log.
    """
    start = file.read(len(MAGIC) + 1)
    size = start[-1] if len(start) == len(MAGIC) + 1 else 0
    run = file.read(size)
    if start[: len(MAGIC)] != MAGIC or not run or len(run) != size:
        raise LogFault(None, None, False, "does not start with the header of an audit log")
    header = start + run
    return run, hashlib.sha256(header).digest(), len(header)


def frames(file: BinaryIO) -> Iterator[Frame]:
    """The frames of a log, one at a time, each checked against the one before it.

    Raises:
        LogFault: at the first frame that does not follow; the header likewise.
    """
    _, head, at = (file.seek(0), *read_header(file)[1:])
    size = file.seek(0, os.SEEK_END)
    file.seek(at)
    number, tick, left = 0, None, 0
    while at < size:
        prefix = file.read(_PREFIX_BYTES)
        if len(prefix) < _PREFIX_BYTES:
            raise LogFault(number, None, True, f"ends inside record {number}")
        fields = prefix[: _FIELDS.size]
        length, now_left, kind, now = _FIELDS.unpack(fields)
        if _CRC.pack(zlib.crc32(fields)) != prefix[_FIELDS.size :]:
            raise LogFault(number, None, False, f"record {number}: its first bytes are damaged")
        end = at + _PREFIX_BYTES + length + HEAD_BYTES
        if end > size:
            raise LogFault(number, now, True, f"ends inside record {number} (tick {now})")
        payload, stored = file.read(length), file.read(HEAD_BYTES)
        name = f"record {number} (tick {now})"
        head = next_head(head, prefix, payload)
        if head != stored:
            raise LogFault(
                number, now, False, f"{name} was changed or does not follow the one before it"
            )
        if (left and (now_left, now) != (left - 1, tick)) or (tick is not None and now < tick):
            raise LogFault(number, now, False, f"{name} is out of order")
        tick, left, at = now, now_left, end
        yield Frame(number, now, left, kind, payload, head, at)
        number += 1
    if left:
        raise LogFault(number, tick, True, f"ends with {left} records of tick {tick} missing")


def _cannot_write(path: Path | None, error: Exception) -> RunError:
    return RunError(f"audit log {path}: {getattr(error, 'strerror', None) or error}")
