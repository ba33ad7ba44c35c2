"""A genuine contract is dispatched in its run, at its time, within limits, and once."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.trust.contracts import (
    Countersignature,
    build_contracts,
    countersign_shard,
    seal_tick,
)
from swarm.trust.dispatch import MAX_LIMIT_W, Reason, Verifier
from swarm.trust.keys import Purpose, market_key, sign, simulation_keys
from tests.trust.tick import (
    AGENTS,
    ALL_VALID,
    COUNT,
    FIRST,
    IDENTITY,
    KEYS,
    LIMITS_W,
    MARKET,
    OTHER_RUN,
    QUANTITY_W,
    RESERVE_W,
    RUN,
    SHARD,
    Tick,
    issue,
    reasons,
    verifier,
)


def test_contracts_of_another_run_or_market_are_refused() -> None:
    """Two runs of one seed share all simulation keys; only the run id tells them apart."""
    assert (
        reasons(verifier().check(7, *issue(7, run=OTHER_RUN).of(SHARD)))
        == [Reason.WRONG_RUN] * COUNT
    )
    stranger = issue(7, market=market_key(99))
    assert reasons(verifier().check(7, *stranger.of(SHARD))) == [Reason.WRONG_SIGNER] * COUNT
    posing = msgspec.structs.replace(stranger.seal, market=MARKET.public)
    forged = Tick(stranger.contracts, posing, stranger.proofs, stranger.countersignatures)
    assert reasons(verifier().check(7, *forged.of(SHARD))) == [Reason.TAMPERED] * COUNT


def test_a_contract_that_its_tick_s_seal_does_not_name_is_refused() -> None:
    """The market signs the tree, and the tree holds contracts of another tick."""
    old = issue(6)
    seal, proofs = seal_tick(MARKET, RUN, 7, old.contracts)
    moved = Tick(old.contracts, seal, proofs, old.countersignatures)
    assert reasons(verifier().check(7, *moved.of(SHARD))) == [Reason.TAMPERED] * COUNT


def test_early_and_late_contracts_are_refused() -> None:
    gate, mine = verifier(), issue(7).of(SHARD)
    assert reasons(gate.check(6, *mine)) == [Reason.EARLY] * COUNT
    assert reasons(gate.check(7, *mine)) == ALL_VALID
    late = verifier()
    assert reasons(late.check(8, *mine)) == [Reason.EXPIRED] * COUNT


def test_a_contract_is_good_once() -> None:
    gate, mine = verifier(), issue(7).of(SHARD)
    gate.check(7, *mine)
    assert reasons(gate.check(7, *mine)) == [Reason.REPLAYED] * COUNT
    again = pickle.loads(pickle.dumps(gate))
    assert reasons(again.check(7, *mine)) == [Reason.REPLAYED] * COUNT
    twice = issue(8).of([1, 2, 1, 1, 3])
    expected = [Reason.VALID, Reason.VALID, Reason.REPLAYED, Reason.REPLAYED, Reason.VALID]
    assert reasons(gate.check(8, *twice)) == expected


def test_of_two_alike_the_one_that_is_signed_counts() -> None:
    contracts, seal, proofs, signed = issue(7).of([1, 1, 1])
    signed[0] = None
    checked = verifier().check(7, contracts, seal, proofs, signed)
    assert reasons(checked) == [Reason.WRONG_SIGNER, Reason.VALID, Reason.REPLAYED]


def test_a_second_contract_for_the_same_tick_is_a_replay_whatever_it_says() -> None:
    gate = verifier()
    gate.check(7, *issue(7).of(SHARD))
    second = issue(7, quantity_w=QUANTITY_W // 2, reserve_w=RESERVE_W * 0, price_milli=1)
    assert reasons(gate.check(7, *second.of(SHARD))) == [Reason.REPLAYED] * COUNT


def test_a_window_of_several_ticks_is_used_once_and_one_contract_a_tick() -> None:
    gate = verifier(longest_window=3)
    longer, next_one = issue(3, last_tick=5).of(SHARD), issue(4, last_tick=5).of(SHARD)
    assert reasons(gate.check(2, *longer)) == [Reason.EARLY] * COUNT
    assert reasons(gate.check(4, *longer)) == ALL_VALID
    assert reasons(gate.check(4, *next_one)) == [Reason.REPLAYED] * COUNT
    assert reasons(gate.check(5, *longer)) == [Reason.REPLAYED] * COUNT
    assert reasons(gate.check(5, *next_one)) == ALL_VALID
    assert reasons(gate.check(6, *longer)) == [Reason.EXPIRED] * COUNT
    too_long = issue(7, last_tick=10).of(SHARD)
    assert reasons(gate.check(7, *too_long)) == [Reason.OVER_LIMIT] * COUNT
    assert reasons(gate.check(7, *issue(7, last_tick=9).of(SHARD))) == ALL_VALID


def test_time_does_not_go_back() -> None:
    """Otherwise what was used in a window that is over could be used again."""
    gate, mine = verifier(), issue(7).of(SHARD)
    gate.check(8, *mine)
    with pytest.raises(ValueError, match="tick 7: expected 8 or later"):
        gate.check(7, *mine)


def test_agents_of_other_shards_are_unknown() -> None:
    checked = verifier().check(7, *issue(7).of(range(AGENTS)))
    assert reasons(checked) == [Reason.UNKNOWN, *ALL_VALID, Reason.UNKNOWN]


def test_a_revoked_agent_is_refused_from_then_on() -> None:
    gate = verifier()
    gate.check(7, *issue(7).of(SHARD))
    for agent in (2, 0, AGENTS, 10**9):
        gate.revoke(agent)
    expected = [Reason.VALID, Reason.REVOKED, Reason.VALID]
    assert reasons(gate.check(8, *issue(8).of(SHARD))) == expected
    from_start = Verifier(
        run=RUN,
        market=MARKET.public,
        first=FIRST,
        public_keys=[key.public for key in KEYS[FIRST : FIRST + COUNT]],
        limits_w=LIMITS_W,
        revoked=[2],
    )
    assert reasons(from_start.check(8, *issue(8).of(SHARD))) == expected


@pytest.mark.parametrize(
    ("public", "reason"),
    [(IDENTITY, Reason.SMALL_ORDER_KEY), (bytes([2]) * 31, Reason.NON_CANONICAL)],
)
def test_a_faulty_registered_key_refuses_its_agent(public: bytes, reason: Reason) -> None:
    """The signature R = B, S = 1 satisfies the equation under the identity for any contract."""
    gate = verifier(keys=[KEYS[1].public, public, KEYS[3].public])
    contracts, seal, proofs, signed = issue(7).of(SHARD)
    signed[1] = Countersignature(public, bytes.fromhex("58" + "66" * 31) + bytes([1]) + bytes(31))
    checked = gate.check(7, contracts, seal, proofs, signed)
    assert reasons(checked) == [Reason.VALID, reason, Reason.VALID]


INT64 = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-2_000, 2_000),
    st.sampled_from([-(2**63), 2**63 - 1]),
)
RESERVE = INT64.map(lambda w: abs(w) if w > -(2**63) else 0)
LIMIT = st.one_of(st.integers(-MAX_LIMIT_W, MAX_LIMIT_W), st.integers(-2_000, 2_000))


@settings(max_examples=150)
@given(
    limits=st.lists(st.tuples(LIMIT, LIMIT).map(sorted), min_size=COUNT, max_size=COUNT),
    quantity=st.lists(INT64, min_size=AGENTS, max_size=AGENTS),
    reserve=st.lists(st.lists(RESERVE, min_size=4, max_size=4), min_size=AGENTS, max_size=AGENTS),
)
def test_limits_hold_for_quantity_and_reserve_together(
    limits: list[list[int]], quantity: list[int], reserve: list[list[int]]
) -> None:
    tick = issue(7, quantity_w=np.array(quantity), reserve_w=np.array(reserve))
    checked = verifier(limits_w=np.array(limits)).check(7, *tick.of(SHARD))
    for agent, (low, high), reason in zip(SHARD, limits, reasons(checked), strict=True):
        up = reserve[agent][0] + reserve[agent][2]
        down = reserve[agent][1] + reserve[agent][3]
        within = low <= quantity[agent] - down and quantity[agent] + up <= high
        assert reason is (Reason.VALID if within else Reason.OVER_LIMIT)


def test_one_watt_over_a_limit_is_over() -> None:
    """In the helper's contracts the first and the last agent of the shard are at both limits."""
    for product in range(4):
        reserve = RESERVE_W.copy()
        reserve[[1, 3], product] += 1
        checked = verifier().check(7, *issue(7, reserve_w=reserve).of(SHARD))
        assert reasons(checked) == [Reason.OVER_LIMIT, Reason.VALID, Reason.OVER_LIMIT]


def test_memory_does_not_grow_with_time() -> None:
    gate, sizes = verifier(longest_window=2), []
    for tick in range(30):
        gate.check(tick, *issue(tick, last_tick=tick + 1).of(SHARD))
        sizes.append(len(pickle.dumps(gate)))
    assert max(sizes[3:]) <= sizes[2]


def test_one_signature_for_a_shard_binds_all_of_it_or_none() -> None:
    contracts, seal, proofs, signed = issue(7).of(SHARD)
    key = simulation_keys(99, 0, 1)[0]
    whole = countersign_shard(key, contracts)

    def check(given_: Any, shard_key: bytes | None = key.public) -> list[Reason]:
        return reasons(verifier(shard_key=shard_key).check(7, contracts, seal, proofs, given_))

    assert check(whole) == ALL_VALID
    assert check(signed) == [Reason.WRONG_SIGNER] * COUNT
    assert check(whole, shard_key=None) == [Reason.WRONG_SIGNER] * COUNT
    assert check(countersign_shard(KEYS[1], contracts)) == [Reason.WRONG_SIGNER] * COUNT
    assert check(countersign_shard(key, contracts[:2])) == [Reason.TAMPERED] * COUNT
    single = Countersignature(key.public, sign(key, Purpose.COUNTERSIGNATURE, b"".join(contracts)))
    assert check(single) == [Reason.TAMPERED] * COUNT


def test_lists_of_other_lengths_are_an_error_and_use_nothing() -> None:
    gate, (contracts, seal, proofs, signed) = verifier(), issue(7).of(SHARD)
    with pytest.raises(ValueError, match="proofs: 2, expected 3"):
        gate.check(9, contracts, seal, proofs[:2], signed)
    with pytest.raises(ValueError, match="countersignatures: 1, expected 3"):
        gate.check(9, contracts, seal, proofs, signed[:1])
    assert reasons(gate.check(7, contracts, seal, proofs, signed)) == ALL_VALID


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": b"short"}, "run id: 5 bytes, expected 32"),
        ({"market": IDENTITY}, "public key of the market: has small order"),
        ({"shard_key": b""}, "public key of the shard: is no canonical"),
        ({"public_keys": [], "limits_w": LIMITS_W[:0]}, "public_keys: none"),
        ({"limits_w": LIMITS_W[:2]}, r"limits_w: shape \(2, 2\), expected \(3, 2\)"),
        ({"limits_w": LIMITS_W[:, ::-1]}, "limits_w of agent 1: 1000 to -100"),
        ({"limits_w": LIMITS_W * 2**52}, "limits_w of agent 1: .* expected a range within"),
        ({"longest_window": 0}, "longest_window: 0, expected 1 or more"),
    ],
)
def test_unusable_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    given_: dict[str, Any] = {
        "run": RUN,
        "market": MARKET.public,
        "first": FIRST,
        "public_keys": [key.public for key in KEYS[FIRST : FIRST + COUNT]],
        "limits_w": LIMITS_W,
    }
    with pytest.raises(UsageError, match=message):
        Verifier(**(given_ | changes))


def test_reasons_are_numbered_for_good() -> None:
    """They stand in logs by number."""
    assert [reason.name for reason in Reason] == [
        "VALID",
        "NON_CANONICAL",
        "WRONG_RUN",
        "WRONG_SIGNER",
        "SMALL_ORDER_KEY",
        "TAMPERED",
        "UNKNOWN",
        "REVOKED",
        "EARLY",
        "EXPIRED",
        "OVER_LIMIT",
        "REPLAYED",
        "SHADOW",
    ]
    assert [int(reason) for reason in Reason] == list(range(13))


def test_a_batch_agrees_with_one_contract_at_a_time() -> None:
    keys = simulation_keys(3, 0, 200)
    agents, quantity = np.arange(200), np.arange(200) - 100
    contracts = build_contracts(RUN, 4, agents, quantity, 5, np.zeros((200, 4), dtype=np.int64))
    seal, proofs = seal_tick(MARKET, RUN, 4, contracts)
    signed = [
        None
        if agent % 7 == 0
        else Countersignature(key.public, sign(key, Purpose.COUNTERSIGNATURE, row))
        for agent, (key, row) in enumerate(zip(keys, contracts, strict=True))
    ]
    limits = np.tile([-90, 80], (200, 1))

    def gate() -> Verifier:
        publics = [key.public for key in keys]
        return Verifier(
            run=RUN, market=MARKET.public, first=0, public_keys=publics, limits_w=limits
        )

    batch = gate().check(4, contracts, seal, proofs, signed)
    single = gate()
    alone = [
        single.check(4, [row], seal, [proof], [given_])[0]
        for row, proof, given_ in zip(contracts, proofs, signed, strict=True)
    ]
    assert batch.tolist() == alone
    for agent in range(200):
        outside = not -90 <= agent - 100 <= 80
        unsigned = Reason.WRONG_SIGNER if agent % 7 == 0 else Reason.VALID
        assert alone[agent] == (Reason.OVER_LIMIT if outside else unsigned)
