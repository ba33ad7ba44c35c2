"""Observations of the agents: what each may see, as float32 in [-1, 1]; for all agents at once.

Three vectors: `generator` (64; solar and wind too), `storage` (48; vehicles and homes too) and
`consumer` (40; homes too). `observation.BLOCKS` names every index, `docs/observations.md` shows it.
Row i depends on agent i and the signal alone. What is unknown (NaN) is 0, as is a share of nothing.

Prices come twice. Squeezed, asinh(p / 50) / 7, they are comparable between markets (Uniejewski,
Weron, Ziel, Variance stabilizing transformations for electricity spot price forecasting, IEEE
Trans. Power Systems 33, 2018). Relative, x / (1 + |x|) with x = (p - median) / spread, they say
what is dear today: median and 10 % to 90 % spread of the known hourly prices, the spread at least
`MIN_SPREAD`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from swarm.agents import battery
from swarm.agents import consumer as consumers
from swarm.agents import ev as evs
from swarm.agents import generator as generators
from swarm.agents import home as homes
from swarm.agents import storage as storages
from swarm.agents import variable as plants
from swarm.agents.kinds import KINDS
from swarm.agents.memory import Memory
from swarm.agents.observation import HOURS_AHEAD, HOURS_BACK, SIZES, VECTORS, WINDOWS_AHEAD
from swarm.agents.view import View, nominal_hz, price_points
from swarm.market.orders import BUY, SELL
from swarm.messages import DOWN, UP, Float, Signal
from swarm.scenario.roster import MAX_COST_STEPS

Observation = NDArray[np.float32]
PRICE_SCALE, PRICE_SPAN = 50.0, 7.0
MIN_SPREAD = 1.0
"""Per MWh."""


def observe(kind: str, p: Any, s: Any, view: View, memory: Memory) -> dict[str, Observation]:
    """What n agents of a kind see: name of the vector -> float32 (n, its size), in [-1, 1].

    Args:
        kind: the agents' kind.
        p: parameters of the kind.
        s: state of the kind before the tick.
        view: what they see.
        memory: what they remember, n agents with the kind's order slots.

    Raises:
        ValueError: an unknown kind, or a memory of other agents or slots.
    """
    if kind not in VECTORS:
        raise ValueError(f"kind {kind!r}: expected one of {sorted(VECTORS)}")
    expected = (len(view.standing), len(KINDS[kind].SIDES))
    if memory.accepted_w.shape != expected:
        raise ValueError(f"accepted_w: shape {memory.accepted_w.shape}, expected {expected}")
    with np.errstate(all="ignore"):
        known = _known_prices(view.signal)
        return {
            vector: _stacked(vector, view, memory, known, _OWN_OF[kind, vector](p, s, view, known))
            for vector in VECTORS[kind]
        }


@dataclass(frozen=True)
class _Known:
    """Level of the hourly prices that everybody knows; NaN where none is."""

    points: Float
    median: float
    spread: float

    def relative(self, price: Float | float) -> Float:
        """`price` against the known ones, in (-1, 1)."""
        x = (np.asarray(price, dtype=np.float64) - self.median) / self.spread
        relative: Float = x / (1.0 + np.abs(x))
        return relative


def _known_prices(signal: Signal) -> _Known:
    points = price_points(signal)
    if not len(points):
        return _Known(points, float("nan"), float("nan"))
    low, median, high = np.quantile(points, (0.1, 0.5, 0.9))
    return _Known(points, float(median), float(max(high - low, MIN_SPREAD)))


@dataclass(frozen=True)
class _Own:
    """An agent's own part of a vector, and how its memory is read.

    Attributes:
        values: (n,) or (n, k) each, in the order of the blocks.
        size_mw: (n,), what its pay is measured by.
        slots: order slots that the vector is for.
        traded_mw: (n,), what is accepted in them is measured by.
    """

    values: tuple[Float, ...]
    size_mw: Float
    slots: dict[int, int]
    traded_mw: Float


def _stacked(vector: str, view: View, memory: Memory, known: _Known, own: _Own) -> Observation:
    """The observation: common part, hours ahead and back, own part, memory."""
    n, signal = len(view.standing), view.signal
    shared = np.concatenate(
        [
            _common(view, known),
            known.relative(signal.price_forecast[list(HOURS_AHEAD[vector])]),
            known.relative(_extremes(signal.price_forecast, WINDOWS_AHEAD[vector])),
            known.relative(signal.price_history[list(HOURS_BACK[vector])]),
        ]
    )
    net_w = sum((side * memory.accepted_w[:, slot] for slot, side in own.slots.items()), 0.0)
    paid = _share(memory.received_micro / 1e6, own.size_mw * view.tick_hours)
    remembered = (
        _share(net_w / 1e6, own.traded_mw),
        known.relative(memory.price_per_mwh),
        paid / (np.abs(paid) + abs(known.median) + known.spread),
        np.full(n, known.relative(memory.median_per_mwh(signal))),
    )
    seen = np.empty((n, SIZES[vector]))
    seen[:, : len(shared)] = shared
    seen[:, len(shared) :] = np.column_stack([*own.values, *remembered])
    return np.clip(np.nan_to_num(seen), -1.0, 1.0).astype(np.float32)


def _extremes(ahead: Float, windows: tuple[tuple[int, int], ...]) -> Float:
    """Highest price of each window of hours, then lowest of each; NaN where none is known."""
    spans = [ahead[first : last + 1] for first, last in windows]
    found = [
        end(span[np.isfinite(span)]) if np.isfinite(span).any() else np.nan
        for end in (np.max, np.min)
        for span in spans
    ]
    return np.array(found, dtype=np.float64)


def _threshold(ahead: Float, hours: Float, dear: bool) -> Float:
    """Price of the k-th dearest (or cheapest) hour that is known ahead, k the hours rounded up."""
    known = np.sort(ahead[np.isfinite(ahead)])
    if not len(known):
        return np.full(len(hours), np.nan)
    ordered = known[::-1] if dear else known
    k = np.clip(np.ceil(np.nan_to_num(hours)), 1, len(ordered)).astype(np.int64)
    found: Float = ordered[k - 1]
    return found


def _common(view: View, known: _Known) -> Float:
    """The blocks of `_COMMON`, the same for everybody."""
    signal = view.signal
    angle = 2 * np.pi * view.hour_of_day / 24
    ahead = signal.price_forecast[np.isfinite(signal.price_forecast)]
    ends = (ahead.min(), ahead.max()) if len(ahead) else (np.nan, np.nan)
    load_w, wind_w, sun_w = signal.forecast_w
    reserve_w = [sum(signal.reserve_w[i] for i in way) for way in (UP, DOWN)]
    below = np.mean(known.points < signal.price_per_mwh) if len(known.points) else np.nan
    values = (
        (np.sin(angle), np.cos(angle)),
        view.tick_hours,
        _squeezed(signal.price_per_mwh),
        known.relative(signal.price_per_mwh),
        2 * below - 1 if np.isfinite(signal.price_per_mwh) else np.nan,
        _squeezed(known.median),
        _squeezed(known.spread),
        known.relative(np.array(ends)),
        (signal.frequency_hz / nominal_hz(signal.frequency_hz) - 1) / 0.01,
        (np.array(signal.voltage_pu) - 1) / 0.1,
        float(signal.emergency),
        _share(np.array(reserve_w), 0.1 * load_w),
        _share(np.array([wind_w, sun_w]), load_w),
        _share(np.array([sum(signal.forecast_error_w)]), 0.1 * load_w),
        _squeezed(signal.carbon_price_per_tonne),
    )
    return np.concatenate([np.atleast_1d(value) for value in values])


def _generator(p: generators.Parameters, s: generators.State, view: View, known: _Known) -> _Own:
    capacity = p.capacity_mw
    cost = generators.full_cost_per_mwh(p, view.signal.carbon_price_per_tonne)
    width = np.diff(p.step_end_mw, axis=1, prepend=0.0)
    used = width > 0
    mean_kg = np.sum(width * p.step_emissions_kg_per_mwh, axis=1)
    least_hours = np.where(s.running, p.min_up_hours, p.min_down_hours)
    done = np.where(least_hours > 0, np.minimum(s.hours_in_state / least_hours, 1.0), 1.0)
    values = (
        np.clip(view.forecast["availability"], 0.0, 1.0),
        _share(s.output_mw, capacity),
        np.where(s.running, 1.0, 0.0),
        np.where(view.standing | (s.outage_hours > 0), 0.0, 1.0),
        np.where(s.running, 2 * done - 1, 0.0),
        np.where(s.running, 0.0, 2 * done - 1),
        s.outage_hours / 24,
        _share(p.min_output_mw, capacity),
        _share(p.ramp_mw_per_minute * view.tick_hours * 60, capacity),
        _squeezed(_share(p.start_cost, capacity)),
        _share(mean_kg / 1000, capacity),
        _share(capacity * 1e6, 0.1 * view.signal.forecast_w[0]),
        np.where(used, known.relative(cost), 0.0),
        _squeezed(np.min(np.where(used, cost, np.inf), axis=1)),
        _squeezed(np.max(np.where(used, cost, -np.inf), axis=1)),
        _share(width, capacity[:, None]),
    )
    return _Own(values, capacity, dict(enumerate(generators.SIDES)), capacity)


def _plant(p: plants.Parameters, s: plants.State, view: View, known: _Known) -> _Own:
    """A plant as a unit without fuel, starts and ramps, of one step at the price it offers at."""
    n, capacity = len(p.capacity_mw), p.capacity_mw
    zeros, ones = np.zeros(n), np.ones(n)
    cost, width = np.zeros((2, n, MAX_COST_STEPS))
    cost[:, 0], width[:, 0] = known.relative(p.offer_price_per_mwh), 1.0
    price = _squeezed(p.offer_price_per_mwh)
    values = (
        np.clip(view.forecast["availability"], 0.0, 1.0),
        _share(s.output_w / 1e6, capacity),
        ones,
        np.where(view.standing, 0.0, 1.0),
        ones,
        *(zeros,) * 3,
        ones,
        *(zeros,) * 2,
        _share(capacity * 1e6, 0.1 * view.signal.forecast_w[0]),
        cost,
        price,
        price,
        width,
    )
    return _Own(values, capacity, dict(enumerate(plants.SIDES)), capacity)


def _cells(
    p: battery.Battery,
    s: battery.State,
    view: View,
    known: _Known,
    way: tuple[Float, ...],
    slots: dict[int, int],
) -> _Own:
    """A battery's part; `way`: the four numbers of a vehicle's way."""
    full, ahead = p.power_mw, view.signal.price_forecast
    to_empty = _share((s.stored_mwh - p.floor_mwh) * p.discharge_efficiency, full)
    to_full = _share((p.ceiling_mwh - s.stored_mwh) / p.charge_efficiency, full)
    values = (
        2 * _share(s.stored_mwh - p.floor_mwh, p.ceiling_mwh - p.floor_mwh) - 1,
        to_empty / 12,
        to_full / 12,
        _share(p.energy_mwh, full) / 12,
        2 * p.charge_efficiency * p.discharge_efficiency - 1,
        known.relative(_threshold(ahead, to_empty, dear=True)),
        known.relative(_threshold(ahead, to_full, dear=False)),
        p.degradation_cost_per_mwh / (p.degradation_cost_per_mwh + known.spread),
        _share(s.power_w / 1e6, full),
        1 - (1 - p.self_discharge_per_hour) ** 24,
        *way,
    )
    return _Own(values, full, slots, full)


def _storage(p: storages.Parameters, s: battery.State, view: View, known: _Known) -> _Own:
    return _cells(p.battery, s, view, known, _no_way(s), {0: BUY, 1: SELL})


def _home_battery(p: homes.Parameters, s: homes.State, view: View, known: _Known) -> _Own:
    return _cells(p.battery, s, view, known, _no_way(s), {2: BUY, 3: SELL})


def _no_way(s: battery.State) -> tuple[Float, ...]:
    """Always here, never leaves, lacks nothing."""
    ones = np.ones(len(s.stored_mwh))
    return ones, ones, np.zeros_like(ones), ones


def _vehicle(p: evs.Parameters, s: evs.State, view: View, known: _Known) -> _Own:
    cells = p.battery
    hours_left = 24 - (view.hour_of_day - p.departure_hour) % 24
    lacking = np.maximum(0.0, p.required_mwh - s.stored_mwh)
    laxity = hours_left - lacking / (cells.power_mw * cells.charge_efficiency)
    way = (
        np.where(evs.connected(p, view.hour_of_day), 1.0, 0.0),
        hours_left / 24,
        _share(lacking, cells.energy_mwh),
        np.where(lacking > 0, laxity, hours_left) / 24,
    )
    return _cells(cells, s, view, known, way, dict(enumerate(evs.SIDES)))


def _consumer(p: consumers.Parameters, s: consumers.State, view: View, known: _Known) -> _Own:
    load = p.load_mw * np.maximum(view.forecast["load"], 0.0)
    window_mw = p.flexible_mw * np.maximum(1.0, p.shift_window_hours / (2 * view.tick_hours))
    values = (
        view.forecast["load"] - 1,
        _share(np.minimum(p.flexible_mw, load), load),
        known.relative(p.response_price_per_mwh),
        _squeezed(p.response_price_per_mwh),
        _share(s.backlog_w / 1e6, window_mw),
        np.where(s.backlog_w > 0, s.hours_left / p.shift_window_hours, 1.0),
        p.shift_window_hours / 24,
        np.where(view.standing, 1.0, 0.0),
    )
    return _Own(values, p.load_mw, {1: BUY, 2: SELL}, p.flexible_mw)


def _household(p: homes.Parameters, s: homes.State, view: View, known: _Known) -> _Own:
    """A home as a consumer: its flexible load is what its battery may charge."""
    load = p.load_mw * np.maximum(view.forecast["load"], 0.0)
    cells = p.battery
    wear = battery.break_even(cells, np.full(len(load), known.median))
    hours_full = _share(cells.energy_mwh, cells.power_mw)
    values = (
        view.forecast["load"] - 1,
        _share(cells.power_mw, load + cells.power_mw),
        known.relative(wear),
        _squeezed(wear),
        _share(cells.ceiling_mwh - s.stored_mwh, cells.ceiling_mwh - cells.floor_mwh),
        np.ones(len(load)),
        hours_full / 24,
        np.where(view.standing, 1.0, 0.0),
    )
    return _Own(values, p.load_mw, {0: BUY, 1: SELL}, p.load_mw)


_OWN_OF: dict[tuple[str, str], Callable[[Any, Any, View, _Known], _Own]] = {
    ("consumer", "consumer"): _consumer,
    ("ev", "storage"): _vehicle,
    ("generator", "generator"): _generator,
    ("home", "storage"): _home_battery,
    ("home", "consumer"): _household,
    ("solar", "generator"): _plant,
    ("storage", "storage"): _storage,
    ("wind", "generator"): _plant,
}


def _share(part: ArrayLike, whole: ArrayLike) -> Float:
    """`part / whole`, NaN where there is no whole."""
    share: Float = np.asarray(part) / np.where(np.asarray(whole) > 0, whole, np.nan)
    return share


def _squeezed(price: Float | float) -> Float:
    squeezed: Float = np.arcsinh(np.asarray(price) / PRICE_SCALE) / PRICE_SPAN
    return squeezed
