"""The anchor of an audit log: a signed (run, count, head), kept in a file and in the manifest."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from swarm.errors import UsageError

PREFIX = b"swarm audit anchor 1\n"
_BYTES = {"run": None, "head": 32, "signature": 64}


@dataclass(frozen=True)
class Anchor:
    """What the log of a run held when it was signed.

    Attributes:
        run: the run's id.
        count: number of records.
        head: of the chain after them, 32 bytes.
        signature: on `message()`, 64 bytes.
    """

    run: bytes
    count: int
    head: bytes
    signature: bytes

    def message(self) -> bytes:
        """The bytes that are signed."""
        return PREFIX + struct.pack("<BQ", len(self.run), self.count) + self.run + self.head

    def to_dict(self) -> dict[str, Any]:
        """For JSON: bytes as hexadecimal digits."""
        return {
            "run": self.run.hex(),
            "count": self.count,
            "head": self.head.hex(),
            "signature": self.signature.hex(),
        }

    @staticmethod
    def from_dict(given: Any) -> Anchor:
        """The anchor that `to_dict` wrote.

        Raises:
            UsageError: where a field is missing, unknown or not of its form.
        """
        names = {"run", "count", "head", "signature"}
        if not isinstance(given, dict) or set(given) != names:
            found = sorted(map(str, given)) if isinstance(given, dict) else type(given).__name__
            raise UsageError(f"anchor: expected the fields {sorted(names)}, got {found}")
        count = given["count"]
        if type(count) is not int or not 0 <= count < 2**64:
            raise UsageError(f"anchor.count: expected a whole number, zero or more, got {count!r}")
        values = {name: _bytes_of(name, given[name], size) for name, size in _BYTES.items()}
        return Anchor(values["run"], count, values["head"], values["signature"])


def _bytes_of(name: str, text: Any, size: int | None) -> bytes:
    try:
        value = bytes.fromhex(text)
    except (TypeError, ValueError):
        value = b""
    lengths = range(1, 256) if size is None else (size,)
    # One spelling only: fromhex takes blanks and capitals too.
    if len(value) not in lengths or value.hex() != text:
        wanted = "1 to 255" if size is None else str(size)
        raise UsageError(
            f"anchor.{name}: expected {wanted} bytes as lower-case hexadecimal digits, got {text!r}"
        )
    return value
