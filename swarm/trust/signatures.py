"""The signatures in an audit log: the market's seals and the agents' countersignatures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from swarm.messages import Int
from swarm.trust.contracts import TickSeal, build_contracts, seal_is_signed
from swarm.trust.keys import Purpose, verify
from swarm.trust.merkle import Tree
from swarm.trust.records import Contracts, Countersignatures, Record

HELD_TICKS = 2
"""Countersignatures of a tick are expected before the contracts of the second tick after it."""


class Signatures:
    """A `swarm.trust.verify.Check`: builds every contract anew from its record and verifies it.

    A countersignature that did not hold when it came belongs to a refusal and not into the log.
    """

    def __init__(
        self,
        run: bytes,
        market: bytes,
        public_keys: Mapping[int, bytes],
        purpose: Purpose = Purpose.COUNTERSIGNATURE,
    ) -> None:
        """Start a check.

        Args:
            run: the run's id, 32 bytes.
            market: the market's public key.
            public_keys: of who countersigns, by the global index of the first agent bound.
            purpose: COUNTERSIGNATURE where each agent signs, else SHARD_COUNTERSIGNATURE.
        """
        self._run, self._market = run, market
        self._public_keys, self._purpose = public_keys, purpose
        self._held: dict[int, tuple[Int, list[bytes]]] = {}

    def take(self, number: int, record: Record) -> str | None:
        """See `Check`."""
        if isinstance(record, Contracts):
            return self._sealed(record)
        if isinstance(record, Countersignatures):
            return self._countersigned(record)
        return None

    def finish(self) -> tuple[int, int, str] | None:
        """See `Check`; nothing is left for the end."""
        return None

    def _sealed(self, record: Contracts) -> str | None:
        if (np.diff(record.agent) <= 0).any():
            return f"the contracts of tick {record.tick} are not in the order of agents"
        try:
            contracts = build_contracts(
                self._run,
                record.tick,
                record.agent,
                record.quantity_w,
                record.price_milli,
                record.reserve_w,
                last_tick=record.last_tick,
            )
        except ValueError as error:
            return str(error)
        if Tree(contracts).root != record.root:
            return f"the contracts of tick {record.tick} are not those that the market sealed"
        seal = TickSeal(
            self._run, record.tick, len(contracts), record.root, self._market, record.signature
        )
        if not seal_is_signed(seal):
            return f"the market's seal of tick {record.tick} is not valid"
        self._held[record.tick] = record.agent, contracts
        while len(self._held) > HELD_TICKS:
            del self._held[next(iter(self._held))]
        return None

    def _countersigned(self, record: Countersignatures) -> str | None:
        if record.tick not in self._held:
            return f"countersignatures of tick {record.tick} without its contracts before them"
        agents, contracts = self._held[record.tick]
        for row, first in enumerate(record.first.tolist()):
            last = first + int(record.agents[row]) - 1
            start, stop = np.searchsorted(agents, (first, last + 1)).tolist()
            if self._purpose is Purpose.COUNTERSIGNATURE and first != last:
                return f"one countersignature for the agents {first} to {last}: expected one each"
            key, data = self._public_keys.get(first), b"".join(contracts[start:stop])
            signature = record.signature[row].tobytes()
            # No contract at all must not pass as a signature on nothing.
            if not data or key is None or not verify(key, self._purpose, data, signature):
                return f"the countersignature of agent {first} for tick {record.tick} is not valid"
        return None
