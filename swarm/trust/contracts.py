"""Contracts: the signed form of an award, which alone permits dispatch.

A contract has one byte form, fixed in width and little-endian, so there is nothing to normalise:

    magic 4, run id 32, first tick 8, last tick 8, agent 8, quantity 8, price 8, reserve 4 x 8,
    nonce 16

The contracts of a tick, in global agent order, are the leaves of one Merkle tree. The market signs
its root (`TickSeal`), the agent its own contract (`Countersignature`); both make it binding.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from swarm.messages import RESERVE_PRODUCTS, Int
from swarm.trust.keys import Key, Purpose, sign, verify
from swarm.trust.merkle import HASH_BYTES, Tree

RUN_ID_BYTES = 32
NONCE_BYTES = 16
_MAGIC = b"GSC1"
TABLE = np.dtype(
    [
        ("magic", "u1", len(_MAGIC)),
        ("run", "u1", RUN_ID_BYTES),
        ("first_tick", "<i8"),
        ("last_tick", "<i8"),
        ("agent", "<i8"),
        ("quantity_w", "<i8"),
        ("price_milli", "<i8"),
        ("reserve_w", "<i8", len(RESERVE_PRODUCTS)),
        ("nonce", "u1", NONCE_BYTES),
    ]
)
"""The byte form as a numpy record."""
CONTRACT_BYTES = TABLE.itemsize
Table = np.ndarray[Any, np.dtype[np.void]]


class Contract(msgspec.Struct, frozen=True):
    """What one agent and the market agreed on. The market is the one that seals it."""

    run: bytes
    """Id of the run, 32 bytes."""
    first_tick: int
    """Interval for which it was cleared: the first in which it may be dispatched."""
    last_tick: int
    """The last in which it may be dispatched."""
    agent: int
    """Global index."""
    quantity_w: int
    """Net injection, consumption negative."""
    price_milli: int
    """Clearing price, milli-currency per MWh."""
    reserve_w: tuple[int, ...]
    """Reserve to hold, by product of `RESERVE_PRODUCTS`; zero or more."""
    nonce: bytes
    """16 bytes: `nonce(run, first_tick, agent)`."""


class TickSeal(msgspec.Struct, array_like=True, frozen=True):
    """The market's signature on all contracts of one tick."""

    run: bytes
    tick: int
    leaves: int
    """Number of contracts."""
    root: bytes
    """Of their Merkle tree."""
    market: bytes
    """Public key of who signed."""
    signature: bytes
    """Over run, tick, number of leaves and root."""


class Proof(msgspec.Struct, array_like=True, frozen=True):
    """That a contract is in a tick's tree."""

    leaf: int
    """Its place among the contracts of the tick."""
    path: bytes
    """As of `Tree.proof`."""


class Countersignature(msgspec.Struct, array_like=True, frozen=True):
    """The other party's signature."""

    signer: bytes
    """Public key of who signed."""
    signature: bytes


def nonce(run: bytes, tick: int, agent: int) -> bytes:
    """The number used once of an agent's contract for a tick: a second one is a replay."""
    data = b"grid-swarm/1/nonce\0" + run + struct.pack("<qq", tick, agent)
    return hashlib.sha256(data).digest()[:NONCE_BYTES]


def build_contracts(
    run: bytes,
    tick: int,
    agents: Int,
    quantity_w: Int,
    price_milli: Int | int,
    reserve_w: Int,
    *,
    last_tick: int | None = None,
) -> list[bytes]:
    """The byte forms of contracts for one tick.

    Args:
        run: id of the run, 32 bytes.
        tick: interval they were cleared for.
        agents: int64 (n,), global indices.
        quantity_w: int64 (n,), net injection.
        price_milli: int64 (n,) or one for all.
        reserve_w: int64 (n, 4), by product.
        last_tick: the last in which they may be dispatched; `tick` where not given.

    Raises:
        ValueError: where a value cannot be in a contract, or the lengths differ.
    """
    last_tick = tick if last_tick is None else last_tick
    if len(run) != RUN_ID_BYTES:
        raise ValueError(f"run id: {len(run)} bytes, expected {RUN_ID_BYTES}")
    if not 0 <= tick <= last_tick:
        raise ValueError(f"ticks {tick} to {last_tick}: expected 0 <= first <= last")
    shapes = {"quantity_w": agents.shape, "reserve_w": (len(agents), len(RESERVE_PRODUCTS))}
    for name, values in (("quantity_w", quantity_w), ("reserve_w", reserve_w)):
        if values.shape != shapes[name]:
            raise ValueError(f"{name}: shape {values.shape}, expected {shapes[name]}")
    for name, values in (("agents", agents), ("reserve_w", reserve_w)):
        if values.size and values.min() < 0:
            raise ValueError(f"{name}: {values.min()}, expected zero or more")
    table: Table = np.zeros(len(agents), TABLE)
    table["magic"] = np.frombuffer(_MAGIC, np.uint8)
    table["run"] = np.frombuffer(run, np.uint8)
    table["first_tick"], table["last_tick"] = tick, last_tick
    table["agent"], table["quantity_w"] = agents, quantity_w
    table["price_milli"], table["reserve_w"] = price_milli, reserve_w
    table["nonce"] = _nonces(table)
    data = table.tobytes()
    return [data[at : at + CONTRACT_BYTES] for at in range(0, len(data), CONTRACT_BYTES)]


def read_contracts(contracts: Sequence[bytes]) -> tuple[Table, NDArray[np.bool_]]:
    """Contracts as records of `TABLE`, and which of them are canonical, (n,) each.

    Canonical: the length and magic, ticks in order and none negative, an agent and reserves not
    below zero, and the nonce that belongs to run, tick and agent. Rows of another length are zero.
    """
    right = np.array([len(row) == CONTRACT_BYTES for row in contracts], dtype=np.bool_)
    blank = bytes(CONTRACT_BYTES)
    rows = [row if fits else blank for row, fits in zip(contracts, right, strict=True)]
    table: Table = np.frombuffer(b"".join(rows), TABLE)
    canonical = (
        right
        & (table["magic"] == np.frombuffer(_MAGIC, np.uint8)).all(axis=1)
        & (table["first_tick"] >= 0)
        & (table["first_tick"] <= table["last_tick"])
        & (table["agent"] >= 0)
        & (table["reserve_w"] >= 0).all(axis=1)
        & (table["nonce"] == _nonces(table)).all(axis=1)
    )
    return table, canonical


def _nonces(table: Table) -> NDArray[np.uint8]:
    parts = zip(
        (row.tobytes() for row in table["run"]),
        table["first_tick"].tolist(),
        table["agent"].tolist(),
        strict=True,
    )
    joined = b"".join(nonce(run, tick, agent) for run, tick, agent in parts)
    return np.frombuffer(joined, np.uint8).reshape(-1, NONCE_BYTES)


def decode_contract(data: bytes) -> Contract:
    """The contract in these bytes.

    Raises:
        ValueError: where they are not the canonical form of a contract.
    """
    table, canonical = read_contracts([data])
    if not canonical[0]:
        raise ValueError(f"{len(data)} bytes are not the canonical form of a contract")
    row = table[0]
    return Contract(
        run=row["run"].tobytes(),
        first_tick=int(row["first_tick"]),
        last_tick=int(row["last_tick"]),
        agent=int(row["agent"]),
        quantity_w=int(row["quantity_w"]),
        price_milli=int(row["price_milli"]),
        reserve_w=tuple(row["reserve_w"].tolist()),
        nonce=row["nonce"].tobytes(),
    )


def seal_tick(
    key: Key, run: bytes, tick: int, contracts: Sequence[bytes]
) -> tuple[TickSeal, list[Proof]]:
    """The market's seal on the contracts of a tick, and the proof of each, in their order.

    Args:
        key: the market's.
        run: id of the run, 32 bytes.
        tick: interval they were cleared for.
        contracts: byte forms, in global agent order; may be empty.
    """
    tree = Tree(contracts)
    signature = sign(key, Purpose.SEAL, _sealed(run, tick, tree.size, tree.root))
    seal = TickSeal(run, tick, tree.size, tree.root, key.public, signature)
    return seal, [Proof(leaf, tree.proof(leaf)) for leaf in range(tree.size)]


def seal_is_signed(seal: TickSeal) -> bool:
    """Whether the seal is signed by the key it names; that this is the market's is not checked."""
    if len(seal.run) != RUN_ID_BYTES or len(seal.root) != HASH_BYTES:
        return False
    if not (0 <= seal.tick < 2**63 and 0 <= seal.leaves < 2**63):
        return False
    data = _sealed(seal.run, seal.tick, seal.leaves, seal.root)
    return verify(seal.market, Purpose.SEAL, data, seal.signature)


def _sealed(run: bytes, tick: int, leaves: int, root: bytes) -> bytes:
    return run + struct.pack("<qq", tick, leaves) + root


def countersign(keys: Sequence[Key], contracts: Sequence[bytes]) -> list[Countersignature]:
    """Each agent's signature on its own contract.

    Args:
        keys: of the agents, in the order of the contracts.
        contracts: byte forms.
    """
    return [
        Countersignature(key.public, sign(key, Purpose.COUNTERSIGNATURE, contract))
        for key, contract in zip(keys, contracts, strict=True)
    ]


def countersign_shard(key: Key, contracts: Sequence[bytes]) -> Countersignature:
    """One signature for all contracts of a shard, in their order: cheap, and all or nothing."""
    data = b"".join(contracts)
    return Countersignature(key.public, sign(key, Purpose.SHARD_COUNTERSIGNATURE, data))
