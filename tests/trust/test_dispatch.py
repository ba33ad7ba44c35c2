"""Nothing that was changed or signed by somebody else is dispatched; each way has its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from swarm.trust.contracts import (
    TABLE,
    Countersignature,
    Proof,
    TickSeal,
    nonce,
)
from swarm.trust.dispatch import Reason
from swarm.trust.keys import Purpose, sign
from tests.trust.tick import (
    AGENTS,
    ALL_VALID,
    COUNT,
    FIRST,
    IDENTITY,
    KEYS,
    MARKET,
    OTHER_RUN,
    QUANTITY_W,
    RESERVE_W,
    RUN,
    SHARD,
    issue,
    reasons,
    verifier,
)

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def second_form(signature: bytes) -> bytes:
    """The same signature with the group order added to its second half."""
    number = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    return signature[:32] + number.to_bytes(32, "little")


def test_genuine_contracts_are_valid_and_permit_what_they_say() -> None:
    gate, mine = verifier(), issue(7).of(SHARD)
    checked = gate.check(7, *mine)
    assert checked.dtype == np.int8
    assert reasons(checked) == ALL_VALID
    permitted = gate.permitted(mine[0], checked)
    assert permitted.quantity_w.tolist() == QUANTITY_W[FIRST : FIRST + COUNT].tolist()
    assert permitted.reserve_w.tolist() == RESERVE_W[FIRST : FIRST + COUNT].tolist()


def test_order_does_not_matter_and_a_shard_may_have_no_contract() -> None:
    gate, mine = verifier(), issue(7).of([3, 1])
    checked = gate.check(7, *mine)
    assert reasons(checked) == [Reason.VALID] * 2
    assert gate.permitted(mine[0], checked).quantity_w.tolist() == [600, 0, 0]
    empty = issue(8).of([])
    checked = gate.check(8, *empty)
    assert checked.shape == (0,)
    assert not gate.permitted(empty[0], checked).reserve_w.any()


def changed(data: bytes, **values: Any) -> bytes:
    """The contract with other values, the nonce that belongs to them where it is not one."""
    row = np.frombuffer(data, TABLE).copy()
    for name, value in values.items():
        row[name] = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
    if "nonce" not in values:
        run, tick, agent = row["run"].tobytes(), int(row["first_tick"][0]), int(row["agent"][0])
        row["nonce"] = np.frombuffer(nonce(run, tick, agent), np.uint8)
    return row.tobytes()


CONTRACT_CHANGES: list[tuple[Callable[[bytes], bytes], Reason]] = [
    (lambda c: changed(c, run=OTHER_RUN), Reason.WRONG_RUN),
    (lambda c: changed(c, first_tick=6), Reason.TAMPERED),
    (lambda c: changed(c, last_tick=8), Reason.TAMPERED),
    (lambda c: changed(c, agent=3), Reason.TAMPERED),
    (lambda c: changed(c, agent=0), Reason.TAMPERED),
    (lambda c: changed(c, agent=2**62), Reason.TAMPERED),
    (lambda c: changed(c, quantity_w=-299), Reason.TAMPERED),
    (lambda c: changed(c, quantity_w=2**62), Reason.TAMPERED),
    (lambda c: changed(c, price_milli=40_001), Reason.TAMPERED),
    *(
        (
            lambda c, p=product: changed(c, reserve_w=[int(k == p) for k in range(4)]),
            Reason.TAMPERED,
        )
        for product in range(4)
    ),
    (lambda c: changed(c, nonce=nonce(RUN, 7, 1)), Reason.NON_CANONICAL),
    (lambda c: changed(c, magic=b"GSC2"), Reason.NON_CANONICAL),
    (lambda c: changed(c, last_tick=6), Reason.NON_CANONICAL),
    (lambda c: c[:-1], Reason.NON_CANONICAL),
    (lambda c: c + b"\0", Reason.NON_CANONICAL),
    (lambda c: b"", Reason.NON_CANONICAL),
]


@pytest.mark.parametrize(("change", "reason"), CONTRACT_CHANGES)
def test_a_changed_contract_is_refused_alone(
    change: Callable[[bytes], bytes], reason: Reason
) -> None:
    gate, (contracts, seal, proofs, signed) = verifier(), issue(7).of(SHARD)
    contracts[1] = change(contracts[1])
    checked = gate.check(7, contracts, seal, proofs, signed)
    assert reasons(checked) == [Reason.VALID, reason, Reason.VALID]
    permitted = gate.permitted(contracts, checked)
    assert permitted.quantity_w.tolist() == [600, 0, 0]
    assert not permitted.reserve_w[1].any()


SEAL_CHANGES: list[tuple[Callable[[TickSeal], dict[str, Any]], Reason]] = [
    (lambda s: {"run": OTHER_RUN}, Reason.WRONG_RUN),
    (lambda s: {"run": b""}, Reason.WRONG_RUN),
    (lambda s: {"tick": 6}, Reason.TAMPERED),
    (lambda s: {"tick": 2**63}, Reason.TAMPERED),
    (lambda s: {"leaves": AGENTS + 1}, Reason.TAMPERED),
    (lambda s: {"leaves": 2**64}, Reason.TAMPERED),
    (lambda s: {"root": bytes(32)}, Reason.TAMPERED),
    (lambda s: {"root": b""}, Reason.TAMPERED),
    (lambda s: {"market": KEYS[0].public}, Reason.WRONG_SIGNER),
    (lambda s: {"market": b""}, Reason.WRONG_SIGNER),
    (lambda s: {"market": IDENTITY}, Reason.SMALL_ORDER_KEY),
    (lambda s: {"signature": s.signature[:32] + bytes(32)}, Reason.TAMPERED),
    (lambda s: {"signature": second_form(s.signature)}, Reason.NON_CANONICAL),
    (lambda s: {"signature": s.signature[:-1]}, Reason.NON_CANONICAL),
]


@pytest.mark.parametrize(("change", "reason"), SEAL_CHANGES)
def test_under_a_changed_seal_nothing_is_valid(
    change: Callable[[TickSeal], dict[str, Any]], reason: Reason
) -> None:
    gate, (contracts, seal, proofs, signed) = verifier(), issue(7).of(SHARD)
    other = msgspec.structs.replace(seal, **change(seal))
    assert reasons(gate.check(7, contracts, other, proofs, signed)) == [reason] * COUNT
    # What was refused was not used: the genuine ones are still good.
    assert reasons(gate.check(7, contracts, seal, proofs, signed)) == ALL_VALID


@pytest.mark.parametrize(
    "change",
    [
        lambda p: Proof(p.leaf + 1, p.path),
        lambda p: Proof(-1, p.path),
        lambda p: Proof(2**70, p.path),
        lambda p: Proof(p.leaf, p.path[:-32]),
        lambda p: Proof(p.leaf, p.path[:-1]),
        lambda p: Proof(p.leaf, p.path + bytes(32)),
        lambda p: Proof(p.leaf, bytes(len(p.path))),
        lambda p: Proof(p.leaf, b""),
    ],
)
def test_a_changed_proof_proves_nothing(change: Callable[[Proof], Proof]) -> None:
    contracts, seal, proofs, signed = issue(7).of(SHARD)
    proofs[1] = change(proofs[1])
    checked = verifier().check(7, contracts, seal, proofs, signed)
    assert reasons(checked) == [Reason.VALID, Reason.TAMPERED, Reason.VALID]


def signature_changes() -> list[tuple[Countersignature | None, Reason]]:
    """For agent 2's contract of tick 7."""
    tick, other_tick, key = issue(7), issue(8), KEYS[2]
    good, contract = tick.countersignatures[2], tick.contracts[2]

    def by(signer: bytes, signature: bytes) -> Countersignature:
        return Countersignature(signer, signature)

    return [
        (None, Reason.WRONG_SIGNER),
        (tick.countersignatures[3], Reason.WRONG_SIGNER),
        (
            by(KEYS[3].public, sign(KEYS[3], Purpose.COUNTERSIGNATURE, contract)),
            Reason.WRONG_SIGNER,
        ),
        (by(MARKET.public, good.signature), Reason.WRONG_SIGNER),
        (by(b"", good.signature), Reason.WRONG_SIGNER),
        (by(IDENTITY, IDENTITY + bytes(32)), Reason.SMALL_ORDER_KEY),
        (by(key.public, sign(KEYS[3], Purpose.COUNTERSIGNATURE, contract)), Reason.TAMPERED),
        (by(key.public, sign(key, Purpose.SEAL, contract)), Reason.TAMPERED),
        (by(key.public, sign(key, Purpose.SHARD_COUNTERSIGNATURE, contract)), Reason.TAMPERED),
        (other_tick.countersignatures[2], Reason.TAMPERED),
        (by(key.public, bytes([good.signature[0] ^ 1]) + good.signature[1:]), Reason.TAMPERED),
        (by(key.public, second_form(good.signature)), Reason.NON_CANONICAL),
        (by(key.public, good.signature + b"\0"), Reason.NON_CANONICAL),
        (by(key.public, b""), Reason.NON_CANONICAL),
    ]


@pytest.mark.parametrize("case", range(len(signature_changes())))
def test_without_the_agent_s_own_signature_a_contract_binds_nobody(case: int) -> None:
    given_, reason = signature_changes()[case]
    contracts, seal, proofs, signed = issue(7).of(SHARD)
    signed[1] = given_
    checked = verifier().check(7, contracts, seal, proofs, signed)
    assert reasons(checked) == [Reason.VALID, reason, Reason.VALID]
