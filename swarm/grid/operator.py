"""The grid operator: runs the grid through every interval, and makes the signal for the next.

It is an agent in the shape of the others: what it knows is an `OperatorView`, its policy chooses
how much reserve to ask for and how hard secondary control pulls (`swarm.grid.policy`), and the
physics hold whatever the policy says (`swarm.grid.physics`). Without a `grid` section there are no
physics: megawatts are balanced, a deficit beyond the import limit is load not served, a surplus
beyond the export limit is spilled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from swarm.errors import RunError
from swarm.grid.balance import Balance, Event, Operated, Trace
from swarm.grid.books import balance_of
from swarm.grid.forecast import PriceForecast
from swarm.grid.observation import observe
from swarm.grid.outlook import Outlook
from swarm.grid.physics import Happened, Physics, PhysicsSpec
from swarm.grid.policy import Learned, Learning, levels, make_policy
from swarm.grid.reward import reward
from swarm.market.outside import Connection
from swarm.market.record import Cleared
from swarm.messages import (
    FORECAST_HOURS,
    NO_FORECAST,
    NO_RESERVE,
    Alert,
    Drawn,
    Float,
    Int,
    Meters,
    Signal,
    StepReply,
    in_global_order,
    sum_columns,
)
from swarm.snapshot import stateful

if TYPE_CHECKING:
    from swarm.agents.experience import Experience


@dataclass(frozen=True)
class OperatorSpec:
    """All an operator is made from.

    Attributes:
        seed: the run's seed.
        ticks: length of the run.
        tick_minutes: length of a tick.
        start_hour: local hour at which tick 0 starts.
        price_floor: per MWh.
        price_cap: float64 (ticks,), per MWh.
        carbon_price_per_tonne: float64 (ticks,).
        outside: the connection outside.
        forecast: the price forecaster.
        condenser_inertia_kws: kinetic energy that always runs.
        physics: None: a balance of megawatts.
        policy: a name in `swarm.grid.policy.POLICIES`.
        host_agents: global agent indices of each host, in the order of its meters.
        learned: what a learned policy acts with; None: the policy is not one.
        outside_emissions_kg_per_mwh: CO2 of imports, for the policy's reward.
    """

    seed: int
    ticks: int
    tick_minutes: int
    start_hour: float
    price_floor: float
    price_cap: Float
    carbon_price_per_tonne: Float
    outside: Connection
    forecast: PriceForecast
    condenser_inertia_kws: int
    physics: PhysicsSpec | None = None
    policy: str = "heuristic"
    host_agents: tuple[Int, ...] = ()
    learned: Learned | None = None
    outside_emissions_kg_per_mwh: float = 0.0


class Operator:
    """Operates intervals in order; remembers a day of prices and the state of the grid."""

    @property
    def STATE(self) -> tuple[str, ...]:
        """See `swarm.snapshot`."""
        own = ("_prices", "_short_w", "_asked_w", "_forecast_w", "_forecast_error_w", "_gain")
        physical = () if self._physics is None else ("_physics", "_outlook")
        policy = ("_policy",) if stateful(self._policy) else ()
        return (*own, "_alerted", *physical, *policy)

    def __init__(self, spec: OperatorSpec) -> None:
        self.spec = spec
        self._prices: list[float] = []
        self._short_w: list[int] = []
        self._asked_w = NO_RESERVE
        self._forecast_w: tuple[int, ...] = NO_FORECAST
        self._forecast_error_w: tuple[int, ...] = NO_FORECAST
        self._gain = 1.0
        self._alerted = False
        self._physics = None if spec.physics is None else Physics(spec.physics)
        self._policy = make_policy(spec.policy, spec.learned)
        self._preference = _preference(spec, spec.learned)
        if spec.physics is not None:
            self._outlook = Outlook(
                seed=spec.seed,
                tick_minutes=spec.tick_minutes,
                start_hour=spec.start_hour,
                nominal_hz=spec.physics.nominal_hz,
                forecast=spec.forecast,
                sizes_w=spec.physics.reserve_sizes_w,
                kind=spec.physics.devices.kind,
            )

    def operate(
        self, tick: int, last: Cleared | None, replies: Sequence[StepReply]
    ) -> tuple[Operated, Drawn]:
        """Run the grid through `tick - 1` and make the signal for `tick + 1`.

        Args:
            tick: the tick being cleared; -1 before the first, for the first signal.
            last: the clearing of `tick - 1`; None before the first.
            replies: answers of all hosts to the step of `tick`.

        Returns:
            What everybody is told, and what the market is told before it clears `tick`.
        """
        if last is not None:
            self._prices.append(nan if last.price_milli is None else last.price_milli / 1000)
            del self._prices[: -self._ticks_a_day]
        if replies:
            self._forecast_w = sum_columns([reply.forecast_w for reply in replies])
            self._forecast_error_w = sum_columns([reply.forecast_error_w for reply in replies])
        asked, connected = self._asked_w, self._trades(tick)
        if not 0 < tick <= self.spec.ticks:
            operated = self._next(tick, last, None, None)
            return operated, Drawn(tick, asked, connected, 0, 0, None)
        if self._physics is None:
            balance, happened, meters = self._balance(tick - 1, replies), None, None
        else:
            assert last is not None
            parts = [reply.meters for reply in replies if reply.meters is not None]
            meters = in_global_order(parts, self.spec.host_agents)
            happened = self._physics.run(tick - 1, meters, last.imported_w, self._gain)
            balance = balance_of(
                tick - 1,
                happened,
                meters,
                self._physics.spec.devices,
                self.spec.condenser_inertia_kws,
            )
            self._outlook.remember(balance, meters)
            self._policy.settle(
                tick - 1,
                reward(
                    balance,
                    meters,
                    last,
                    self.spec.outside,
                    self.spec.tick_minutes,
                    self.spec.outside_emissions_kg_per_mwh,
                ),
            )
        self._short_w.append(balance.unserved_w)
        del self._short_w[: -max(1, 60 // self.spec.tick_minutes)]
        operated = self._next(tick, last, balance, meters)
        drawn = Drawn(
            tick=tick,
            reserve_w=asked,
            connected=connected,
            flow_w=balance.import_w - balance.export_w,
            losses_w=balance.losses_w,
            response=None if happened is None else happened.drawn,
        )
        return (operated if happened is None else _told(operated, tick - 1, happened)), drawn

    @property
    def learns(self) -> bool:
        """Whether its policy does."""
        return self.spec.learned is not None and hasattr(self._policy, "take")

    def take(self, learned: Learned) -> None:
        """Act with this from now on.

        Raises:
            RunError: the operator's policy does not learn.
        """
        self._learning().take(learned)
        self._preference = _preference(self.spec, learned)

    def experience(self) -> Experience:
        """What the policy decided and what came of it, since the last call.

        Raises:
            RunError: the operator's policy does not learn.
        """
        return self._learning().experience()

    def _learning(self) -> Learning:
        if not hasattr(self._policy, "take"):
            raise RunError(f"operator policy {self.spec.policy!r} does not learn")
        return self._policy  # type: ignore[return-value]

    def _next(
        self, tick: int, last: Cleared | None, balance: Balance | None, meters: Meters | None
    ) -> Operated:
        """The signal for `tick + 1`, with the policy's decisions in it."""
        signal = self._signal(tick + 1)
        if self._physics is None or not signal.accepting:
            return Operated(balance, msgspec.structs.replace(signal, emergency=self._alerted))
        emergency = self._physics.emergency
        if balance is not None:
            signal = msgspec.structs.replace(
                signal,
                frequency_hz=balance.frequency_end_hz,
                voltage_pu=(balance.voltage_min_pu, balance.voltage_max_pu),
                emergency=emergency,
            )
        view = self._outlook.view(
            tick + 1,
            signal,
            last,
            balance,
            meters,
            self.spec.outside.import_limit_w if self._trades(tick + 1) else 0,
            self._asked_w,
            self._preference,
        )
        reserve, self._gain = levels(self._policy.act(observe(view), view))
        containment, restoration = (
            round(reserve * size) for size in self._physics.spec.reserve_sizes_w
        )
        self._asked_w = (containment, containment, restoration, restoration)
        alert = Alert(tick + 1, emergency) if emergency != self._alerted else None
        self._alerted = emergency
        return Operated(balance, msgspec.structs.replace(signal, reserve_w=self._asked_w), alert)

    def _trades(self, tick: int) -> bool:
        """Whether the connection may trade in `tick`: its loss is known one tick later."""
        lost = () if self.spec.physics is None else self.spec.physics.lost
        return not any(first < tick < stop for first, stop in lost)

    def _balance(self, tick: int, replies: Sequence[StepReply]) -> Balance:
        """The balance of megawatts of `tick`."""
        meters = [reply.meters for reply in replies if reply.meters is not None]
        # Integer sums: their order, and so the packing, cannot matter.
        total = {
            name: sum(int(getattr(part, name).sum()) for part in meters)
            for name in ("generation_w", "load_w", "delivered_w", "unserved_w", "curtailed_w")
        }
        flow = self.spec.outside.flow_w(total["delivered_w"])
        surplus = total["delivered_w"] + flow
        shed = max(0, -surplus)
        running = sum(int(part.inertia_kws.sum()) for part in meters)
        return Balance(
            tick=tick,
            generation_w=total["generation_w"],
            discharge_w=sum(int(np.maximum(part.battery_w, 0).sum()) for part in meters),
            load_w=total["load_w"],
            charge_w=sum(int(np.maximum(-part.battery_w, 0).sum()) for part in meters),
            import_w=max(0, flow),
            export_w=max(0, -flow),
            shed_w=shed,
            spilled_w=max(0, surplus),
            unserved_w=total["unserved_w"] + shed,
            curtailed_w=total["curtailed_w"],
            inertia_kws=running + self.spec.condenser_inertia_kws,
        )

    def _signal(self, tick: int) -> Signal:
        spec = self.spec
        at = min(tick, spec.ticks - 1)
        cap, carbon = float(spec.price_cap[at]), float(spec.carbon_price_per_tonne[at])
        return Signal(
            tick=tick,
            price_per_mwh=np.nan,
            price_forecast=spec.forecast.at(at, cap, carbon, self._short_mw()),
            price_history=self._history(),
            price_floor=spec.price_floor,
            price_cap=cap,
            carbon_price_per_tonne=carbon,
            accepting=tick < spec.ticks,
            forecast_w=self._forecast_w,
            forecast_error_w=self._forecast_error_w,
        )

    def _short_mw(self) -> float:
        """Most load not served in one tick of the last hour, MW."""
        return max(self._short_w, default=0) / 1e6

    @property
    def _ticks_a_day(self) -> int:
        return max(1, round(1440 / self.spec.tick_minutes))

    def _history(self) -> Float:
        """Mean price of each of the last 24 hours, newest first, NaN where unknown."""
        hourly = np.full(FORECAST_HOURS, np.nan)
        newest = np.array(self._prices[::-1])
        for hour in range(FORECAST_HOURS):
            # A tick longer than an hour counts for each of its hours.
            first = hour * 60 // self.spec.tick_minutes
            stop = -(-(hour + 1) * 60 // self.spec.tick_minutes)
            known = newest[first:stop]
            known = known[np.isfinite(known)]
            if len(known):
                hourly[hour] = known.mean()
        return hourly


def _preference(spec: OperatorSpec, learned: Learned | None) -> tuple[float, ...]:
    """Weights of the objectives: those learned for, or the scenario's."""
    if learned is not None and learned.preference is not None:
        return learned.preference
    return () if spec.physics is None else spec.physics.grid.operator_weights.in_order


def _told(operated: Operated, tick: int, happened: Happened) -> Operated:
    """With the events and curves of the interval."""
    result = happened.frequency
    events = tuple(
        Event(tick, event.second, event.step, event.power_w, event.frequency_hz)
        for event in result.events
    )
    trace = Trace(result.trace_s, result.trace_hz) if len(result.trace_s) else None
    return msgspec.structs.replace(
        operated,
        events=events,
        trace=trace,
        voltages=happened.voltages,
        response_s=result.response_s,
    )
