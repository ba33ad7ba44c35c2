"""What the market says of a tick: at once to everybody, and later for the results."""

from __future__ import annotations

import msgspec
import numpy as np

from swarm.market.reserve import NO_PRICES
from swarm.messages import NO_RESERVE, NOTHING, Meters, Orders, Response
from swarm.trust.exchange import TickAudit


class TickRecord(msgspec.Struct, array_like=True, frozen=True):
    """What one settled tick gave. Rows of agents are in global agent order."""

    tick: int
    price_milli: int | None
    status: str
    volume_w: int
    welfare_per_h: float
    supply_offered_w: int
    demand_bid_w: int
    orders: int
    outside_price_milli: int | None
    imported_w: int
    """Contracted with the connection outside, net; exports negative."""
    imbalance_price_milli: int
    operator_micro: int
    rounding_micro: int
    outside_micro: int
    contract_w: np.ndarray
    """int64 (n,), contracted net injection."""
    received_micro: np.ndarray
    """int64 (n,), paid out to the agent (negative: paid by it), imbalance and reserve included."""
    meters: Meters
    book: Orders | None
    """Every order, less what reserve took of it, and in `accepted_w` what was accepted of it; the
    last account is outside."""
    accepted_w: np.ndarray
    losses_w: int = 0
    """Lost on the feeder."""
    reserve_asked_w: tuple[int, ...] = NO_RESERVE
    """By product of `RESERVE_PRODUCTS`, as the next two."""
    reserve_bought_w: tuple[int, ...] = NO_RESERVE
    reserve_price_milli: tuple[int | None, ...] = NO_PRICES
    """Per MW and hour; None where nothing was bought."""
    availability_micro: int = 0
    """Paid to the agents for reserve held."""
    activation_micro: int = 0
    """Paid to the agents, net, for what the operator drew from them."""
    reserve_penalty_micro: int = 0
    """Paid by the agents for reserve sold and not held."""
    response: Response | None = None
    """What the operator drew from each agent; None: nothing."""
    reserve_received_micro: np.ndarray = NOTHING
    """int64 (n,), availability and activation less fines, part of `received_micro`; empty where no
    reserve was offered and nothing was drawn."""
    audit: TickAudit | None = None
    """What the audit log keeps of it; None: nothing is signed."""
    unpermitted: int = 0
    """Agents that moved without a contract."""
    agreed: Agreed | None = None
    """How the negotiation ended; None: there was none."""

    def told(self, cleared: Cleared) -> Cleared:
        """What is told of the next tick, with what this one came to."""
        if self.audit is None:
            return cleared
        found = [self.audit.offer_violations, self.audit.dispatch_violations]
        return msgspec.structs.replace(
            cleared,
            refused=len(self.audit.refusals.agent),
            violations=sum(len(rows.agent) for rows in found if rows is not None),
            unpermitted=self.unpermitted,
        )


class Agreed(msgspec.Struct, array_like=True, frozen=True):
    """How the negotiation for a tick ended; what was answered to the final price comes apart."""

    price_milli: int
    rounds: int
    consensus: bool
    answered: int
    """Agents that answered each call."""
    dearer_supply_w: int
    """See `swarm.market.curves.Sums`."""


class Cleared(msgspec.Struct, array_like=True, frozen=True):
    """What the market says of the tick it just cleared."""

    tick: int
    price_milli: int | None
    volume_w: int
    imported_w: int = 0
    """Contracted with the connection outside, net; exports negative."""
    reserve_asked_w: tuple[int, ...] = NO_RESERVE
    """By product of `RESERVE_PRODUCTS`, as the next two."""
    reserve_bought_w: tuple[int, ...] = NO_RESERVE
    reserve_price_milli: tuple[int | None, ...] = NO_PRICES
    contracts: int = 0
    """Sealed in this tick."""
    refused: int = 0
    """Contracts of the last tick that were not acted on."""
    violations: int = 0
    """Of policies, in the last tick."""
    unpermitted: int = 0
    """Agents that moved without a contract in the last tick."""
    rounds: int = 1
    """Of negotiation; an auction is one round."""
    consensus: bool = True
    """A price was found at which the market clears."""
    agreed: int = 0
    """Agents with a part in the outcome of this tick."""
    answers: int = 0
    """Answers of agents in all rounds of this tick."""
    trades: tuple[tuple[int, int], ...] = ()
    """Agent and net watts of the largest contracts of this tick."""
