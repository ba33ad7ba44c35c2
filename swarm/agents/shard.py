"""A shard: a contiguous run of agents of one kind, stepped as arrays. A plain class, no Ray."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from swarm.agents.kinds import KINDS
from swarm.agents.policy import load_policy
from swarm.agents.reserve import to_offers, with_reserve
from swarm.agents.view import Interval, View
from swarm.errors import RunError
from swarm.market.orders import MAX_PRICE_MILLI, to_milli
from swarm.messages import (
    NOTHING,
    Acknowledgement,
    Alert,
    Float,
    Int,
    Meters,
    Notice,
    Orders,
    ReserveOffers,
    Response,
    Signal,
    StepReply,
    concatenate,
)
from swarm.rng import uniforms
from swarm.scenario.roster import Roster


@dataclass(frozen=True)
class Effect:
    """One event on some agents: from tick `first` until before `stop`.

    Attributes:
        type: `outage`, `maintenance`, `load` or `sun`.
        agents: sorted global indices hit; None: all.
        factor: what load or sun is multiplied with.
    """

    type: str
    first: int
    stop: int
    agents: tuple[int, ...] | None = None
    factor: float = 1.0


@dataclass(frozen=True)
class Clock:
    """Simulated time: length of a tick and the local hour at which tick 0 starts."""

    tick_minutes: int
    start_hour: float

    @property
    def tick_hours(self) -> float:
        """Length of a tick in hours."""
        return self.tick_minutes / 60

    def hour_of_day(self, tick: int) -> float:
        """Local hour at the start of `tick`, 0..24."""
        return (round(self.start_hour * 60) + tick * self.tick_minutes) % 1440 / 60


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
        perfect_forecast: agents know the coming interval; else they expect the last one again.
        effects: events that hit this run.
        physical: the scenario has a grid: headroom and sudden changes are metered.
        nominal_hz: nominal frequency.
        full_containment_hz: deviation from it at which containment reserve is fully active.
        responds: False: flexible kinds have no headroom and offer no reserve.
    """

    roster: Roster
    seed: int
    clock: Clock
    policy: str
    series: dict[str, Float]
    columns: dict[str, Int]
    perfect_forecast: bool
    effects: tuple[Effect, ...]
    physical: bool = False
    nominal_hz: float = 50.0
    full_containment_hz: float = 0.2
    responds: bool = True


class Shard:
    """Steps its agents. One call a tick; calls must come in order of ticks."""

    def __init__(self, spec: ShardSpec) -> None:
        self.spec = spec
        self.kind = KINDS[spec.roster.kind]
        self.parameters = self.kind.build(spec.roster)
        self.state = self.kind.start(self.parameters)
        self.policy = load_policy(spec.policy)(self.kind, self.parameters)
        self.agents = np.arange(spec.roster.first, spec.roster.first + len(spec.roster))
        self._next_tick = 0
        self._signal: Signal | None = None
        self._carbon_before = 0.0
        self._offered = np.zeros((len(self.agents), len(self.kind.SIDES)), dtype=np.int64)
        self._reserve: ReserveOffers | None = None
        self._responds = spec.responds or not self.kind.FLEXIBLE

    def step(
        self,
        signal: Signal,
        accepted_w: Int,
        received_micro: Int,
        reserve_w: Int = NOTHING,
        response: Response | None = None,
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
        meters = None
        if self._signal is not None and self._signal.accepting:
            meters = self._deliver(signal.tick - 1, accepted_w, self._signal)
            if self._reserve is not None and spec.physical:
                meters = with_reserve(meters, self._reserve, reserve_w, spec.roster.first)
            if drawn is not None:
                cost, emissions = meters.cost_micro + drawn[0], meters.emissions_g + drawn[1]
                meters = replace(meters, cost_micro=cost, emissions_g=emissions)
            self._carbon_before = self._signal.carbon_price_per_tonne
        if len(received_micro):
            self.policy.settle(signal.tick - 2, received_micro)
        self._reserve = None
        orders = self._offer(signal) if signal.accepting else _no_orders()
        self._signal = signal
        return StepReply(signal.tick, orders, meters, self._reserve)

    def _offer(self, signal: Signal) -> Orders:
        clock, tick, spec = self.spec.clock, signal.tick, self.spec
        view = View(
            signal=signal,
            tick_hours=clock.tick_hours,
            hour_of_day=clock.hour_of_day(tick),
            forecast=self._series(tick if spec.perfect_forecast else max(0, tick - 1)),
            # Who failed in the interval just metered knows that it stands.
            standing=self._hit("maintenance", tick) | self._hit("outage", tick - 1),
            uniforms=self._uniforms("policy", tick),
            full_containment_pu=spec.full_containment_hz / spec.nominal_hz,
        )
        action = self._checked(self.policy.act(self.state, view), tick)
        price, quantity = self.kind.offer(self.parameters, self.state, view, action)
        price = np.clip(price, signal.price_floor, signal.price_cap)
        self._offered = np.maximum(quantity, 0)
        if self._responds and any(signal.reserve_w):
            shape = self.kind.reserve(self.parameters, self.state, view, price, self._offered)
            self._reserve = None if shape is None else to_offers(shape, view, self.agents)
        row, slot = np.nonzero(self._offered)
        side = np.array(self.kind.SIDES, dtype=np.int8)[slot]
        return Orders(side, to_milli(price[row, slot]), self._offered[row, slot], self.agents[row])

    def _deliver(self, tick: int, accepted_w: Int, signal: Signal) -> Meters:
        accepted = np.zeros_like(self._offered)
        accepted[np.nonzero(self._offered)] = accepted_w
        interval = Interval(
            tick=tick,
            tick_hours=self.spec.clock.tick_hours,
            hour_of_day=self.spec.clock.hour_of_day(tick),
            actual=self._series(tick),
            accepted_w=accepted,
            offered_w=self._offered,
            failed=self._hit("outage", tick) | self._hit("maintenance", tick),
            carbon_price_per_tonne=signal.carbon_price_per_tonne,
            uniforms=self._uniforms("nature", tick),
            physical=self.spec.physical,
            struck=self._struck(tick) if self.spec.physical else None,
            load_jump=self._load_jump(tick) if self.spec.physical else None,
        )
        meters = self.kind.deliver(self.parameters, self.state, interval)
        if self._responds:
            return meters
        nothing = np.zeros(len(self.agents), dtype=np.int64)
        return replace(meters, up_w=nothing, down_w=nothing)

    def _series(self, tick: int) -> dict[str, Float]:
        """Value of each series for each agent at `tick`, events included, (n,) each."""
        values = {
            role: series[tick, self.spec.columns[role]] for role, series in self.spec.series.items()
        }
        for effect in self._active(tick):
            role = {"load": "load", "sun": "availability"}.get(effect.type)
            if role in values and (role == "load" or self.spec.roster.kind in ("solar", "home")):
                values[role] = np.where(
                    self._members(effect), values[role] * effect.factor, values[role]
                )
        return values

    def _struck(self, tick: int) -> np.ndarray | None:
        """bool (n,): an outage begins at `tick`; None: none does."""
        if not any(e.type == "outage" and e.first == tick for e in self.spec.effects):
            return None
        struck: np.ndarray = self._hit("outage", tick) & ~self._hit("outage", tick - 1)
        return struck

    def _load_jump(self, tick: int) -> Float | None:
        """Part of the load series that load steps beginning or ending at `tick` make, (n,)."""
        steps = [e for e in self.spec.effects if e.type == "load"]
        if "load" not in self.spec.series or tick == 0:
            return None
        if not any(tick in (e.first, e.stop) for e in steps):
            return None
        before, now = np.ones(len(self.agents)), np.ones(len(self.agents))
        for effect in steps:
            factor = np.where(self._members(effect), effect.factor, 1.0)
            before *= factor if effect.first < tick <= effect.stop else 1.0
            now *= factor if effect.first <= tick < effect.stop else 1.0
        jump: Float = self.spec.series["load"][tick, self.spec.columns["load"]] * (now - before)
        return jump

    def _hit(self, type_: str, tick: int) -> np.ndarray:
        """bool (n,): an event of this type hits the agent at `tick`."""
        hit = np.zeros(len(self.agents), dtype=bool)
        for effect in self._active(tick):
            if effect.type == type_:
                hit |= self._members(effect)
        return hit

    def _active(self, tick: int) -> list[Effect]:
        return [effect for effect in self.spec.effects if effect.first <= tick < effect.stop]

    def _members(self, effect: Effect) -> np.ndarray:
        if effect.agents is None:
            return np.ones(len(self.agents), dtype=bool)
        return np.isin(self.agents, effect.agents)

    def _uniforms(self, stream: str, tick: int) -> Float:
        return uniforms(self.spec.seed, stream, tick, int(self.agents[0]), len(self.agents))

    def _checked(self, given: Any, tick: int) -> Float:
        """The action a policy gave, where it is one."""
        expected = (len(self.agents), len(self.kind.ACTION))
        try:
            action = np.asarray(given, dtype=np.float64)
            shape = f"of shape {action.shape}"
        except (TypeError, ValueError):
            action, shape = np.zeros(0), "that is not numbers"
        if action.shape != expected:
            raise RunError(
                f"policy {self.spec.policy!r} gave an action {shape} for {self.spec.roster.kind} "
                f"at tick {tick}, expected shape {expected} (agents, {self.kind.ACTION})"
            )
        limit = MAX_PRICE_MILLI / 1000
        bad = ~(np.abs(action) <= limit)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise RunError(
                f"policy {self.spec.policy!r} gave {self.kind.ACTION[column]} = "
                f"{action[row, column]} for agent {self.spec.roster.ids[row]!r} at tick {tick}; "
                "actions must be finite and within the market's price range"
            )
        return action


class Host:
    """The shards that live in one process; the plain class that a Ray actor wraps."""

    def __init__(self, specs: Sequence[ShardSpec]) -> None:
        self.shards = [Shard(spec) for spec in specs]
        self._sent = [(0, 0)] * len(self.shards)
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
        replies = []
        order_at = agent_at = reserve_at = 0
        for index, shard in enumerate(self.shards):
            (orders, offers), agents = self._sent[index], len(shard.agents)
            accepted = received = reserve = NOTHING
            response = None
            if notice is not None:
                accepted = notice.accepted_w[order_at : order_at + orders]
                received = notice.received_micro[agent_at : agent_at + agents]
                reserve = notice.reserve_w[reserve_at : reserve_at + offers]
                response = _rows(notice.response, agent_at, agent_at + agents)
            order_at, reserve_at = order_at + orders, reserve_at + offers
            agent_at += agents
            reply = shard.step(signal, accepted, received, reserve, response)
            sold = 0 if reply.reserve is None else len(reply.reserve.agent)
            self._sent[index] = len(reply.orders.side), sold
            replies.append(reply)
        meters = [reply.meters for reply in replies if reply.meters is not None]
        reserves = [reply.reserve for reply in replies if reply.reserve is not None]
        return StepReply(
            signal.tick,
            concatenate([reply.orders for reply in replies]),
            concatenate(meters) if meters else None,
            concatenate(reserves) if reserves else None,
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


def cut(spec: ShardSpec, start: int, stop: int) -> ShardSpec:
    """The part of a shard's spec with its agents `start` to `stop - 1`, counted in the shard."""
    roster = spec.roster
    part = Roster(
        roster.kind,
        roster.first + start,
        roster.ids[start:stop],
        roster.fleets[start:stop],
        roster.assets[start:stop],
    )
    series, columns = {}, {}
    for role, column in spec.columns.items():
        # Only the columns its agents use: what does not travel costs nothing.
        used, columns[role] = np.unique(column[start:stop], return_inverse=True)
        series[role] = np.ascontiguousarray(spec.series[role][:, used])
    return replace(spec, roster=part, series=series, columns=columns)


def _no_orders() -> Orders:
    none = np.zeros(0, dtype=np.int64)
    return Orders(none.astype(np.int8), none, none, none)


def _rows(response: Response | None, start: int, stop: int) -> Response | None:
    """The response of agents `start` to `stop - 1` of a host."""
    if response is None:
        return None
    return Response(
        response.activated_w[start:stop],
        response.shed_w[start:stop],
        response.held_back_w[start:stop],
    )
