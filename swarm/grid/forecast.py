"""The 24-hour price forecast of the signal: where forecast supply meets forecast demand.

A merit-order forecast (the fundamental model of electricity price forecasting; Weron, Electricity
price forecasting, International Journal of Forecasting 30, 2014): each hour's expected load meets
every unit's cost curve, expected weather-driven output and the outside connection. It knows the
expected weather of the world, prices units so that those it needs are paid for their commitment,
ignores ramps and storage, adds what was not served lately to demand, and sees a price spike from
its notice on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.market.clearing import clear
from swarm.market.orders import BUY, SELL, OrderBook, to_milli
from swarm.messages import FORECAST_HOURS, Float

RESERVE_SHARE = 0.10
"""Demand is forecast this much higher, so that units commit with some to spare."""
SHORTAGE_HOURS = 3
"""How long a shortage is expected to last."""


@dataclass(frozen=True)
class Spike:
    """An outside price spike: in hours from `first` until before `stop`, known from `notice`."""

    notice_tick: int
    first_hour: int
    stop_hour: int
    price_per_mwh: float


@dataclass(frozen=True)
class ForecastSpec:
    """Expected values per hour of the run, shape (hours,), and the supply curve.

    Attributes:
        tick_minutes: length of a tick.
        demand_mw: float64 (hours,).
        free_supply_mw: float64 (hours,), weather-driven output.
        step_mw: float64 (m,), width of each cost step of the dispatchable units.
        step_cost_per_mwh: float64 (m,), without CO2; see `generator.commitment_cost`.
        step_emissions_kg_per_mwh: float64 (m,).
        price_floor: per MWh.
        import_limit_mw: of the connection outside.
        export_limit_mw: of the connection outside.
        outside_price_per_mwh: float64 (hours,), expected; without spikes.
        outside_price_known: expected outside prices are known in advance; else only those of
            hours gone by are (the day before's value stands for an hour to come).
        outside_price_before_per_mwh: expected while no hour has gone by yet.
        import_premium_per_mwh: added to the price of imports.
        export_discount_per_mwh: taken off the price of exports.
        spikes: price spikes.
    """

    tick_minutes: int
    demand_mw: Float
    free_supply_mw: Float
    step_mw: Float
    step_cost_per_mwh: Float
    step_emissions_kg_per_mwh: Float
    price_floor: float
    import_limit_mw: float
    export_limit_mw: float
    outside_price_per_mwh: Float
    outside_price_known: bool
    outside_price_before_per_mwh: float
    import_premium_per_mwh: float
    export_discount_per_mwh: float
    spikes: tuple[Spike, ...]


class PriceForecast:
    """Forecasts by clearing the expected book of each hour; remembers hours already cleared."""

    def __init__(self, spec: ForecastSpec) -> None:
        self.spec = spec
        self._known: dict[tuple[float, ...], float] = {}
        self._last: tuple[tuple[float, ...], Float] | None = None

    def at(
        self, tick: int, price_cap: float, carbon_price_per_tonne: float, short_mw: float
    ) -> Float:
        """Expected price per MWh of the current hour and the 23 after it, float64 (24,).

        Args:
            tick: the tick it is made for.
            price_cap: per MWh.
            carbon_price_per_tonne: CO2 price.
            short_mw: load not served lately; added to the demand of the next hours.
        """
        spec = self.spec
        now = tick * spec.tick_minutes // 60
        seen = sum(1 << i for i, s in enumerate(spec.spikes) if tick >= s.notice_tick)
        key = (now, seen, price_cap, carbon_price_per_tonne, short_mw)
        if self._last is None or self._last[0] != key:
            prices = []
            for hour in range(now, now + FORECAST_HOURS):
                short = short_mw if hour < now + SHORTAGE_HOURS else 0.0
                prices.append(
                    self._price(
                        hour,
                        self._outside(hour, now, tick),
                        price_cap,
                        carbon_price_per_tonne,
                        short,
                    )
                )
            self._last = key, np.array(prices)
            self._known = {k: v for k, v in self._known.items() if k[0] >= now}
        return self._last[1]

    def _outside(self, hour: int, now: int, tick: int) -> float:
        spec = self.spec
        for spike in spec.spikes:
            if tick >= spike.notice_tick and spike.first_hour <= hour < spike.stop_hour:
                return spike.price_per_mwh
        if not spec.outside_price_known:
            # Yesterday's value of the same hour; before there is one, the last hour gone by.
            if now == 0:
                return spec.outside_price_before_per_mwh
            hour = hour - 24 if 0 <= hour - 24 < now else now - 1
        return at_hour(spec.outside_price_per_mwh, hour)

    def _price(self, hour: int, outside: float, cap: float, carbon: float, short: float) -> float:
        key = (hour, outside, cap, carbon, short)
        if key not in self._known:
            self._known[key] = self._clear(*key)
        return self._known[key]

    def _clear(self, hour: int, outside: float, cap: float, carbon: float, short: float) -> float:
        spec = self.spec
        cost = spec.step_cost_per_mwh + spec.step_emissions_kg_per_mwh * (carbon / 1000)
        imports = outside + spec.import_premium_per_mwh
        exports = outside - spec.export_discount_per_mwh
        price = np.concatenate([cost, [min(0.0, cap), imports, cap, exports - 0.001]])
        demand = at_hour(spec.demand_mw, hour) * (1 + RESERVE_SHARE) + short
        free = at_hour(spec.free_supply_mw, hour)
        traded = [free, spec.import_limit_mw, demand, spec.export_limit_mw]
        side = np.concatenate([np.full(len(cost) + 2, SELL), [BUY, BUY]])
        book = OrderBook.from_mw(
            side,
            np.clip(price, spec.price_floor, cap),
            np.concatenate([spec.step_mw, traded]),
            np.arange(len(side)),
        )
        floor_milli, cap_milli = (int(to_milli(bound)) for bound in (spec.price_floor, cap))
        cleared = clear(book, price_floor=floor_milli, price_cap=cap_milli)
        if cleared.price is None:
            return outside if spec.import_limit_mw else max(0.0, spec.price_floor)
        return cleared.price / 1000


def at_hour(hourly: Float, hour: int) -> float:
    """The value of an hour; past the end the same hour of the last day there is stands for it."""
    while hour >= len(hourly):
        hour -= 24
    return float(hourly[max(hour, 0)])
