"""Ed25519 keys and signatures (RFC 8032), by libsodium through PyNaCl.

Every signature is over a prefix that names its purpose, followed by the data, so that one made for
a purpose never verifies for another. Ed25519 itself has no contexts (RFC 8032, section 8.3, gives
them to Ed25519ctx only).

A public key counts only where it is the canonical encoding of a point of the prime-order group.
Under a point of small order signatures can be forged without any secret key (Chalkias, Garillot,
Nikolaenko, Taming the many EdDSAs, SSR 2020).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from nacl import bindings
from nacl.exceptions import BadSignatureError

from swarm.errors import UsageError

PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
SEED_BYTES = 32
_FIELD_PRIME = 2**255 - 19
_GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
_SIGN_BIT = 1 << 255
_Y_OF_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER = frozenset(
    [
        0,
        1,
        _Y_OF_ORDER_8,
        _FIELD_PRIME - _Y_OF_ORDER_8,
        _FIELD_PRIME - 1,
        _FIELD_PRIME,
        _FIELD_PRIME + 1,
    ]
)
"""y of every encoding of the eight points whose order divides 8, canonical or not; the sign of x
is another bit."""


class Purpose(Enum):
    """What a signature is for."""

    OFFERS = "offers"
    """A shard's offers of one tick."""
    SEAL = "seal"
    """The market's on the contracts of one tick."""
    COUNTERSIGNATURE = "countersignature"
    """An agent's on its own contract."""
    SHARD_COUNTERSIGNATURE = "shard-countersignature"
    """One for all contracts of a shard."""
    ANCHOR = "anchor"
    """On the length and head of the audit log."""


_PREFIX = {purpose: f"grid-swarm/1/{purpose.value}\0".encode() for purpose in Purpose}


class KeyFault(Enum):
    """Why a public key is refused."""

    SMALL_ORDER = "has small order: anybody could sign under it"
    NON_CANONICAL = "is no canonical encoding of a point of the prime-order group"


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair."""

    public: bytes
    """32 bytes."""
    secret: bytes = field(repr=False)
    """64 bytes: the seed of RFC 8032, then the public key, as libsodium has it."""


def key_from_seed(seed: bytes) -> Key:
    """The key pair of a private key of 32 bytes (RFC 8032, section 5.1.5).

    Raises:
        ValueError: where `seed` has another length.
    """
    if len(seed) != SEED_BYTES:
        raise ValueError(f"seed of a key: {len(seed)} bytes, expected {SEED_BYTES}")
    return Key(*bindings.crypto_sign_seed_keypair(seed))


def random_key() -> Key:
    """A new key from the randomness of the operating system, for real use."""
    return key_from_seed(os.urandom(SEED_BYTES))


def simulation_keys(seed: int, first: int, count: int) -> list[Key]:
    """Keys of agents `first` to `first + count - 1`, each a function of seed and agent alone.

    Whoever knows the seed knows them: they detect damage, not an adversary.

    Args:
        seed: the run's seed.
        first: global index of the first agent.
        count: number of agents.
    """
    return [_simulation_key(seed, f"agent/{agent}") for agent in range(first, first + count)]


def market_key(seed: int) -> Key:
    """The market's simulation key, a function of the run's seed."""
    return _simulation_key(seed, "market")


def _simulation_key(seed: int, owner: str) -> Key:
    return key_from_seed(hashlib.sha256(f"grid-swarm/1/key/{seed}/{owner}".encode()).digest())


def sign(key: Key, purpose: Purpose, data: bytes) -> bytes:
    """The signature of `data` for `purpose`, 64 bytes; the same bytes for the same input."""
    return bindings.crypto_sign(_PREFIX[purpose] + data, key.secret)[:SIGNATURE_BYTES]


def verify(public: bytes, purpose: Purpose, data: bytes, signature: bytes) -> bool:
    """Whether `signature` is by the owner of `public` over `data` for `purpose`.

    False for input of any other length, for keys of small order or non-canonical encoding, and for
    a signature whose second half is not below the group order.
    """
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + _PREFIX[purpose] + data, public)
    except BadSignatureError:
        return False
    return True


def has_small_order(public: bytes) -> bool:
    """Whether these bytes encode, canonically or not, a point whose order divides 8."""
    return (
        len(public) == PUBLIC_BYTES
        and int.from_bytes(public, "little") & ~_SIGN_BIT in _SMALL_ORDER
    )


def key_fault(public: bytes) -> KeyFault | None:
    """Why a public key cannot be accepted; None where it can."""
    if has_small_order(public):
        return KeyFault.SMALL_ORDER
    if len(public) != PUBLIC_BYTES or not bindings.crypto_core_ed25519_is_valid_point(public):
        return KeyFault.NON_CANONICAL
    return None


def is_canonical_signature(signature: bytes) -> bool:
    """Whether it has 64 bytes and its second half is below the group order (RFC 8032, 5.1.7)."""
    return (
        len(signature) == SIGNATURE_BYTES
        and int.from_bytes(signature[SIGNATURE_BYTES // 2 :], "little") < _GROUP_ORDER
    )


def check_public_keys(names: Sequence[str], public_keys: Sequence[bytes]) -> None:
    """Refuse keys that cannot be registered.

    Args:
        names: of their owners.
        public_keys: 32 bytes each, in the order of `names`.

    Raises:
        UsageError: where a key is of small order or not canonical, or two owners share one.
    """
    owners: dict[bytes, str] = {}
    for name, public in zip(names, public_keys, strict=True):
        fault = key_fault(public)
        if fault is not None:
            raise UsageError(f"public key of {name!r}: {public.hex()} {fault.value}")
        if public in owners:
            raise UsageError(
                f"public key of {name!r}: {public.hex()} is also that of {owners[public]!r}, "
                "expected one of its own"
            )
        owners[public] = name


_KEY_FILE = re.compile(rb"ed25519 secret ([0-9a-f]{64})\ned25519 public ([0-9a-f]{64})\n")
_KEY_FILE_BYTES = 160
"""Its length: 2 x (15 + 64 + 1)."""


def write_key_folder(folder: Path, keys: Mapping[str, Key]) -> None:
    """Write each key to `<name>.key`, readable and writable by its owner alone (0600).

    Nothing is overwritten. A file has two lines, the secret seed and the public key in hexadecimal;
    the second shows damage of the first. The folder is made (0700) where it is missing.

    Raises:
        UsageError: where a name is no file name, a file of that name is there, or the folder
            cannot be written; what was written until then is taken away again.
    """
    paths = {name: _key_path(folder, name) for name in keys}
    for name, path in paths.items():
        if os.path.lexists(path):
            raise UsageError(f"key of {name!r}: {path} exists, and keys are never overwritten")
    written: list[Path] = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, key in keys.items():
            text = f"ed25519 secret {key.secret[:SEED_BYTES].hex()}\n"
            text += f"ed25519 public {key.public.hex()}\n"
            descriptor = os.open(paths[name], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            written.append(paths[name])
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise UsageError(
            f"key folder {folder}: cannot write there ({error.strerror or error})"
        ) from None


def read_key_folder(folder: Path, names: Sequence[str]) -> list[Key]:
    """The keys of `names`, in their order, from files that `write_key_folder` wrote.

    Raises:
        UsageError: where a key is missing, damaged, or its file open to other users, or where two
            names share a key; it names whose.
    """
    if not folder.is_dir():
        raise UsageError(f"key folder {folder}: no such folder")
    keys = [_read_key(_key_path(folder, name), name) for name in names]
    check_public_keys(names, [key.public for key in keys])
    return keys


def _key_path(folder: Path, name: str) -> Path:
    if not name or name.startswith(".") or Path(name).name != name:
        raise UsageError(f"key of {name!r}: expected a name that can be a file name")
    return folder / f"{name}.key"


def _read_key(path: Path, name: str) -> Key:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            text = file.read(_KEY_FILE_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"key of {name!r}: missing, expected in {path}") from None
    except OSError as error:
        raise UsageError(f"key of {name!r}: {path}: {error.strerror}") from error
    if mode & 0o077:
        raise UsageError(
            f"key of {name!r}: {path} has permissions {mode:04o}, expected 0600: "
            "other users could read or change it"
        )
    lines = _KEY_FILE.fullmatch(text)
    if lines is None:
        raise UsageError(f"key of {name!r}: {path} is damaged, expected the two lines of a key")
    key = key_from_seed(bytes.fromhex(lines[1].decode()))
    if key.public.hex().encode() != lines[2]:
        raise UsageError(
            f"key of {name!r}: {path} is damaged, its two lines do not belong together"
        )
    return key
