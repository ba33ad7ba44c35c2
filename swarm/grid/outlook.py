"""What the operator remembers of past intervals and expects of the next: the view of its policy."""

from __future__ import annotations

from collections import deque

import numpy as np

from swarm.grid.balance import Balance
from swarm.grid.forecast import PriceForecast, at_hour
from swarm.grid.observation import (
    FORECAST,
    HISTORY,
    KIND_BLOCKS,
    KINDS,
    OperatorView,
    kind_sums,
)
from swarm.market.record import Cleared
from swarm.messages import NO_RESERVE, RESERVE_PRODUCTS, Meters, Signal
from swarm.rng import uniforms

REMEMBERED = (
    "frequency_end_hz",
    "frequency_min_hz",
    "frequency_max_hz",
    "imbalance_w",
    "unserved_w",
)


class Outlook:
    """Histories of the last intervals; makes an `OperatorView` of them once a tick."""

    STATE = ("_past",)
    """See `swarm.snapshot`."""

    def __init__(
        self,
        *,
        seed: int,
        tick_minutes: int,
        start_hour: float,
        nominal_hz: float,
        forecast: PriceForecast,
        sizes_w: tuple[float, float],
        kind: np.ndarray,
    ) -> None:
        """Nothing is remembered yet.

        Args:
            seed: of the run.
            tick_minutes: length of a tick.
            start_hour: local hour at which tick 0 starts.
            nominal_hz: nominal frequency.
            forecast: expected load and weather-driven output.
            sizes_w: containment and restoration reserve at level 1.
            kind: kind of each agent, str (n,), in global order.
        """
        self._seed, self._tick_minutes, self._start_hour = seed, tick_minutes, start_hour
        self._nominal_hz, self._forecast, self._sizes_w = nominal_hz, forecast, sizes_w
        self._kind = np.searchsorted(KINDS, kind)
        self._past = {name: _nothing() for name in (*REMEMBERED, "secondary")}
        self._peak_w = max(1.0, float(forecast.spec.demand_mw.max(initial=0.0)) * 1e6)

    def remember(self, balance: Balance, meters: Meters) -> None:
        """Take an interval that was operated."""
        for name in REMEMBERED:
            self._past[name].appendleft(float(getattr(balance, name)))
        reserve = meters.restoration_up_w if balance.secondary_w >= 0 else meters.restoration_down_w
        held = int(reserve.sum())
        self._past["secondary"].appendleft(balance.secondary_w / held if held else np.nan)

    def view(
        self,
        tick: int,
        signal: Signal,
        last: Cleared | None,
        balance: Balance | None,
        meters: Meters | None,
        import_limit_w: int,
        pending_w: tuple[int, ...],
        preference: tuple[float, ...],
    ) -> OperatorView:
        """What is known as the reserve of `tick` is decided.

        Args:
            tick: the tick that is decided for.
            signal: what everybody will see at its start.
            last: the last clearing.
            balance: the last interval.
            meters: of it, all agents.
            import_limit_w: of the connection now.
            pending_w: reserve asked for in the tick before, by product.
            preference: weights of the objectives.
        """
        past = {name: np.array(values) for name, values in self._past.items()}
        hour = tick * self._tick_minutes // 60
        spec = self._forecast.spec
        hours = range(hour, hour + FORECAST)
        asked = NO_RESERVE if last is None else last.reserve_asked_w
        bought = NO_RESERVE if last is None else last.reserve_bought_w
        prices = (None,) * len(RESERVE_PRODUCTS) if last is None else last.reserve_price_milli
        price = None if last is None else last.price_milli
        return OperatorView(
            tick=tick,
            hour_of_day=(self._start_hour + tick * self._tick_minutes / 60) % 24,
            tick_minutes=self._tick_minutes,
            nominal_hz=self._nominal_hz,
            end_hz=past["frequency_end_hz"],
            minimum_hz=past["frequency_min_hz"],
            maximum_hz=past["frequency_max_hz"],
            imbalance_w=past["imbalance_w"],
            secondary_share=past["secondary"],
            unserved_w=past["unserved_w"],
            peak_load_w=self._peak_w,
            expected_load_w=1e6 * np.array([at_hour(spec.demand_mw, h) for h in hours]),
            expected_weather_w=1e6 * np.array([at_hour(spec.free_supply_mw, h) for h in hours]),
            containment_size_w=self._sizes_w[0],
            restoration_size_w=self._sizes_w[1],
            reserve_pending_w=np.array(pending_w, dtype=float),
            reserve_asked_w=np.array(asked, dtype=float),
            reserve_bought_w=np.array(bought, dtype=float),
            reserve_price_per_mw_h=np.array([np.nan if p is None else p / 1000 for p in prices]),
            largest_unit_w=np.nan if meters is None else float(meters.generation_w.max(initial=0)),
            inertia_kws=np.nan if balance is None else float(balance.inertia_kws),
            flow_w=np.nan if balance is None else float(balance.import_w - balance.export_w),
            import_limit_w=import_limit_w,
            emergency=signal.emergency,
            price_per_mwh=np.nan if price is None else price / 1000,
            preference=np.array(preference, dtype=float),
            by_kind=np.full((len(KINDS), len(KIND_BLOCKS)), np.nan)
            if meters is None
            else kind_sums(meters, self._kind),
            uniforms=uniforms(self._seed, "operator", tick, 0, 1)[0],
        )


def _nothing() -> deque[float]:
    return deque([np.nan] * HISTORY, maxlen=HISTORY)
