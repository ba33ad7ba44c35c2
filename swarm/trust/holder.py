"""A shard's side of its contracts: countersign, check, and say who may act.

Awards are not believed: each contract is built anew from what was awarded and must be in the tree
that the market sealed. Where one signature binds a block of agents, it is all or nothing: a
contract of the block that is not the market's refuses them all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swarm.messages import RESERVE_PRODUCTS, Codes, Int
from swarm.trust.contracts import (
    Countersignature,
    build_contracts,
    countersign,
    countersign_shard,
)
from swarm.trust.dispatch import Reason, Verifier
from swarm.trust.exchange import Awards
from swarm.trust.keys import (
    SIGNATURE_BYTES,
    Key,
    check_public_keys,
    market_key,
    read_key_folder,
    simulation_keys,
)
from swarm.trust.records import Countersignatures, Refusals

BLOCK = 500
"""Agents that one signature binds where not each signs for itself. Shards are cut at multiples of
it, so that the audit log does not depend on packing."""
MARKET = "market"
"""Name of the market's key in a folder of keys."""
_NOT_THE_MARKETS = (Reason.TAMPERED, Reason.NON_CANONICAL, Reason.WRONG_RUN)


@dataclass(frozen=True)
class Signing:
    """How a run signs; it travels to wherever something is signed, and holds no secret.

    Attributes:
        run: id of the run, 32 bytes.
        seed: the run's seed.
        market: the market's public key.
        per_shard: one countersignature binds a block of agents; False: each agent signs.
        folder: of keys; None: keys are derived from the seed.
        revoked: global indices of agents whose keys are revoked.
        shadow: nothing is dispatched.
    """

    run: bytes
    seed: int
    market: bytes
    per_shard: bool = False
    folder: Path | None = None
    revoked: tuple[int, ...] = ()
    shadow: bool = False

    def keys(self, first: int, names: Sequence[str]) -> list[Key]:
        """Keys of the agents called `names`, `first` the global index of the first of them.

        Raises:
            UsageError: see `read_key_folder`.
        """
        if self.folder is not None:
            return read_key_folder(self.folder, names)
        return simulation_keys(self.seed, first, len(names))

    def market_key(self) -> Key:
        """The market's key; see `keys`."""
        return market_key_of(self.seed, self.folder)


def market_key_of(seed: int, folder: Path | None) -> Key:
    """The market's key, from a folder or derived from the seed.

    Raises:
        UsageError: see `read_key_folder`.
    """
    return market_key(seed) if folder is None else read_key_folder(folder, [MARKET])[0]


def public_keys_of(seed: int, folder: Path | None, names: Sequence[str]) -> list[bytes]:
    """Public keys of all agents, in global order, and last the market's; every one is checked.

    Raises:
        UsageError: where a key is missing, of small order, not canonical or shared.
    """
    if folder is not None:
        return [key.public for key in read_key_folder(folder, [*names, MARKET])]
    keys = [*simulation_keys(seed, 0, len(names)), market_key(seed)]
    public = [key.public for key in keys]
    check_public_keys([*names, MARKET], public)
    return public


@dataclass(frozen=True)
class Held:
    """What came of a shard's contracts for one interval.

    Attributes:
        permitted: bool (n,), has a valid contract.
        agent: int64 (c,), global index of each agent with a contract.
        reasons: int8 (c,), `Reason` of each.
        countersignatures: those that bind, as in the audit log.
    """

    permitted: np.ndarray
    agent: Int
    reasons: Codes
    countersignatures: Countersignatures

    def refusals(self, tick: int) -> Refusals:
        """The contracts that were not acted on."""
        refused = self.reasons != Reason.VALID
        return Refusals(tick, "dispatch", self.agent[refused], self.reasons[refused])


class Holder:
    """Holds the keys of the agents of one shard and checks their contracts, tick by tick.

    Attributes:
        signatures: made so far.
        checked: contracts checked so far.
        seconds: processor time of both so far, of this thread.
    """

    STATE = ("signatures", "checked", "_blocks")
    """See `swarm.snapshot`."""

    def __init__(self, signing: Signing, first: int, names: Sequence[str]) -> None:
        """Take the agents called `names`, `first` the global index of the first.

        Raises:
            UsageError: where a key cannot be read or used.
        """
        self._signing, self._first, self._agents = signing, first, len(names)
        self.signatures = self.checked = 0
        self.seconds = 0.0
        size = BLOCK if signing.per_shard else len(names)
        starts = range(0, len(names), size)
        if signing.per_shard:
            # Only the first of each block signs.
            self._keys = [signing.keys(first + at, names[at : at + 1])[0] for at in starts]
        else:
            self._keys = signing.keys(first, names)
        spans = [(start, min(start + size, len(names))) for start in starts]
        self._blocks = [(start, stop, self._verifier(start, stop)) for start, stop in spans]

    def _verifier(self, start: int, stop: int) -> Verifier:
        shard_key = self._keys[start // BLOCK].public if self._signing.per_shard else None
        if shard_key is not None:
            keys = [shard_key] * (stop - start)
        else:
            keys = [key.public for key in self._keys[start:stop]]
        return Verifier(
            run=self._signing.run,
            market=self._signing.market,
            first=self._first + start,
            public_keys=keys,
            limits_w=np.zeros((stop - start, 2), dtype=np.int64),
            revoked=self._signing.revoked,
            shard_key=shard_key,
        )

    @property
    def key(self) -> Key:
        """The key of the first agent, which signs the offers."""
        return self._keys[0]

    def check(
        self, tick: int, awards: Awards, quantity_w: Int, reserve_w: Int, limits_w: Int
    ) -> Held:
        """Countersign and check the contracts for interval `tick`.

        Args:
            tick: about to be dispatched.
            awards: what the market sent the host; rows of other shards are left alone.
            quantity_w: int64 (n,), net injection awarded.
            reserve_w: int64 (n, 4), reserve sold, by product.
            limits_w: int64 (n, 2), least and greatest injection that was offered, reserve included.
        """
        begin = time.thread_time()
        permitted = np.zeros(self._agents, dtype=bool)
        agents: list[Int] = []
        found: list[Codes] = []
        signed: list[tuple[int, int, bytes]] = []
        for start, stop, verifier in self._blocks:
            low, high = np.searchsorted(awards.agent, [self._first + start, self._first + stop])
            agent = np.asarray(awards.agent[low:high])
            row = agent - self._first
            reasons = np.full(len(agent), Reason.NON_CANONICAL, dtype=np.int8)
            given: Sequence[Countersignature] | Countersignature = ()
            verifier.limit(limits_w[start:stop])
            # What cannot be written as a contract is none.
            if len(agent) and (reserve_w[row] >= 0).all():
                contracts = build_contracts(
                    self._signing.run,
                    awards.seal.tick,
                    agent,
                    quantity_w[row],
                    awards.price_milli[low:high],
                    reserve_w[row],
                )
                given = self._countersigned(start, row, contracts)
                proofs = awards.proofs(int(low), int(high))
                reasons = verifier.check(tick, contracts, awards.seal, proofs, given)
            if self._signing.per_shard and np.isin(reasons, _NOT_THE_MARKETS).any():
                reasons[reasons == Reason.VALID] = Reason.TAMPERED
            valid = reasons == Reason.VALID
            permitted[row[valid]] = True
            agents.append(agent)
            found.append(reasons)
            if isinstance(given, Countersignature):
                if valid.any():
                    signed.append((self._first + start, stop - start, given.signature))
            else:
                held = zip(agent.tolist(), given, valid.tolist(), strict=False)
                signed += [(who, 1, each.signature) for who, each, holds in held if holds]
        reasons = np.concatenate(found)
        self.signatures += len(signed)
        self.checked += len(reasons)
        self.seconds += time.thread_time() - begin
        if self._signing.shadow:
            reasons[reasons == Reason.VALID] = Reason.SHADOW
            permitted[:] = False
        return Held(permitted, np.concatenate(agents), reasons, _signatures(tick, signed))

    def _countersigned(
        self, start: int, row: Int, contracts: Sequence[bytes]
    ) -> Sequence[Countersignature] | Countersignature:
        """Each agent's signature, or that of the block for all of them."""
        if self._signing.per_shard:
            return countersign_shard(self._keys[start // BLOCK], contracts)
        return countersign([self._keys[at] for at in row.tolist()], contracts)


def no_reserve(agents: int) -> Int:
    """No reserve sold by so many agents, int64 (n, 4)."""
    return np.zeros((agents, len(RESERVE_PRODUCTS)), dtype=np.int64)


def _signatures(tick: int, rows: Sequence[tuple[int, int, bytes]]) -> Countersignatures:
    data = b"".join(signature for _, _, signature in rows)
    return Countersignatures(
        tick,
        np.array([first for first, _, _ in rows], dtype=np.int64),
        np.array([agents for _, agents, _ in rows], dtype=np.int64),
        np.frombuffer(data, np.uint8).reshape(-1, SIGNATURE_BYTES),
    )
