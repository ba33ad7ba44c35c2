"""Contracts have one byte form; seals and countersignatures cover all of it."""

from __future__ import annotations

import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.messages import decode, encode
from swarm.trust.contracts import (
    CONTRACT_BYTES,
    Contract,
    build_contracts,
    countersign,
    countersign_shard,
    decode_contract,
    nonce,
    read_contracts,
    seal_is_signed,
    seal_tick,
)
from swarm.trust.keys import Purpose, verify
from swarm.trust.merkle import Tree, verify_inclusion
from tests.trust.tick import KEYS, MARKET, OTHER_RUN, RUN, SHARD, issue

INT64 = st.integers(-(2**63), 2**63 - 1)
COUNT64 = st.integers(0, 2**63 - 1)
FORMAT = struct.Struct("<4s32sqqqqq4q16s")


@st.composite
def fields(draw: st.DrawFn) -> Contract:
    first, last = sorted((draw(COUNT64), draw(COUNT64)))
    run, agent = draw(st.binary(min_size=32, max_size=32)), draw(COUNT64)
    reserve = tuple(draw(st.lists(COUNT64, min_size=4, max_size=4)))
    quantity, price = draw(INT64), draw(INT64)
    return Contract(run, first, last, agent, quantity, price, reserve, nonce(run, first, agent))


def packed(contract: Contract, magic: bytes = b"GSC1") -> bytes:
    """The byte form, from its description."""
    c = contract
    return FORMAT.pack(
        magic,
        c.run,
        c.first_tick,
        c.last_tick,
        c.agent,
        c.quantity_w,
        c.price_milli,
        *c.reserve_w,
        c.nonce,
    )


@settings(max_examples=100)
@given(contract=fields())
def test_a_contract_reads_back_and_has_the_form_described(contract: Contract) -> None:
    built = build_contracts(
        contract.run,
        contract.first_tick,
        np.array([contract.agent]),
        np.array([contract.quantity_w]),
        contract.price_milli,
        np.array([contract.reserve_w]),
        last_tick=contract.last_tick,
    )
    assert built == [packed(contract)]
    assert decode_contract(built[0]) == contract
    assert len(built[0]) == CONTRACT_BYTES


@settings(max_examples=100)
@given(contract=fields(), data=st.data())
def test_bytes_that_decode_are_the_bytes_of_what_they_decode_to(
    contract: Contract, data: st.DataObject
) -> None:
    whole = packed(contract)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + data.draw(st.binary(min_size=1, max_size=1)) + whole[at + 1 :]
    try:
        read = decode_contract(changed)
    except ValueError:
        assert changed != whole
    else:
        assert packed(read) == changed


def test_what_is_not_canonical_is_refused() -> None:
    good = decode_contract(issue(7).contracts[1])
    damaged = [
        packed(good, magic=b"GSC2"),
        packed(msgspec.structs.replace(good, last_tick=6)),
        packed(msgspec.structs.replace(good, agent=-1, nonce=nonce(RUN, 7, -1))),
        packed(msgspec.structs.replace(good, first_tick=-1, nonce=nonce(RUN, -1, 1))),
        packed(msgspec.structs.replace(good, reserve_w=(0, 0, -1, 0))),
        packed(msgspec.structs.replace(good, nonce=bytes(16))),
        packed(msgspec.structs.replace(good, nonce=nonce(RUN, 7, 2))),
        packed(msgspec.structs.replace(good, nonce=nonce(RUN, 8, 1))),
        packed(msgspec.structs.replace(good, nonce=nonce(OTHER_RUN, 7, 1))),
        packed(good)[:-1],
        packed(good) + b"\0",
        b"",
    ]
    for data in damaged:
        with pytest.raises(ValueError, match=f"{len(data)} bytes are not the canonical form"):
            decode_contract(data)
    _, canonical = read_contracts([*damaged, packed(good)])
    assert canonical.tolist() == [False] * len(damaged) + [True]


def test_nonces_differ_between_runs_ticks_and_agents() -> None:
    made = {
        nonce(run, tick, agent)
        for run in (RUN, OTHER_RUN)
        for tick in range(9)
        for agent in range(9)
    }
    assert len(made) == 2 * 9 * 9


def test_values_that_cannot_be_in_a_contract_are_refused() -> None:
    one, none = np.array([1]), np.zeros((1, 4), dtype=np.int64)
    with pytest.raises(ValueError, match="run id: 5 bytes, expected 32"):
        build_contracts(b"short", 0, one, one, 0, none)
    with pytest.raises(ValueError, match="ticks 3 to 2"):
        build_contracts(RUN, 3, one, one, 0, none, last_tick=2)
    with pytest.raises(ValueError, match="ticks -1 to -1"):
        build_contracts(RUN, -1, one, one, 0, none)
    with pytest.raises(ValueError, match="agents: -1, expected zero or more"):
        build_contracts(RUN, 0, -one, one, 0, none)
    with pytest.raises(ValueError, match="reserve_w: -2, expected zero or more"):
        build_contracts(RUN, 0, one, one, 0, none - 2)
    with pytest.raises(ValueError, match=r"reserve_w: shape \(1, 3\), expected \(1, 4\)"):
        build_contracts(RUN, 0, one, one, 0, none[:, :3])
    with pytest.raises(ValueError, match=r"quantity_w: shape \(2,\), expected \(1,\)"):
        build_contracts(RUN, 0, one, np.array([1, 2]), 0, none)


def test_a_tick_without_contracts_has_a_seal() -> None:
    nobody = np.zeros(0, dtype=np.int64)
    contracts = build_contracts(RUN, 0, nobody, nobody, 0, np.zeros((0, 4), dtype=np.int64))
    seal, proofs = seal_tick(MARKET, RUN, 0, contracts)
    assert (contracts, proofs, seal.leaves) == ([], [], 0)
    assert seal_is_signed(seal)


def test_the_seal_is_the_market_s_on_the_tree_of_all_contracts() -> None:
    tick = issue(7)
    seal = tick.seal
    assert seal.root == Tree(tick.contracts).root
    message = RUN + struct.pack("<qq", 7, len(tick.contracts)) + seal.root
    assert verify(MARKET.public, Purpose.SEAL, message, seal.signature)
    for leaf, (data, proof) in enumerate(zip(tick.contracts, tick.proofs, strict=True)):
        assert proof.leaf == leaf
        assert verify_inclusion(seal.root, seal.leaves, leaf, data, proof.path)


@pytest.mark.parametrize(
    "changes",
    [
        {"run": OTHER_RUN},
        {"run": RUN[:-1]},
        {"tick": 8},
        {"tick": -1},
        {"tick": 2**63},
        {"leaves": 4},
        {"leaves": -1},
        {"leaves": 2**64},
        {"root": bytes(32)},
        {"root": b""},
        {"market": KEYS[0].public},
        {"market": b""},
        {"signature": bytes(64)},
        {"signature": b""},
    ],
    ids=str,
)
def test_a_changed_seal_is_not_signed(changes: dict[str, int | bytes]) -> None:
    seal = issue(7).seal
    assert seal_is_signed(seal)
    assert not seal_is_signed(msgspec.structs.replace(seal, **changes))


def test_the_signed_bytes_of_a_seal_cannot_be_read_as_those_of_another() -> None:
    """Eight bytes moved from each field to the next give the same bytes in all."""
    run = bytes(32)
    seal, _ = seal_tick(MARKET, run, 7, issue(7, run=run).contracts)
    moved = struct.pack("<q", seal.leaves) + seal.root
    other = msgspec.structs.replace(seal, run=run[:24], tick=0, leaves=7, root=moved)
    assert other.run + struct.pack("<qq", 0, 7) + moved == run + struct.pack("<q", 7) + moved
    assert seal_is_signed(seal)
    assert not seal_is_signed(other)


def test_seals_and_signatures_travel() -> None:
    tick = issue(7)
    for sent in (tick.seal, tick.proofs[2], tick.countersignatures[2]):
        assert decode(encode(sent), type(sent)) == sent


def test_each_agent_signs_its_own_contract_and_a_shard_all_of_its() -> None:
    tick = issue(7)
    for key, data, given_ in zip(
        KEYS, tick.contracts, countersign(KEYS, tick.contracts), strict=True
    ):
        assert given_.signer == key.public
        assert verify(key.public, Purpose.COUNTERSIGNATURE, data, given_.signature)
    mine = [tick.contracts[agent] for agent in SHARD]
    whole = countersign_shard(KEYS[1], mine)
    assert verify(KEYS[1].public, Purpose.SHARD_COUNTERSIGNATURE, b"".join(mine), whole.signature)
    with pytest.raises(ValueError, match="argument 2 is longer"):
        countersign(KEYS[:2], tick.contracts)
