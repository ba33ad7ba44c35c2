"""The grid operator: the balance of every interval, and the signal for the next.

The balance is of megawatts: what agents inject, plus what flows in from outside within limits,
meets what they draw. A deficit beyond the import limit is load not served, a surplus beyond the
export limit is spilled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from swarm.grid.forecast import PriceForecast
from swarm.market.outside import Connection
from swarm.messages import FORECAST_HOURS, Float, Signal, StepReply


@dataclass(frozen=True)
class OperatorSpec:
    """All an operator is made from.

    Attributes:
        ticks: length of the run.
        tick_minutes: length of a tick.
        price_floor: per MWh.
        price_cap: float64 (ticks,), per MWh.
        carbon_price_per_tonne: float64 (ticks,).
        outside: the connection outside.
        forecast: the price forecaster.
        condenser_inertia_kws: kinetic energy that always runs.
    """

    ticks: int
    tick_minutes: int
    price_floor: float
    price_cap: Float
    carbon_price_per_tonne: Float
    outside: Connection
    forecast: PriceForecast
    condenser_inertia_kws: int


class Balance(msgspec.Struct, array_like=True, frozen=True):
    """Watts over one interval; in every tick

    generation + discharge + import + shed == load + charge + export + spilled.
    """

    tick: int
    generation_w: int
    discharge_w: int
    load_w: int
    charge_w: int
    import_w: int
    export_w: int
    shed_w: int
    """Load the operator could not balance."""
    spilled_w: int
    unserved_w: int
    """Load without a contract, and load shed."""
    curtailed_w: int
    inertia_kws: int


class Operated(msgspec.Struct, array_like=True, frozen=True):
    """What the operator says after a tick: the balance of the last, the signal for the next."""

    balance: Balance | None
    signal: Signal


class Operator:
    """Balances and signals; remembers one day of hourly prices."""

    def __init__(self, spec: OperatorSpec) -> None:
        self.spec = spec
        self._prices: list[float] = []
        self._short_w: list[int] = []

    def operate(self, tick: int, last_price: float, replies: Sequence[StepReply]) -> Operated:
        """Balance `tick - 1` on its meters and make the signal for `tick + 1`.

        Args:
            tick: the tick being cleared; -1 before the first, for the first signal.
            last_price: clearing price of `tick - 1` per MWh, NaN where nothing traded.
            replies: answers of all hosts to the step of `tick`.
        """
        if tick > 0:
            self._prices.append(last_price)
            del self._prices[: -self._ticks_a_day]
        balance = self._balance(tick - 1, replies)
        if balance is not None:
            self._short_w.append(balance.unserved_w)
            del self._short_w[: -max(1, 60 // self.spec.tick_minutes)]
        return Operated(balance, self._signal(tick + 1))

    def _balance(self, tick: int, replies: Sequence[StepReply]) -> Balance | None:
        meters = [reply.meters for reply in replies if reply.meters is not None]
        if tick < 0 or tick >= self.spec.ticks:
            return None
        # Integer sums: their order, and so the packing, cannot matter.
        total = {
            name: sum(int(getattr(part, name).sum()) for part in meters)
            for name in ("generation_w", "load_w", "delivered_w", "unserved_w", "curtailed_w")
        }
        discharge = sum(int(np.maximum(part.battery_w, 0).sum()) for part in meters)
        charge = sum(int(np.maximum(-part.battery_w, 0).sum()) for part in meters)
        flow = self.spec.outside.flow_w(total["delivered_w"])
        surplus = total["delivered_w"] + flow
        shed, spilled = max(0, -surplus), max(0, surplus)
        running = sum(int(part.inertia_kws.sum()) for part in meters)
        return Balance(
            tick=tick,
            generation_w=total["generation_w"],
            discharge_w=discharge,
            load_w=total["load_w"],
            charge_w=charge,
            import_w=max(0, flow),
            export_w=max(0, -flow),
            shed_w=shed,
            spilled_w=spilled,
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
