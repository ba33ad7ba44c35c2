"""A host: the shards that live in one process. The plain class that a Ray actor wraps."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from swarm.agents.policy import Learned
from swarm.agents.sent import Sent, no_orders
from swarm.agents.shard import Acted, Shard, ShardSpec
from swarm.errors import RunError
from swarm.market.curves import Awards as Shares
from swarm.market.curves import Curves
from swarm.market.negotiation import Answer, Call, present
from swarm.messages import (
    NOTHING,
    Acknowledgement,
    Alert,
    Awarded,
    Int,
    Notice,
    Offers,
    Orders,
    ReserveOffers,
    Response,
    Signal,
    StepReply,
    concatenate,
    decode,
    encode,
    sum_columns,
)
from swarm.trust.exchange import Awards, Report, joined, offers_data
from swarm.trust.keys import Purpose, sign

if TYPE_CHECKING:
    from swarm.agents.experience import Experience
    from swarm.scenario.negotiation import Negotiation


class Host:
    """Steps its shards. One call a tick; calls must come in order of ticks."""

    STATE = ("shards", "_tick", "_withheld", "_curves", "_alerts")
    """See `swarm.snapshot`."""

    def __init__(self, specs: Sequence[ShardSpec]) -> None:
        self.shards = [Shard(spec) for spec in specs]
        self.rules = specs[0].negotiation
        self._tick = -1
        self._withheld: Orders | None = None
        self._curves: Curves | None = None
        self._alerts: list[Alert] = []
        self._lock = threading.Lock()

    def alert(self, alert: Alert) -> Acknowledgement:
        """Take an emergency call; it stands from the first step of its tick on.

        May be called from another thread while a step runs.
        """
        with self._lock:
            self._alerts.append(alert)
        return Acknowledgement(alert.tick, sum(len(shard.agents) for shard in self.shards))

    def step(self, signal: Signal, notice: Notice | None) -> StepReply:
        """Step every shard; offers and meters are concatenated in shard order.

        Raises:
            RunError: where the signal says of the emergency what no alert has said.
        """
        self._check_emergency(signal)
        self._tick = signal.tick
        awards = decode(notice.awards, Awards) if notice is not None and notice.awards else None
        accepted = NOTHING if notice is None else notice.accepted_w
        if notice is not None and notice.traded is not None and self._curves is not None:
            told = notice.traded
            shares = Shares(told.agent, told.supply_w, told.demand_w)
            accepted = self._curves.fill(told.price_milli, shares)
        replies = []
        real, shadow = _Rows(), _Rows()
        agent_at = 0
        for shard in self.shards:
            agents = len(shard.agents)
            received, response, given = NOTHING, None, Awarded(NOTHING, NOTHING)
            of_shadow: Awarded | None = None
            if notice is not None:
                given = real.of(shard.sent, accepted, notice.reserve_w)
                received = notice.received_micro[agent_at : agent_at + agents]
                response = _rows(notice.response, agent_at, agent_at + agents)
                if notice.shadow is not None:
                    planned = notice.shadow
                    of_shadow = shadow.of(shard.shadow, planned.accepted_w, planned.reserve_w)
            agent_at += agents
            replies.append(
                shard.step(
                    signal,
                    given.accepted_w,
                    received,
                    given.reserve_w,
                    response,
                    awards=awards,
                    shadow=of_shadow,
                )
            )
        meters = [reply.meters for reply in replies if reply.meters is not None]
        orders = concatenate([reply.orders for reply in replies])
        reserve = _joined([reply.reserve for reply in replies])
        if self.rules is not None:
            # Whoever negotiates keeps its limit prices to itself.
            self._withheld, orders = orders, no_orders()
        shadows = [reply.shadow for reply in replies if reply.shadow is not None]
        swarm = None
        if shadows:
            swarm = Offers(
                concatenate([offers.orders for offers in shadows]),
                _joined([offers.reserve for offers in shadows]),
            )
        return StepReply(
            signal.tick,
            orders,
            concatenate(meters) if meters else None,
            reserve,
            self._report(signal.tick, Offers(orders, reserve), swarm),
            swarm,
            sum_columns([reply.forecast_w for reply in replies]),
            sum_columns([reply.forecast_error_w for reply in replies]),
        )

    def answer(self, call: Call) -> Answer:
        """What the agents answer to a called price, each along its own supply and demand.

        Raises:
            RunError: where the call is for another tick than the last step, or none is expected.
        """
        rules = self.rules
        if rules is None or self._withheld is None or call.tick != self._tick:
            raise RunError(f"a price was called for tick {call.tick}, at tick {self._tick}")
        if call.reserve_w is not None:
            self._curves = self._open(call.tick, call.reserve_w, rules)
        assert self._curves is not None
        sums = self._curves.sums(call.price_milli)
        if not call.final:
            return Answer(call.tick, call.round, sums)
        quantities = self._curves.quantities(call.price_milli)
        answer = Answer(call.tick, call.round, sums, quantities)
        holder = self.shards[0].holder
        if holder is None:
            return answer
        data = answer.signed_data(int(self.shards[0].agents[0]))
        return msgspec.structs.replace(answer, signature=sign(holder.key, Purpose.OFFERS, data))

    def experience(self) -> dict[str, Mapping[str, Experience]]:
        """What the agents of each kind that learns lived through since the last call."""
        found = {s.spec.roster.kind: s.experience() for s in self.shards if s.learns}
        return {kind: parts for kind, parts in found.items() if parts}

    def take(self, learned: Mapping[str, Learned]) -> None:
        """Act with this from now on: of each kind, rows of all its agents in the run."""
        for shard in self.shards:
            if shard.learns:
                shard.take(learned[shard.spec.roster.kind])

    def _open(self, tick: int, reserve_w: Int, rules: Negotiation) -> Curves:
        """The curves of a tick: what reserve leaves of the orders of those who take part."""
        assert self._withheld is not None
        orders, rows = self._withheld, _Rows()
        quantity: list[Int] = []
        takes_part: list[np.ndarray] = []
        answered = slowest = 0
        for shard in self.shards:
            spec, n = shard.spec, len(shard.agents)
            here, answer_ms = present(rules, spec.seed, tick, spec.roster.first, n)
            given = rows.of(shard.sent, orders.quantity, reserve_w)
            left = shard.sent.less_reserve(given.reserve_w, shard.kind.SIDES, spec.roster.first)
            quantity.append(left)
            takes_part.append(here[np.nonzero(shard.sent.offered_w)[0]])
            answered += int(here.sum())
            slowest = max(slowest, int(answer_ms[here].max(initial=0)))
        return Curves(
            replace(orders, quantity=np.concatenate(quantity)),
            np.concatenate(takes_part),
            answered,
            slowest,
        )

    def _report(self, tick: int, offers: Offers, shadow: Offers | None) -> bytes:
        """The signed report on a step; empty where nothing is signed."""
        holder = self.shards[0].holder
        if holder is None:
            return b""
        first = int(self.shards[0].agents[0])
        extra = b""
        if shadow is not None:
            extra = offers_data(tick, first, shadow.orders, shadow.reserve)
        data = offers_data(tick, first, offers.orders, offers.reserve, extra)
        acted: list[Acted] = [shard.acted for shard in self.shards]
        held = [each.held for each in acted if each.held is not None]
        dispatches = [each.dispatches for each in acted if each.dispatches is not None]
        return encode(
            Report(
                sign(holder.key, Purpose.OFFERS, data),
                joined([each.offer_violations for each in acted]),
                joined([each.countersignatures for each in held]),
                joined([each.dispatch_violations for each in acted]),
                joined(dispatches),
                joined([each.refusals(tick - 1) for each in held]),
            )
        )

    def _check_emergency(self, signal: Signal) -> None:
        with self._lock:
            due = [alert for alert in self._alerts if alert.tick <= signal.tick]
            # Sorting is stable: the last word for the latest tick stands.
            due = sorted(due, key=lambda alert: alert.tick)[-1:]
            later = [alert for alert in self._alerts if alert.tick > signal.tick]
            self._alerts = due + later
        active = bool(due) and due[0].active
        if active != signal.emergency:
            raise RunError(
                f"tick {signal.tick}: the signal says emergency {signal.emergency}, the alerts of "
                f"this host say {active}; an alert was lost"
            )


class _Rows:
    """Cuts what the market says of a host's offers into the rows of its shards, in order."""

    def __init__(self) -> None:
        self._orders = self._reserve = 0

    def of(self, sent: Sent | None, accepted_w: np.ndarray, reserve_w: np.ndarray) -> Awarded:
        """The next rows, as many as were sent."""
        orders, reserve = (0, 0) if sent is None else sent.rows
        at, reserve_at = self._orders, self._reserve
        self._orders, self._reserve = at + orders, reserve_at + reserve
        return Awarded(accepted_w[at : self._orders], reserve_w[reserve_at : self._reserve])


def _joined(parts: Sequence[ReserveOffers | None]) -> ReserveOffers | None:
    given = [part for part in parts if part is not None]
    return concatenate(given) if given else None


def _rows(response: Response | None, start: int, stop: int) -> Response | None:
    """The response of agents `start` to `stop - 1` of a host."""
    if response is None:
        return None
    return Response(
        response.activated_w[start:stop],
        response.shed_w[start:stop],
        response.held_back_w[start:stop],
    )
