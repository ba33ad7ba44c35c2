"""The mechanism `negotiated`: prices are called until supply and demand agree.

The operator calls a price and hears only sums: supply grows and demand falls with the price, so
excess demand is monotone and its zero can be bracketed and bisected (Press et al., Numerical
Recipes, 3rd ed. 2007, section 9.1). Calling prices on which agents answer with quantities is
tatonnement; with agents on computers: Cheng and Wellman, The WALRAS algorithm, Computational
Economics 12, 1998; for electric loads: Ygge and Akkermans, Power load management as a
computational market, ICMAS 1996.

On the market's integer grid the search is exact. The price wanted is the smallest p with

    S(<= p) >= D(> p),

the one that `swarm.market.clearing.clear` finds in a book of the same curves. D(> cap) is zero, so
there always is one. One answer tells this of p and, as S(<= p - 1) = S(< p) and
D(> p - 1) = D(>= p), of p - 1 too: where it holds at p and not at p - 1, the search is over.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from swarm.market.clearing import Clearing, Status
from swarm.market.curves import Awards, Quantities, Sums
from swarm.market.exact import share_pro_rata
from swarm.market.orders import BUY, SELL, Int, OrderBook, to_milli
from swarm.rng import uniforms

if TYPE_CHECKING:
    from swarm.scenario.negotiation import Negotiation

STREAM = "negotiation"
"""Stream of the draws of lost and late answers."""


class Call(msgspec.Struct, array_like=True, frozen=True):
    """A price called to every host."""

    tick: int
    price_milli: int
    """Milli-currency per MWh."""
    round: int
    """From 1."""
    final: bool = False
    """The price stands: what is answered to it is shared out."""
    reserve_w: np.ndarray | None = None
    """int64 (reserve offers sent,), what was bought of each; in the first round only."""


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """One host's answer to a call."""

    tick: int
    round: int
    sums: Sums
    quantities: Quantities | None = None
    """Of each agent, to the final call only."""
    signature: bytes = b""
    """On the quantities, by the key of the host's first agent; see `signed_data`."""

    def signed_data(self, first: int) -> bytes:
        """The bytes that are signed; `first` is the global index of the host's first agent."""
        columns = () if self.quantities is None else msgspec.structs.astuple(self.quantities)
        head = struct.pack("<qqq", self.tick, self.round, first)
        return head + b"".join(column.tobytes() for column in columns)


@dataclass(frozen=True)
class Negotiated:
    """How a negotiation ended.

    Attributes:
        price: to be called as final, milli-currency per MWh.
        rounds: calls in all, the final one included. The same agents answer all calls of a tick, so
            the answers of agents are this times the `answered` of one call.
        consensus: the price is the one wanted; else time or rounds ran out.
        called: the prices called before the final one.
    """

    price: int
    rounds: int
    consensus: bool
    called: tuple[int, ...]


@dataclass(frozen=True)
class Agreement:
    """What was agreed on: the answers as a book at the final price, and what is accepted of them.

    Attributes:
        book: a sell and a buy row for each agent that wants either, by rising agent.
        clearing: of the book. The operator never learns limit prices, so `welfare` is 0.
        awards: the accepted watts of each agent.
    """

    book: OrderBook
    clearing: Clearing
    awards: Awards


def negotiate(
    ask: Callable[[int], Sums], *, start_price: int, floor: int, cap: int, rules: Negotiation
) -> Negotiated:
    """Call prices until the one wanted is found, or rounds or simulated time run out.

    From `start_price` the steps double until the price wanted lies between two called ones, then
    the interval is halved. Where it is not found in time, the called price at which least firm
    watts find no counterpart stands, among equals the latest. It ends whatever is answered.

    Args:
        ask: the sums of all who take part, the connection outside included, at a price.
        start_price: called first, moved between floor and cap; the last tick's price, say.
        floor: least price, milli-currency per MWh, as the other two.
        cap: highest price.
        rules: limits.

    Raises:
        ValueError: where the floor is above the cap.
    """
    if floor > cap:
        raise ValueError(f"floor {floor} is above cap {cap}")
    # Supply covers demand at `high`, and does not at `low`; both are bounds until one is called.
    low, high = floor - 1, cap
    price = min(max(start_price, floor), cap)
    step = max(1, int(to_milli(rules.first_step_per_mwh)))
    heard: list[tuple[int, Sums]] = []
    allowed = rules.max_rounds
    while high - low > 1 and len(heard) + 1 < allowed:
        sums = ask(price)
        heard.append((price, sums))
        if sums.slowest_ms:
            allowed = min(allowed, rules.budget_ms // sums.slowest_ms)
        if sums.supply_w < sums.firm_demand_w:
            low = price
        elif sums.firm_supply_w >= sums.demand_w and price - 1 > low:
            high = price - 1
        else:
            low, high = price - 1, price
        price = middle = (low + high) // 2
        if high == cap:
            price = min(low + step, middle)
        elif low == floor - 1:
            price = max(high - step, middle)
        step *= 2
    called = tuple(price for price, _ in heard)
    if high - low == 1:
        return Negotiated(high, len(heard) + 1, True, called)
    best, _ = min(reversed(heard), key=lambda pair: pair[1].residual_w)
    return Negotiated(best, len(heard) + 1, False, called)


def share(parts: Sequence[Quantities], price: int, dearer_supply_w: int) -> Agreement:
    """Share out what was answered to the final price.

    The short side trades in full. On the long side firm quantities come first; indifferent ones
    share what is left pro rata by agent (largest remainder, then lowest index), as in `clear`.
    Without consensus the firm quantities of the long side may be too many: they share pro rata.

    Args:
        parts: answers to the final call: one table of each host, one of the connection outside.
        price: the final price, milli-currency per MWh.
        dearer_supply_w: see `Sums`; where there is none, bids left over at the price are scarcity.

    Raises:
        ValueError: where two rows are of one agent, or a quantity is negative or out of range.
    """
    agent: Int = np.concatenate([part.agent for part in parts])
    # Whatever the packing.
    order = np.argsort(agent, kind="stable")
    agent = agent[order]
    twice = np.flatnonzero(np.diff(agent) == 0)
    if len(twice):
        raise ValueError(f"agent {agent[twice[0]]} answered twice to the final price {price}")
    names = Quantities.__struct_fields__[1:]
    columns = {name: np.concatenate([getattr(p, name) for p in parts])[order] for name in names}
    for name, column in columns.items():
        if np.any(column < 0):
            row = int(np.flatnonzero(column < 0)[0])
            raise ValueError(
                f"agent {agent[row]} answered {name} = {column[row]} to {price}, "
                "expected zero or more"
            )
    firm_supply, indifferent_supply, firm_demand, indifferent_demand = columns.values()
    supply, demand = firm_supply + indifferent_supply, firm_demand + indifferent_demand
    book = _book(agent, supply, demand, price)
    volume = min(int(supply.sum()), int(demand.sum()))
    awards = Awards(
        agent,
        _shares(firm_supply, indifferent_supply, agent, volume),
        _shares(firm_demand, indifferent_demand, agent, volume),
    )
    status: Status = "cleared"
    if volume == 0:
        status = "no_trade"
    elif int(supply.sum()) == volume < int(demand.sum()) and dearer_supply_w == 0:
        status = "scarcity"
    accepted = _interleaved(awards.supply_w, awards.demand_w)[_interleaved(supply, demand) != 0]
    pay = np.broadcast_to(np.int64(price if volume else 0), len(book))
    return Agreement(
        book, Clearing(price if volume else None, accepted, volume, status, 0, pay), awards
    )


def present(
    rules: Negotiation, seed: int, tick: int, first: int, count: int
) -> tuple[NDArray[np.bool_], Int]:
    """Who takes part in a tick, and how long each agent takes to answer.

    Answer times are exponential (inverse transform), in whole milliseconds. Who is lost or takes
    longer than the limit has no part in any round of the tick. Draws are of (seed, tick, agent).

    Args:
        rules: mean and limit of answer times, share of lost answers.
        seed: the run's.
        tick: zero or more.
        first: global index of the first agent.
        count: number of agents.

    Returns:
        bool (count,), and int64 (count,) in ms.
    """
    drawn = uniforms(seed, STREAM, tick, first, count)
    mean_ms = rules.answer_seconds * 1_000
    answer_ms: Int = np.rint(-np.log1p(-drawn[:, 1]) * mean_ms).astype(np.int64)
    return (drawn[:, 0] >= rules.lost_share) & (answer_ms <= rules.answer_limit_ms), answer_ms


def _book(agent: Int, supply: Int, demand: Int, price: int) -> OrderBook:
    quantity = _interleaved(supply, demand)
    wanted = quantity != 0
    side = np.tile(np.array([SELL, BUY], dtype=np.int8), len(agent))
    return OrderBook(
        side[wanted],
        np.full(int(wanted.sum()), price, dtype=np.int64),
        quantity[wanted],
        np.repeat(agent, 2)[wanted],
    )


def _interleaved(supply: Int, demand: Int) -> Int:
    """Supply and demand of each agent one after the other, (2 n,)."""
    return np.stack([supply, demand], axis=1).reshape(-1)


def _shares(firm: Int, indifferent: Int, agent: Int, volume: int) -> Int:
    """What each agent trades of one side's `volume`, firm quantities first, int64 (n,)."""
    total = int(firm.sum())
    if volume < total:
        return share_pro_rata(firm, agent, volume)
    return firm + share_pro_rata(indifferent, agent, volume - total)
