"""Ed25519 in plain integers after RFC 8032, section 5.1: slow, and independent of libsodium.

`verify` checks the equation alone: it accepts forgeries under keys of small order, which is how the
tests know that a forgery is one.
"""

from __future__ import annotations

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int]
ZERO: Point = (0, 1)


def add(a: Point, b: Point) -> Point:
    """The complete addition law of the twisted Edwards curve, affine."""
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + k, P - 2, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - k, P - 2, P) % P
    return x, y


def times(scalar: int, point: Point) -> Point:
    """Double and add."""
    result = ZERO
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def decode(data: bytes) -> Point | None:
    """The point of an encoding, canonical or not; None where there is none."""
    number = int.from_bytes(data, "little")
    y, sign = number % 2**255 % P, number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return (x if x & 1 == sign else -x % P), y


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def _base() -> Point:
    base = decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    assert base is not None
    return base


BASE = _base()


def _hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


def _expand(seed: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little")
    return scalar & (2**254 - 8) | 2**254, digest[32:]


def public_key(seed: bytes) -> bytes:
    return encode(times(_expand(seed)[0], BASE))


def sign(seed: bytes, message: bytes) -> bytes:
    scalar, prefix = _expand(seed)
    r = _hash(prefix, message) % L
    commitment = encode(times(r, BASE))
    challenge = _hash(commitment, public_key(seed), message) % L
    return commitment + ((r + challenge * scalar) % L).to_bytes(32, "little")


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether S B = R + k A, whatever the order of A."""
    key, commitment = decode(public), decode(signature[:32])
    assert key is not None
    assert commitment is not None
    challenge = _hash(signature[:32], public, message) % L
    scalar = int.from_bytes(signature[32:], "little")
    return times(scalar, BASE) == add(commitment, times(challenge, key))
