"""Figures of contracts, policies and negotiation."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from swarm.market.record import TickRecord
from swarm.scenario.schema import Scenario
from swarm.trust.dispatch import Reason

TRUST_DEFINITIONS = {
    "contracts": "Contracts that the market sealed; null where nothing is signed, as the next "
    "four.",
    "dispatches": "Contracts that were acted on.",
    "refusals_by_reason": "Contracts that were not acted on, by reason.",
    "violations_by_rule": "Orders and dispatches beyond a policy, by rule.",
    "unpermitted_dispatches": "Agents and ticks in which a battery moved, load was shifted or a "
    "plant raised its output without a contract that was acted on.",
    "negotiation_rounds": "Mean calls per tick; null without negotiation, as the next two.",
    "consensus_share": "Share of ticks that ended in consensus.",
    "agreed_share": "Mean share of the agents that took part in the agreement.",
}


class TrustTotals:
    """Sums over the ticks of a run so far."""

    STATE = ("_signed", "_ticks", "_agents", "_sums", "_refusals", "_violations")
    """See `swarm.snapshot`."""

    def __init__(self, scenario: Scenario) -> None:
        self._negotiates = scenario.market.mechanism == "negotiated"
        self._signed = False
        self._ticks = self._agents = 0
        self._sums: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._violations: Counter[str] = Counter()

    def add(self, record: TickRecord) -> None:
        """Take one tick."""
        self._ticks += 1
        self._agents = len(record.contract_w)
        if record.agreed is not None:
            self._sums["rounds"] += record.agreed.rounds
            self._sums["consensus"] += record.agreed.consensus
            self._sums["answered"] += record.agreed.answered
        audit = record.audit
        if audit is None:
            return
        self._signed = True
        self._sums["contracts"] += len(audit.contracts.agent)
        self._sums["dispatches"] += len(audit.dispatches.agent)
        self._sums["unpermitted"] += record.unpermitted
        for code, count in zip(*np.unique(audit.refusals.reason, return_counts=True), strict=True):
            self._refusals[Reason(code).name.lower()] += int(count)
        for found in (audit.offer_violations, audit.dispatch_violations):
            for rule, count in {} if found is None else found.count().items():
                self._violations[rule] += count

    def metrics(self) -> dict[str, Any]:
        """The figures of `TRUST_DEFINITIONS`."""
        sums, ticks, negotiates = self._sums, self._ticks, self._negotiates

        def share(name: str, whole: int) -> float | None:
            return sums[name] / whole if negotiates and whole else None

        return {
            "contracts": sums["contracts"] if self._signed else None,
            "dispatches": sums["dispatches"] if self._signed else None,
            "refusals_by_reason": dict(sorted(self._refusals.items())) if self._signed else None,
            "violations_by_rule": (
                {rule: count for rule, count in sorted(self._violations.items()) if count}
                if self._signed
                else None
            ),
            "unpermitted_dispatches": sums["unpermitted"] if self._signed else None,
            "negotiation_rounds": share("rounds", ticks),
            "consensus_share": share("consensus", ticks),
            "agreed_share": share("answered", ticks * self._agents),
        }
