"""The signatures in an audit log, with real keys."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest

from swarm.trust.audit import AuditLog
from swarm.trust.contracts import build_contracts, countersign, countersign_shard, seal_tick
from swarm.trust.keys import Purpose, market_key, sign, simulation_keys, verify
from swarm.trust.records import Contracts, Countersignatures, Dispatches, Record
from swarm.trust.signatures import Signatures
from swarm.trust.verify import Fault, Pairs, Verified, verify_log

RUN = hashlib.sha256(b"run").digest()
MARKET, OTHER = market_key(1), market_key(2)
KEYS = simulation_keys(1, 0, 4)
PUBLIC_KEYS = {agent: key.public for agent, key in enumerate(KEYS)}
AGENT = np.arange(4)
QUANTITY_W = np.array([5, -7, 0, 9])
EACH = np.ones(4, np.int64)


def rows(signatures: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(signatures), np.uint8).reshape(-1, 64)


def tick_of(tick: int, per_shard: bool = False) -> tuple[Contracts, Countersignatures]:
    """Contracts of four agents; by shard, one key signs for agents 0 and 1, one for 2 and 3."""
    price, reserve = np.full(4, 40_000), np.zeros((4, 4), np.int64)
    contracts = build_contracts(RUN, tick, AGENT, QUANTITY_W, price, reserve)
    seal, _ = seal_tick(MARKET, RUN, tick, contracts)
    award = Contracts(tick, tick, seal.root, seal.signature, AGENT, QUANTITY_W, price, reserve)
    if per_shard:
        shards = (KEYS[0], contracts[:2]), (KEYS[2], contracts[2:])
        signed = [countersign_shard(key, part).signature for key, part in shards]
        return award, Countersignatures(tick, AGENT[::2], EACH[:2] * 2, rows(signed))
    signed = [one.signature for one in countersign(KEYS, contracts)]
    return award, Countersignatures(tick, AGENT, EACH, rows(signed))


def checked(records: list[Record], purpose: Purpose = Purpose.COUNTERSIGNATURE) -> str | None:
    """The log of these records as verification finds it: None, or the first fault in words."""
    log = AuditLog(None, RUN)
    for record in records:
        log.append(0, [record])
    anchor = log.anchor(partial(sign, MARKET, Purpose.ANCHOR))
    checks = [Signatures(RUN, MARKET.public, PUBLIC_KEYS, purpose), Pairs(finished=False)]
    valid = partial(verify, MARKET.public, Purpose.ANCHOR)
    found = verify_log(log.data(), anchor, valid, checks)
    if isinstance(found, Verified):
        return None
    return found.what


@pytest.mark.parametrize("per_shard", [False, True])
def test_what_was_signed_is_verified(per_shard: bool) -> None:
    records: list[Record] = []
    for tick in range(4):
        records += [*tick_of(tick, per_shard), Dispatches(tick, AGENT, QUANTITY_W)]
    purpose = Purpose.SHARD_COUNTERSIGNATURE if per_shard else Purpose.COUNTERSIGNATURE
    assert checked(records, purpose) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tick": 2, "last_tick": 2}, "are not those that the market sealed"),
        ({"last_tick": 2}, "are not those that the market sealed"),
        ({"last_tick": 0}, "expected 0 <= first <= last"),
        ({"quantity_w": np.array([5, -7, 0, 8])}, "are not those that the market sealed"),
        ({"price_milli": np.full(4, 1)}, "are not those that the market sealed"),
        ({"reserve_w": np.ones((4, 4), np.int64)}, "are not those that the market sealed"),
        ({"agent": np.array([0, 1, 2, 4])}, "are not those that the market sealed"),
        ({"agent": np.array([1, 0, 2, 3])}, "are not in the order of agents"),
        ({"root": bytes(32)}, "are not those that the market sealed"),
        ({"signature": bytes(64)}, "seal of tick 1 is not valid"),
    ],
)
def test_every_field_of_the_contracts_is_sealed(change: dict[str, Any], message: str) -> None:
    award, _ = tick_of(1)
    found = checked([msgspec.structs.replace(award, **change)])
    assert found is not None
    assert message in found


def test_a_seal_of_another_key_is_not_valid() -> None:
    award, _ = tick_of(1)
    contracts = build_contracts(RUN, 1, AGENT, QUANTITY_W, award.price_milli, award.reserve_w)
    seal, _ = seal_tick(OTHER, RUN, 1, contracts)
    found = checked([msgspec.structs.replace(award, signature=seal.signature)])
    assert found == "record 0 (tick 0): the market's seal of tick 1 is not valid"


def test_a_countersignature_binds_agent_tick_and_purpose() -> None:
    award, signed = tick_of(1)
    replace = msgspec.structs.replace
    for wrong in (
        replace(signed, signature=signed.signature[::-1].copy()),
        replace(signed, signature=tick_of(2)[1].signature),
        replace(signed, first=np.array([0, 1, 2, 9])),
    ):
        found = checked([award, wrong])
        assert found is not None
        assert "is not valid" in found
    found = checked([award, signed], Purpose.SHARD_COUNTERSIGNATURE)
    assert found is not None
    assert "agent 0 for tick 1 is not valid" in found
    found = checked([award, tick_of(1, per_shard=True)[1]])
    assert found is not None
    assert "one countersignature for the agents 0 to 1" in found


def test_a_shard_cannot_sign_for_nobody() -> None:
    award, _ = tick_of(1)
    nothing = rows([sign(KEYS[0], Purpose.SHARD_COUNTERSIGNATURE, b"")])
    empty = Countersignatures(1, AGENT[:1], np.zeros(1, np.int64), nothing)
    found = checked([award, empty], Purpose.SHARD_COUNTERSIGNATURE)
    assert found is not None
    assert "is not valid" in found


def test_countersignatures_come_soon_after_their_contracts() -> None:
    signed = [tick_of(tick) for tick in range(3)]
    assert checked([signed[0][0], signed[1][0], signed[0][1]]) is None
    found = checked([*(award for award, _ in signed), signed[0][1]])
    assert found is not None
    assert "countersignatures of tick 0 without its contracts" in found


def test_an_anchor_of_another_key_or_purpose_is_not_valid() -> None:
    log = AuditLog(None, RUN)
    valid = partial(verify, MARKET.public, Purpose.ANCHOR)
    for key, purpose in ((OTHER, Purpose.ANCHOR), (MARKET, Purpose.SEAL)):
        found = verify_log(log.data(), log.anchor(partial(sign, key, purpose)), valid)
        assert isinstance(found, Fault)
        assert found.code == "anchor"
