"""A small market for the tests: contracts of one tick with everything that makes them binding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swarm.messages import Int
from swarm.trust.contracts import (
    Countersignature,
    Proof,
    TickSeal,
    build_contracts,
    countersign,
    seal_tick,
)
from swarm.trust.dispatch import Reason, Verifier
from swarm.trust.keys import Key, market_key, simulation_keys

SEED = 5
RUN = hashlib.sha256(b"this run").digest()
OTHER_RUN = hashlib.sha256(b"another run").digest()
MARKET = market_key(SEED)
AGENTS = 5
"""In the run; the shard under test has the middle three."""
KEYS = simulation_keys(SEED, 0, AGENTS)
FIRST, COUNT = 1, 3
LIMITS_W = np.array([[-100, 1_000], [-1_000, 0], [-500, 500]])
QUANTITY_W = np.array([10, 600, -300, 0, 20])
RESERVE_W = np.array([[0] * 4, [400, 300, 0, 400], [0] * 4, [100, 200, 400, 300], [0] * 4])
"""The second agent's quantity and reserve are at its limits, up and down, the fourth's too."""
ALL_VALID = [Reason.VALID] * COUNT
IDENTITY = bytes([1]) + bytes(31)
"""The public key under which everybody can sign everything."""


@dataclass(frozen=True)
class Tick:
    """Contracts of all agents of the run for one tick."""

    contracts: list[bytes]
    seal: TickSeal
    proofs: list[Proof]
    countersignatures: list[Countersignature]

    def of(
        self, agents: Sequence[int]
    ) -> tuple[list[bytes], TickSeal, list[Proof], list[Countersignature | None]]:
        """What `Verifier.check` takes after the tick, for some of the contracts."""
        return (
            [self.contracts[agent] for agent in agents],
            self.seal,
            [self.proofs[agent] for agent in agents],
            [self.countersignatures[agent] for agent in agents],
        )


SHARD = range(FIRST, FIRST + COUNT)


def issue(
    tick: int,
    *,
    run: bytes = RUN,
    market: Key = MARKET,
    keys: Sequence[Key] = KEYS,
    quantity_w: Int = QUANTITY_W,
    reserve_w: Int = RESERVE_W,
    price_milli: int = 40_000,
    last_tick: int | None = None,
) -> Tick:
    """Contracts as the market makes them."""
    contracts = build_contracts(
        run, tick, np.arange(AGENTS), quantity_w, price_milli, reserve_w, last_tick=last_tick
    )
    seal, proofs = seal_tick(market, run, tick, contracts)
    return Tick(contracts, seal, proofs, countersign(keys, contracts))


def verifier(
    *,
    keys: Sequence[bytes] = tuple(key.public for key in KEYS[FIRST : FIRST + COUNT]),
    limits_w: Int = LIMITS_W,
    longest_window: int = 1,
    shard_key: bytes | None = None,
) -> Verifier:
    """That of the shard."""
    return Verifier(
        run=RUN,
        market=MARKET.public,
        first=FIRST,
        public_keys=keys,
        limits_w=limits_w,
        longest_window=longest_window,
        shard_key=shard_key,
    )


def reasons(checked: np.ndarray) -> list[Reason]:
    """Codes by name."""
    return [Reason(code) for code in checked.tolist()]
