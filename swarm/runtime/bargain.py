"""The rounds of a negotiation, whatever carries the calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from swarm.market.auction import MarketSpec
from swarm.market.curves import Sums, total
from swarm.market.negotiation import Answer, Call, negotiate
from swarm.market.orders import Int, to_milli
from swarm.market.record import Agreed

Carrier = Callable[[Sequence[Call]], Sequence[Answer]]
"""Takes a call for each host and waits for all of their answers."""


class Bargain:
    """Calls prices until the hosts agree, or rounds or simulated time run out.

    Attributes:
        seconds: wall-clock time of each round trip so far, over all ticks.
        answers: of agents so far.
    """

    STATE = ("answers", "_last")
    """See `swarm.snapshot`."""

    def __init__(self, spec: MarketSpec, carry: Carrier) -> None:
        self.seconds: list[float] = []
        self.answers = 0
        self._spec, self._carry = spec, carry
        self._last: int | None = None

    @property
    def wanted(self) -> bool:
        """Whether the market negotiates at all."""
        return self._spec.negotiation is not None

    def run(
        self, tick: int, connected: bool, bought_w: Sequence[Int]
    ) -> tuple[Agreed, Sequence[Answer]]:
        """Negotiate the price of `tick`.

        Args:
            tick: which one.
            connected: the connection outside takes part.
            bought_w: reserve bought of the offers of each host.

        Returns:
            How it ended, and every host's answer to the final price.
        """
        spec, rules = self._spec, self._spec.negotiation
        assert rules is not None
        floor, cap = int(to_milli(spec.price_floor)), int(to_milli(spec.price_cap[tick]))
        outside = spec.outside_curves(tick, connected)
        asked = 0

        def ask(price: int, final: bool = False) -> Sequence[Answer]:
            nonlocal asked
            asked += 1
            reserve = bought_w if asked == 1 else [None] * len(bought_w)
            begin = time.perf_counter()
            answers = self._carry([Call(tick, price, asked, final, of) for of in reserve])
            self.seconds.append(time.perf_counter() - begin)
            self.answers += sum(answer.sums.answered for answer in answers)
            return answers

        def sums(price: int) -> Sums:
            return total([*(answer.sums for answer in ask(price)), outside.sums(price)])

        start = self._last if self._last is not None else int(to_milli(_guess(spec, tick)))
        found = negotiate(sums, start_price=start, floor=floor, cap=cap, rules=rules)
        answers = ask(found.price, final=True)
        told = total([*(answer.sums for answer in answers), outside.sums(found.price)])
        self._last = found.price
        agreed = Agreed(
            found.price, found.rounds, found.consensus, told.answered, told.dearer_supply_w
        )
        return agreed, answers


def _guess(spec: MarketSpec, tick: int) -> float:
    """The price called first in a run: that outside, or zero on an island, per MWh."""
    outside = spec.outside
    return float(outside.price_per_mwh[tick]) if any(outside.limits_w) else 0.0
