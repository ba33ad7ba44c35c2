"""A shard: a contiguous run of agents of one kind, stepped as arrays. A plain class, no Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from swarm.agents.effects import Clock, Effect, Nature
from swarm.agents.forecaster import Forecaster, Method, of_agents, published, sizes_mw
from swarm.agents.gate import Gate, gate_of
from swarm.agents.kinds import KINDS
from swarm.agents.policy import (
    Learned,
    Learning,
    Policy,
    Settled,
    checked_action,
    keeps,
    load_policy,
    of_rows,
)
from swarm.agents.reserve import to_offers, with_reserve
from swarm.agents.sent import Sent, no_orders
from swarm.agents.view import NOTHING_SOLD, Interval, View
from swarm.errors import RunError
from swarm.market.orders import MILLI_PER_UNIT, to_milli
from swarm.messages import (
    NOTHING,
    Awarded,
    Float,
    Int,
    Meters,
    Offers,
    Orders,
    Response,
    Signal,
    StepReply,
)
from swarm.rng import uniforms
from swarm.scenario.roster import Roster
from swarm.trust.exchange import Awards
from swarm.trust.holder import Held, Holder, Signing
from swarm.trust.records import Dispatches, Violations

if TYPE_CHECKING:
    from swarm.agents.experience import Experience
    from swarm.scenario.negotiation import Negotiation
    from swarm.scenario.policies import Policies


@dataclass(frozen=True)
class ShardSpec:
    """All a shard is made from; it travels to where the shard will live.

    Attributes:
        roster: its agents.
        seed: the run's seed.
        clock: simulated time.
        policy: name for `load_policy`.
        series: actual value of each series it needs, role -> float64 (ticks or more, columns).
        columns: role -> column of each agent, int64 (n,).
        forecast: method of the agents' forecasters.
        effects: events that hit this run.
        physical: the scenario has a grid: headroom and sudden changes are metered.
        nominal_hz: nominal frequency.
        full_containment_hz: deviation from it at which containment reserve is fully active.
        responds: False: flexible kinds have no headroom and offer no reserve.
        policies: fleet -> what its agents are held to; fleets without policies are not in it.
        signing: how contracts are signed; None: no contracts, awards are acted on as they come.
        negotiation: rules by which prices are negotiated; None: orders carry their prices.
        shadow_policy: what flexible kinds would follow; None: not in shadow mode.
        learned: what learned policies act with; None: they are not these agents'.
        first_row: of the kind's agents in the run, how many come before this shard's.
    """

    roster: Roster
    seed: int
    clock: Clock
    policy: str
    series: dict[str, Float]
    columns: dict[str, Int]
    forecast: Method
    effects: tuple[Effect, ...]
    physical: bool = False
    nominal_hz: float = 50.0
    full_containment_hz: float = 0.2
    responds: bool = True
    policies: Mapping[str, Policies] = field(default_factory=dict)
    signing: Signing | None = None
    negotiation: Negotiation | None = None
    shadow_policy: str | None = None
    learned: Learned | None = None
    first_row: int = 0


@dataclass(frozen=True)
class Acted:
    """What a shard did about contracts and policies in one step; None: nothing.

    Attributes:
        offer_violations: of the offers it just made.
        held: its contracts of the interval before; the rest is of that interval too.
        dispatch_violations: what policies took from contracts.
        dispatches: who acted.
    """

    offer_violations: Violations | None = None
    held: Held | None = None
    dispatch_violations: Violations | None = None
    dispatches: Dispatches | None = None


_STATE = (
    *("state", "sent", "shadow", "acted", "holder", "_gate", "_forecaster", "_next_tick"),
    *("_signal", "_carbon_before", "_costs", "_accepted_w", "_forecast_w"),
)


class Shard:
    """Steps its agents. One call a tick; calls must come in order of ticks.

    Attributes:
        sent: the offers of the last step.
        shadow: what would have been offered in shadow mode; None in others.
        acted: what the last step did about contracts and policies.
        holder: the agents' keys and contracts; None where nothing is signed.
        nature: the world as it meets the agents.
    """

    @property
    def STATE(self) -> tuple[str, ...]:
        """See `swarm.snapshot`."""
        kept = [name for name in ("policy", "_shadow_policy") if keeps(getattr(self, name))]
        return (*_STATE, *kept)

    def __init__(self, spec: ShardSpec) -> None:
        roster = spec.roster
        self.spec = spec
        self.kind = KINDS[roster.kind]
        self.parameters = self.kind.build(roster)
        self.state = self.kind.start(self.parameters)
        self.policy = self._policy(spec.policy)
        self.agents = np.arange(roster.first, roster.first + len(roster))
        self.sent = Sent.nothing(len(self.agents), len(self.kind.SIDES))
        self.shadow = None if spec.shadow_policy is None else self.sent
        self.acted = Acted()
        self.holder: Holder | None = None
        if spec.signing is not None:
            self.holder = Holder(spec.signing, roster.first, roster.ids)
        self._gate: Gate | None = gate_of(
            self.kind, self.parameters, roster, spec.policies, spec.clock.tick_minutes
        )
        self._shadow_policy: Policy | None = None
        if spec.shadow_policy is not None and self.kind.FLEXIBLE:
            self._shadow_policy = self._policy(spec.shadow_policy)
        self.nature = Nature(self.agents, roster.kind, spec.effects, spec.series, spec.columns)
        self._forecaster = Forecaster(spec.forecast, len(roster), spec.clock.tick_hours)
        self._sizes_mw = sizes_mw(roster)
        self._sides = np.array(self.kind.SIDES, dtype=np.int8)
        self._next_tick = 0
        self._signal: Signal | None = None
        self._carbon_before = 0.0
        # Of the interval before the last one delivered, and of the last one.
        self._costs = [NOTHING, NOTHING]
        self._accepted_w = NOTHING_SOLD
        self._forecast_w = NOTHING, NOTHING
        self._responds = spec.responds or not self.kind.FLEXIBLE

    def step(
        self,
        signal: Signal,
        accepted_w: Int,
        received_micro: Int,
        reserve_w: Int = NOTHING,
        response: Response | None = None,
        *,
        awards: Awards | None = None,
        shadow: Awarded | None = None,
    ) -> StepReply:
        """Run interval `signal.tick - 1` on what was accepted, then offer for `signal.tick`.

        What the operator drew in the interval before that is made good first; its cost and
        emissions are booked on the interval that is run, one tick late. Those of the last interval
        of a run are not booked.

        Args:
            signal: what everybody sees.
            accepted_w: int64 (orders sent last tick,), in the order in which they were sent.
            received_micro: int64 (n,), settlement of tick - 2, or empty.
            reserve_w: int64 (reserve offers sent last tick,), what was sold of each.
            response: what the operator drew from the n agents in interval tick - 2, or None.
            awards: the host's contracts; None where nothing is signed, or at the first tick.
            shadow: what the shadow offers would have got.

        Raises:
            RunError: where a tick is skipped or repeated, or the policy's action is not finite
                numbers in the kind's shape.
        """
        if signal.tick != self._next_tick:
            raise RunError(
                f"shard {self.spec.roster.kind}@{self.spec.roster.first} expected tick "
                f"{self._next_tick}, got {signal.tick}"
            )
        self._next_tick += 1
        drawn, spec = None, self.spec
        if response is not None:
            hours, carbon = spec.clock.tick_hours, self._carbon_before
            drawn = self.kind.respond(self.parameters, self.state, response, hours, carbon)
        meters, self.acted = None, Acted()
        if self._signal is not None and self._signal.accepting:
            given = Awarded(accepted_w, reserve_w)
            meters = self._deliver(signal.tick - 1, given, self._signal, awards, shadow)
            if drawn is not None:
                cost, emissions = meters.cost_micro + drawn[0], meters.emissions_g + drawn[1]
                meters = replace(meters, cost_micro=cost, emissions_g=emissions)
            self._carbon_before = self._signal.carbon_price_per_tonne
            self._costs = [self._costs[1], meters.cost_micro]
        if len(received_micro):
            cost_micro = self._costs[0] if meters is not None else self._costs[1]
            settled = Settled(signal.tick - 2, received_micro, cost_micro, signal.frequency_hz)
            for policy in (self.policy, self._shadow_policy):
                if policy is not None:
                    policy.settle(settled)
        self._signal = signal
        if not signal.accepting:
            self.sent = Sent.nothing(len(self.agents), len(self.kind.SIDES))
            return StepReply(signal.tick, no_orders(), meters)
        orders, planned = self._offer(signal)
        return StepReply(
            signal.tick,
            orders,
            meters,
            self.sent.reserve,
            shadow=planned,
            forecast_w=tuple(self._published.expected_w.tolist()),
            forecast_error_w=tuple(self._published.error_w.tolist()),
        )

    def _offer(self, signal: Signal) -> tuple[Orders, Offers | None]:
        """What is offered for the tick, and in shadow mode what the swarm would offer."""
        clock, tick, spec = self.spec.clock, signal.tick, self.spec
        # Who failed in the interval just metered knows that it stands.
        standing = self.nature.hit("maintenance", tick) | self.nature.hit("outage", tick - 1)
        view = View(
            signal=signal,
            tick_hours=clock.tick_hours,
            hour_of_day=clock.hour_of_day(tick),
            forecast=self._forecaster.expect(self.nature.values(tick)),
            standing=standing,
            uniforms=self._uniforms("policy", tick),
            full_containment_pu=spec.full_containment_hz / spec.nominal_hz,
            accepted_w=self._accepted_w,
        )
        forecast = view.forecast, self._forecaster.error(), self._sizes_mw, standing
        self._published = published(spec.roster.kind, *forecast)
        self._forecast_w = of_agents(spec.roster.kind, *forecast)
        orders, self.sent = self._orders(self.policy, view, self._responds)
        if self.shadow is None:
            return orders, None
        if self._shadow_policy is None:
            self.shadow, planned = self.sent, orders
        else:
            planned, self.shadow = self._orders(self._shadow_policy, view, True)
        return orders, Offers(planned, self.shadow.reserve)

    def _orders(self, policy: Policy, view: View, responds: bool) -> tuple[Orders, Sent]:
        """trader | policies: what a policy wants, as far as the agents' rules let it."""
        signal = view.signal
        action = checked_action(
            policy, policy.act(self.state, view), self.kind.ACTION, self.spec.roster, signal.tick
        )
        price, quantity = self.kind.offer(self.parameters, self.state, view, action)
        price = np.clip(price, signal.price_floor, signal.price_cap)
        quantity, price_milli = np.maximum(quantity, 0), to_milli(price)
        hour, asked = view.hour_of_day, quantity
        if self._gate is not None:
            price_milli, quantity, violations = self._gate.offers(
                self.state, signal.tick, hour, price_milli, asked
            )
            self.acted = replace(self.acted, offer_violations=violations)
            price = price_milli / MILLI_PER_UNIT
        reserve = None
        if responds and any(signal.reserve_w):
            shape = self.kind.reserve(self.parameters, self.state, view, price, quantity)
            if shape is not None and self._gate is not None:
                shape = self._gate.reserve(self.state, signal.tick, hour, quantity, shape)
            reserve = None if shape is None else to_offers(shape, view, self.agents)
        row, slot = np.nonzero(quantity)
        orders = Orders(
            self._sides[slot], price_milli[row, slot], quantity[row, slot], self.agents[row]
        )
        return orders, Sent(price_milli, asked, quantity, reserve)

    def _deliver(
        self,
        tick: int,
        given: Awarded,
        signal: Signal,
        awards: Awards | None,
        shadow: Awarded | None,
    ) -> Meters:
        first, hour = self.spec.roster.first, self.spec.clock.hour_of_day(tick)
        accepted, sold, held = self.sent.accepted(given.accepted_w), given.reserve_w, None
        if awards is not None and self.shadow is not None and shadow is not None:
            # The passive schedule goes on as it would without the swarm; nothing else moves.
            held = self._check(tick, awards, self.shadow, shadow)
        elif awards is not None:
            held = self._check(tick, awards, self.sent, given)
            # Without a valid contract a device falls to rest: nothing of its orders counts.
            accepted = np.where(held.permitted[:, None], accepted, 0)
            if self.sent.reserve is not None:
                sold = np.where(held.permitted[self.sent.reserve.agent - first], sold, 0)
        violations = dispatches = None
        if self._gate is not None:
            accepted, violations = self._gate.dispatch(self.state, tick, hour, accepted)
        if held is not None:
            acting = np.flatnonzero(held.permitted)
            power_w = (accepted * self._sides).sum(axis=1)[acting]
            dispatches = Dispatches(tick, self.agents[acting], power_w)
        self.acted = Acted(None, held, violations, dispatches)
        reserved = self.sent.sold(sold, first).sum(axis=1) > 0
        actual = self.nature.values(tick)
        self._forecaster.learn(actual)
        self._accepted_w = accepted
        interval = Interval(
            tick=tick,
            tick_hours=self.spec.clock.tick_hours,
            hour_of_day=hour,
            actual=actual,
            accepted_w=accepted,
            offered_w=self.sent.asked_w,
            failed=self.nature.hit("outage", tick) | self.nature.hit("maintenance", tick),
            carbon_price_per_tonne=signal.carbon_price_per_tonne,
            uniforms=self._uniforms("nature", tick),
            physical=self.spec.physical,
            reserved=reserved,
            struck=self.nature.struck(tick) if self.spec.physical else None,
            load_jump=self.nature.load_jump(tick) if self.spec.physical else None,
        )
        meters = self.kind.deliver(self.parameters, self.state, interval)
        forecast_w, error_w = self._forecast_w
        meters = replace(meters, forecast_w=forecast_w, forecast_error_w=error_w)
        if not self._responds:
            nothing = np.zeros(len(self.agents), dtype=np.int64)
            meters = replace(meters, up_w=nothing, down_w=nothing)
        if self.sent.reserve is not None and self.spec.physical:
            meters = with_reserve(meters, self.sent.reserve, sold, first)
        return meters

    def _check(self, tick: int, awards: Awards, sent: Sent, given: Awarded) -> Held:
        """What came of the contracts for `tick` on what was sent."""
        assert self.holder is not None
        first = self.spec.roster.first
        return self.holder.check(
            tick,
            awards,
            (sent.accepted(given.accepted_w) * self._sides).sum(axis=1),
            sent.sold(given.reserve_w, first),
            sent.limits_w(self._sides, first),
        )

    @property
    def learns(self) -> bool:
        """Whether its policy does."""
        return self.spec.learned is not None and hasattr(self.policy, "take")

    def take(self, learned: Learned) -> None:
        """Act with this from now on: rows of all agents of the kind in the run."""
        start = self.spec.first_row
        cast(Learning, self.policy).take(of_rows(learned, start, start + len(self.agents)))

    def experience(self) -> dict[str, Experience]:
        """See `Learning.experience`, with the agents' global indices."""
        found = cast(Learning, self.policy).experience()
        return {name: replace(part, agent=self.agents) for name, part in found.items()}

    def _policy(self, name: str) -> Policy:
        policy = load_policy(name)(self.kind, self.parameters)
        if self.spec.learned is not None and hasattr(policy, "take"):
            cast(Learning, policy).take(self.spec.learned)
        return policy

    def _uniforms(self, stream: str, tick: int) -> Float:
        return uniforms(self.spec.seed, stream, tick, int(self.agents[0]), len(self.agents))
