"""What stands before dispatch: a shard's check of its contracts.

Each contract gets the reason why it is refused, or `Reason.VALID`. The order of the checks is that
of `Verifier.check`: but for its run, what a contract says counts only after the market's seal
covers it, so `EARLY` means that the market did sign a contract for a later tick, and not that
somebody wrote one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from swarm.errors import UsageError
from swarm.messages import DOWN, RESERVE_PRODUCTS, UP, Int
from swarm.trust.contracts import (
    RUN_ID_BYTES,
    TABLE,
    Countersignature,
    Proof,
    Table,
    TickSeal,
    read_contracts,
    seal_is_signed,
)
from swarm.trust.keys import (
    KeyFault,
    Purpose,
    has_small_order,
    is_canonical_signature,
    key_fault,
    verify,
)
from swarm.trust.merkle import verify_inclusion

MAX_LIMIT_W = 2**60
"""Largest size of a limit, so that a quantity and its reserves add up within int64."""


class Reason(IntEnum):
    """Why a contract is not dispatched."""

    VALID = 0
    NON_CANONICAL = 1
    """Bytes of a contract, signature or key that are no canonical form."""
    WRONG_RUN = 2
    """Of another run."""
    WRONG_SIGNER = 3
    """Not sealed by this run's market, or not countersigned by the agent it names."""
    SMALL_ORDER_KEY = 4
    """Signed or to be signed under a key of small order."""
    TAMPERED = 5
    """The signature does not fit what is signed, or the contract is not in the sealed tree."""
    UNKNOWN = 6
    """For an agent that is not of this shard."""
    REVOKED = 7
    """The agent's key is revoked."""
    EARLY = 8
    """Its first tick is still to come."""
    EXPIRED = 9
    """Its last tick has passed."""
    OVER_LIMIT = 10
    """Beyond what the agent may inject or draw, or dispatchable for too many ticks."""
    REPLAYED = 11
    """Used before, or the agent has had its contract in this tick."""
    SHADOW = 12
    """Valid, but the run is in shadow mode, where nothing moves."""


@dataclass(frozen=True)
class Permitted:
    """What valid contracts permit the agents of a shard; zero where there is none."""

    quantity_w: Int
    """(agents,), net injection."""
    reserve_w: Int
    """(agents, 4), by product of `RESERVE_PRODUCTS`."""


class Verifier:
    """Checks the contracts of one shard and remembers which were used.

    It holds plain arrays and sets, so a checkpoint of the shard carries it.

    Args:
        run: id of the run, 32 bytes.
        market: the market's public key.
        first: global index of the shard's first agent.
        public_keys: of the shard's agents, in order. A faulty one refuses the agent's contracts.
        limits_w: int64 (agents, 2), least and greatest net injection of each. A contract is within
            limits where its quantity is, each way together with the reserve it sells.
        revoked: global indices of agents whose keys are revoked; others are no concern here.
        longest_window: most ticks from the first to the last of a contract, both counted; used
            contracts are remembered no longer than that.
        shard_key: public key under which one countersignature holds for the whole shard; None:
            each agent signs its own.

    Raises:
        UsageError: where the run id, the market's or the shard's key, or the limits are unusable.
    """

    STATE = ("_low_w", "_high_w", "_tick", "_acted", "_used")
    """See `swarm.snapshot`."""

    def __init__(
        self,
        *,
        run: bytes,
        market: bytes,
        first: int,
        public_keys: Sequence[bytes],
        limits_w: Int,
        revoked: Iterable[int] = (),
        longest_window: int = 1,
        shard_key: bytes | None = None,
    ) -> None:
        if len(run) != RUN_ID_BYTES:
            raise UsageError(f"run id: {len(run)} bytes, expected {RUN_ID_BYTES}")
        if longest_window < 1:
            raise UsageError(f"longest_window: {longest_window}, expected 1 or more")
        for owner, key in (("market", market), ("shard", shard_key)):
            fault = None if key is None else key_fault(key)
            if fault is not None:
                raise UsageError(f"public key of the {owner}: {fault.value}")
        _check_limits(limits_w, first, len(public_keys))
        if not public_keys:
            raise UsageError("public_keys: none, expected those of a shard's agents")
        self._run, self._market, self._first = run, market, first
        self._public_keys = list(public_keys)
        self._low_w, self._high_w = limits_w[:, 0].copy(), limits_w[:, 1].copy()
        self._longest_window = longest_window
        self._shard_key = shard_key
        # One key may stand for a whole shard.
        faults = {key: _KEY_REASONS[key_fault(key)] for key in set(public_keys)}
        self._key_reason = np.array([faults[key] for key in public_keys], dtype=np.int8)
        self._revoked = np.zeros(len(public_keys), dtype=np.bool_)
        for agent in revoked:
            self.revoke(agent)
        self._tick = -1
        self._acted = np.full(len(public_keys), -1, dtype=np.int64)
        self._used: dict[int, set[bytes]] = {}

    def revoke(self, agent: int) -> None:
        """Refuse the contracts of an agent (global index) from now on."""
        if 0 <= agent - self._first < len(self._public_keys):
            self._revoked[agent - self._first] = True

    def limit(self, limits_w: Int) -> None:
        """Set the limits of what is checked from now on, int64 (agents, 2).

        Raises:
            UsageError: where they are unusable.
        """
        _check_limits(limits_w, self._first, len(self._public_keys))
        self._low_w, self._high_w = limits_w[:, 0].copy(), limits_w[:, 1].copy()

    def check(
        self,
        tick: int,
        contracts: Sequence[bytes],
        seal: TickSeal,
        proofs: Sequence[Proof],
        countersignatures: Sequence[Countersignature | None] | Countersignature,
    ) -> NDArray[np.int8]:
        """The `Reason` of each contract, int8 (n,); the valid ones are used up.

        Args:
            tick: interval to be dispatched; may come again, never go back.
            contracts: byte forms, all of one tick's seal, in any order.
            seal: the market's.
            proofs: of each contract, in their order.
            countersignatures: likewise, None where one is missing; a single one where the shard
                signs.

        Raises:
            ValueError: where the lengths differ or `tick` lies before one that was checked.
        """
        for name, given in (("proofs", proofs), ("countersignatures", countersignatures)):
            if not isinstance(given, Countersignature) and len(given) != len(contracts):
                raise ValueError(f"{name}: {len(given)}, expected {len(contracts)}, one each")
        self._advance(tick)
        reasons = np.zeros(len(contracts), dtype=np.int8)

        def refuse(where: NDArray[np.bool_], reason: Reason | NDArray[np.int8]) -> None:
            np.copyto(reasons, np.asarray(reason, np.int8), where=where & (reasons == 0))

        table, canonical = read_contracts(contracts)
        refuse(~canonical, Reason.NON_CANONICAL)
        foreign = (table["run"] != np.frombuffer(self._run, np.uint8)).any(axis=1)
        refuse(foreign | (seal.run != self._run), Reason.WRONG_RUN)
        refuse(reasons == 0, self._seal_reason(seal))
        refuse(table["first_tick"] != seal.tick, Reason.TAMPERED)
        in_tree = [
            reason == 0 and verify_inclusion(seal.root, seal.leaves, proof.leaf, row, proof.path)
            for reason, row, proof in zip(reasons.tolist(), contracts, proofs, strict=True)
        ]
        refuse(~np.array(in_tree, dtype=np.bool_), Reason.TAMPERED)

        known, agent = self._rows(table)
        refuse(~known, Reason.UNKNOWN)
        refuse(self._key_reason[agent] != 0, self._key_reason[agent])
        refuse(self._revoked[agent], Reason.REVOKED)
        refuse(table["first_tick"] > tick, Reason.EARLY)
        refuse(table["last_tick"] < tick, Reason.EXPIRED)
        refuse(self._over_limit(table, agent), Reason.OVER_LIMIT)
        self._use(tick, contracts, table, agent, reasons, countersignatures)
        return reasons

    def permitted(self, contracts: Sequence[bytes], reasons: NDArray[np.int8]) -> Permitted:
        """What contracts permit after `check` gave `reasons`: of a refused one, nothing."""
        valid = [row for row, reason in zip(contracts, reasons, strict=True) if reason == 0]
        table: Table = np.frombuffer(b"".join(valid), TABLE)
        agent = table["agent"] - self._first
        quantity_w = np.zeros(len(self._public_keys), dtype=np.int64)
        reserve_w = np.zeros((len(self._public_keys), len(RESERVE_PRODUCTS)), dtype=np.int64)
        quantity_w[agent], reserve_w[agent] = table["quantity_w"], table["reserve_w"]
        return Permitted(quantity_w, reserve_w)

    def _advance(self, tick: int) -> None:
        """Forget what can only be refused as expired from now on."""
        if tick < self._tick:
            raise ValueError(f"tick {tick}: expected {self._tick} or later, time does not go back")
        self._tick = tick
        self._used = {last: used for last, used in self._used.items() if last >= tick}

    def _seal_reason(self, seal: TickSeal) -> Reason:
        if seal.market != self._market:
            return _foreign_signer(seal.market)
        if seal_is_signed(seal):
            return Reason.VALID
        return _bad_signature(seal.signature)

    def _rows(self, table: Table) -> tuple[NDArray[np.bool_], Int]:
        """Which contracts are of this shard's agents, and the agents' rows, 0 for the others."""
        row = table["agent"] - self._first
        known = (row >= 0) & (row < len(self._public_keys))
        return known, np.where(known, row, 0)

    def _over_limit(self, table: Table, agent: Int) -> NDArray[np.bool_]:
        low, high = self._low_w[agent], self._high_w[agent]
        quantity, reserve = table["quantity_w"], table["reserve_w"]
        # Where the parts are within limits their sums cannot overflow; the others fail anyway.
        parts = (low <= quantity) & (quantity <= high)
        parts &= (reserve <= (high - low)[:, None]).all(axis=1)
        up, down = reserve[:, UP].sum(axis=1), reserve[:, DOWN].sum(axis=1)
        within = parts & (quantity + up <= high) & (quantity - down >= low)
        window = table["last_tick"] - table["first_tick"]
        result: NDArray[np.bool_] = ~within | (window >= self._longest_window)
        return result

    def _use(
        self,
        tick: int,
        contracts: Sequence[bytes],
        table: Table,
        agent: Int,
        reasons: NDArray[np.int8],
        countersignatures: Sequence[Countersignature | None] | Countersignature,
    ) -> None:
        """Check countersignatures in order, so that of two alike the first valid one counts."""
        whole: Reason | None = None
        each: Sequence[Countersignature | None] = ()
        if isinstance(countersignatures, Countersignature):
            whole = self._shard_reason(contracts, countersignatures)
        else:
            each = countersignatures
        for at in np.flatnonzero(reasons == 0).tolist():
            row = int(agent[at])
            used = self._used.setdefault(int(table["last_tick"][at]), set())
            nonce = table["nonce"][at].tobytes()
            if nonce in used or self._acted[row] == tick:
                reasons[at] = Reason.REPLAYED
                continue
            reason = whole
            if reason is None:
                reason = self._agent_reason(row, contracts[at], each[at])
            reasons[at] = reason
            if reason is Reason.VALID:
                used.add(nonce)
                self._acted[row] = tick

    def _agent_reason(self, row: int, data: bytes, given: Countersignature | None) -> Reason:
        if given is None or self._shard_key is not None:
            return Reason.WRONG_SIGNER
        return _signer_reason(self._public_keys[row], Purpose.COUNTERSIGNATURE, data, given)

    def _shard_reason(self, contracts: Sequence[bytes], given: Countersignature) -> Reason:
        if self._shard_key is None:
            return Reason.WRONG_SIGNER
        data = b"".join(contracts)
        return _signer_reason(self._shard_key, Purpose.SHARD_COUNTERSIGNATURE, data, given)


_KEY_REASONS = {
    None: Reason.VALID,
    KeyFault.SMALL_ORDER: Reason.SMALL_ORDER_KEY,
    KeyFault.NON_CANONICAL: Reason.NON_CANONICAL,
}


def _signer_reason(
    expected: bytes, purpose: Purpose, data: bytes, given: Countersignature
) -> Reason:
    if given.signer != expected:
        return _foreign_signer(given.signer)
    if verify(expected, purpose, data, given.signature):
        return Reason.VALID
    return _bad_signature(given.signature)


def _foreign_signer(public: bytes) -> Reason:
    return Reason.SMALL_ORDER_KEY if has_small_order(public) else Reason.WRONG_SIGNER


def _bad_signature(signature: bytes) -> Reason:
    return Reason.TAMPERED if is_canonical_signature(signature) else Reason.NON_CANONICAL


def _check_limits(limits_w: Int, first: int, agents: int) -> None:
    if limits_w.shape != (agents, 2):
        raise UsageError(f"limits_w: shape {limits_w.shape}, expected {(agents, 2)}")
    low, high = limits_w[:, 0], limits_w[:, 1]
    wrong = np.flatnonzero((low > high) | (low < -MAX_LIMIT_W) | (high > MAX_LIMIT_W))
    if wrong.size:
        at = int(wrong[0])
        raise UsageError(
            f"limits_w of agent {first + at}: {low[at]} to {high[at]}, expected a range within "
            f"-{MAX_LIMIT_W} to {MAX_LIMIT_W}"
        )
