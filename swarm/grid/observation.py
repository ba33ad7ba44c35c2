"""What the grid operator knows once a tick, and the 80 numbers that a learned policy sees of it.

24 numbers of the whole system, the run's preference the last three of them, then 8 of each of the 7
agent kinds. `docs/operator.md` shows them as tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from swarm.grid.reward import OBJECTIVES
from swarm.messages import RESERVE_PRODUCTS, Float, Int, Meters
from swarm.rng import UNIFORMS
from swarm.scenario.assets import ASSETS

HISTORY = 12
"""Intervals that a view looks back."""
EXTREMES = 3
"""Newest intervals whose lowest and highest frequency are observed."""
HOURS_SHOWN = (0, 3)
"""Hours of the load and weather forecasts that are observed."""
FORECAST = max(HOURS_SHOWN) + 1
"""Hours of load and weather that a view looks ahead."""
PRICE_SCALE = 50.0
PRICE_SPAN = 7.0
"""asinh(price / 50) / 7 is 0.13 at 50, 0.53 at 1,000 and 1 at about 27,000 per MWh."""
DEVIATIONS = 3.0
"""Standard deviations of the change of imbalance that restoration reserve covers."""
KNOWN_CHANGES = 3
"""Changes of imbalance it takes to estimate their deviation."""
KINDS = tuple(sorted(ASSETS))
"""Agent kinds in the order of the observation."""


@dataclass(frozen=True)
class Block:
    """Neighbouring numbers of an observation."""

    name: str
    size: int
    meaning: str
    normalisation: str


OWN_BLOCKS = (
    Block("hour", 2, "sine and cosine of the time of day", "none"),
    Block("tick", 1, "length of a tick", "/ 60 minutes"),
    Block("end", 1, "deviation at the end of the last interval", "/ 1 % of nominal"),
    Block("lowest", 1, "lowest deviation of the last 3 intervals", "/ 2 % of nominal"),
    Block("highest", 1, "highest deviation of the last 3 intervals", "/ 2 % of nominal"),
    Block("imbalance", 1, "imbalance before response", "/ 10 % of peak load"),
    Block("swing", 1, "3 standard deviations of its change", "/ restoration at level 2"),
    Block("secondary", 1, "output of secondary control", "share of reserve"),
    Block("unserved", 2, "load not served, last and mean of 12", "/ 10 % of peak load"),
    Block("net_load", 2, "expected load less weather in the hours +0, +3", "/ peak load"),
    Block("asked", 1, "reserve asked for in the tick before", "/ that of level 2"),
    Block("bought", 1, "reserve bought when last cleared", "share of asked; 0 where none was"),
    Block("reserve_price", 1, "its mean price per MW and hour", "asinh(p / 50) / 7"),
    Block("largest_unit", 1, "output of the largest running unit", "/ reserve up at level 2"),
    Block("inertia", 1, "kinetic energy over peak load, s", "/ 10 s"),
    Block("room", 1, "room for import", "/ peak load"),
    Block("emergency", 1, "the emergency protocol is active", "0 or 1"),
    Block("price", 1, "last clearing price", "asinh(p / 50) / 7"),
    Block("preference", 3, f"weights of {', '.join(OBJECTIVES)}", "sum to 1"),
)
"""The numbers of the whole system."""
KIND_BLOCKS = (
    Block("output", 1, "generation and discharge", "/ peak load"),
    Block("load", 1, "load and charging", "/ peak load"),
    Block("available", 1, "what plants could have generated", "/ peak load"),
    Block("forecast", 1, "forecast generation less forecast load", "/ peak load"),
    Block("up", 1, "injection it could have added", "/ peak load"),
    Block("down", 1, "injection it could have taken away", "/ peak load"),
    Block("reserve", 1, "reserve sold that was there, all products", "/ 10 % of peak load"),
    Block("stored", 1, "energy stored less load put off", "/ 1 h of peak load"),
)
"""The numbers of each kind: sums over its agents in the last interval."""
OBSERVATION = sum(b.size for b in OWN_BLOCKS) + len(KINDS) * len(KIND_BLOCKS)
_SCALE = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 1.0])


@dataclass(frozen=True)
class OperatorView:
    """What the operator knows as it decides for the next tick. Unknown numbers are NaN.

    Histories are float64 (12,), one number per interval, newest first. Raises ValueError where an
    array has another shape.

    Attributes:
        tick: the tick that is decided for.
        hour_of_day: local clock at the start of that tick, 0..24.
        tick_minutes: length of a tick.
        nominal_hz: 50 or 60.
        end_hz: history, frequency at the end of the interval.
        minimum_hz: history, lowest frequency.
        maximum_hz: history, highest frequency.
        imbalance_w: history, mean imbalance before any response, surplus positive.
        secondary_share: history, mean output of secondary control as a share of its reserve in
            that direction, -1..1, up positive.
        unserved_w: history, mean load not served.
        peak_load_w: expected highest load of the run; the scale of every power.
        expected_load_w: float64 (4,), mean of the current hour and each of the next 3.
        expected_weather_w: float64 (4,), weather-driven output of the same hours.
        containment_size_w: containment reserve of the scenario at level 1, each direction.
        restoration_size_w: restoration reserve of the scenario at level 1, each direction.
        reserve_pending_w: float64 (4,), asked for of each of `RESERVE_PRODUCTS` in the tick before,
            which is not cleared yet.
        reserve_asked_w: float64 (4,), likewise in the tick cleared last.
        reserve_bought_w: float64 (4,), likewise.
        reserve_price_per_mw_h: float64 (4,), likewise; NaN where nothing was bought.
        largest_unit_w: output of the largest running unit.
        inertia_kws: kinetic energy of running machines, kW s.
        flow_w: from outside in the last interval, export negative.
        import_limit_w: of the connection; 0 where it is away.
        emergency: the emergency protocol is active.
        price_per_mwh: last clearing price.
        preference: float64 (3,), weights of the objectives of `swarm.grid.reward`; sum to 1.
        by_kind: float64 (7, 8), sums of `KIND_BLOCKS` over the agents of each of `KINDS`, W and Wh.
        uniforms: float64 (4,), the policy's own randomness for this tick.
    """

    tick: int
    hour_of_day: float
    tick_minutes: float
    nominal_hz: float
    end_hz: Float
    minimum_hz: Float
    maximum_hz: Float
    imbalance_w: Float
    secondary_share: Float
    unserved_w: Float
    peak_load_w: float
    expected_load_w: Float
    expected_weather_w: Float
    containment_size_w: float
    restoration_size_w: float
    reserve_pending_w: Float
    reserve_asked_w: Float
    reserve_bought_w: Float
    reserve_price_per_mw_h: Float
    largest_unit_w: float
    inertia_kws: float
    flow_w: float
    import_limit_w: float
    emergency: bool
    price_per_mwh: float
    preference: Float
    by_kind: Float
    uniforms: Float

    SHAPES: ClassVar[dict[str, tuple[int, ...]]] = {
        **dict.fromkeys(("end_hz", "minimum_hz", "maximum_hz"), (HISTORY,)),
        **dict.fromkeys(("imbalance_w", "secondary_share", "unserved_w"), (HISTORY,)),
        **dict.fromkeys(("expected_load_w", "expected_weather_w"), (FORECAST,)),
        "reserve_pending_w": (len(RESERVE_PRODUCTS),),
        "reserve_asked_w": (len(RESERVE_PRODUCTS),),
        "reserve_bought_w": (len(RESERVE_PRODUCTS),),
        "reserve_price_per_mw_h": (len(RESERVE_PRODUCTS),),
        "preference": (len(OBJECTIVES),),
        "by_kind": (len(KINDS), len(KIND_BLOCKS)),
        "uniforms": (UNIFORMS,),
    }

    def __post_init__(self) -> None:
        for name, expected in self.SHAPES.items():
            shape = np.shape(getattr(self, name))
            if shape != expected:
                raise ValueError(f"{name} has shape {shape}, expected {expected}")


def kind_sums(meters: Meters, kind: Int) -> Float:
    """Sums over the agents of each kind in one interval, float64 (7, 8): see `KIND_BLOCKS`.

    Args:
        meters: of all n agents, in global order.
        kind: int64 (n,), index of each agent's kind in `KINDS`.
    """
    columns = (
        meters.generation_w + np.maximum(meters.battery_w, 0),
        meters.load_w - np.minimum(meters.battery_w, 0),
        meters.available_w,
        meters.forecast_w,
        meters.up_w,
        meters.down_w,
        meters.containment_up_w
        + meters.containment_down_w
        + meters.restoration_up_w
        + meters.restoration_down_w,
        1e6 * (meters.stored_mwh - meters.backlog_mwh),
    )
    # bincount adds in global agent order, which no packing changes.
    sums: Float = np.stack(
        [np.bincount(kind, weights=column, minlength=len(KINDS)) for column in columns], axis=1
    )
    return sums


def swing_w(imbalance_w: Float) -> float:
    """Three standard deviations of the change of imbalance from interval to interval.

    The standard deviation is estimated from the median absolute deviation, which a single outage
    does not move; 1.4826 makes it that of a normal distribution (Rousseeuw, Croux, Alternatives to
    the median absolute deviation, Journal of the American Statistical Association 88, 1993).

    Returns:
        Watts; NaN where fewer than three changes are known.
    """
    change = np.diff(imbalance_w)
    change = change[np.isfinite(change)]
    if len(change) < KNOWN_CHANGES:
        return np.nan
    return DEVIATIONS * (1.4826 * float(np.median(np.abs(change - np.median(change)))))


def observe(view: OperatorView) -> NDArray[np.float32]:
    """The observation of a view, float32 (80,): `OWN_BLOCKS`, then `KIND_BLOCKS` of each kind.

    Everything is clipped to [-1, 1]; what is unknown is 0. Prices pass an inverse hyperbolic sine
    (Uniejewski, Weron, Ziel, Variance stabilizing transformations for electricity spot price
    forecasting, IEEE Trans. Power Systems 33, 2018).
    """
    with np.errstate(all="ignore"):
        own = np.concatenate([np.atleast_1d(part) for part in _own(view)])
        kinds = _share(view.by_kind, view.peak_load_w) / _SCALE
        values = np.concatenate([own, kinds.ravel()])
    seen: NDArray[np.float32] = np.clip(np.nan_to_num(values), -1.0, 1.0).astype(np.float32)
    return seen


def _own(view: OperatorView) -> tuple[Float | float | tuple[float, float], ...]:
    """The parts of `OWN_BLOCKS`."""
    angle = 2 * np.pi * view.hour_of_day / 24
    hours, hz, peak = list(HOURS_SHOWN), view.nominal_hz, view.peak_load_w
    each_way = view.containment_size_w + view.restoration_size_w
    net_load = (view.expected_load_w - view.expected_weather_w)[hours]
    lowest, highest = -_highest(-view.minimum_hz[:EXTREMES]), _highest(view.maximum_hz[:EXTREMES])
    return (
        (np.sin(angle), np.cos(angle)),
        view.tick_minutes / 60,
        _share(view.end_hz[0] - hz, 0.01 * hz),
        _share(lowest - hz, 0.02 * hz),
        _share(highest - hz, 0.02 * hz),
        _share(view.imbalance_w[0], 0.1 * peak),
        _share(swing_w(view.imbalance_w), 2 * view.restoration_size_w),
        view.secondary_share[0],
        _share((view.unserved_w[0], _mean(view.unserved_w)), 0.1 * peak),
        _share(net_load, peak),
        _share(view.reserve_pending_w.sum(), 4 * each_way),
        _share(view.reserve_bought_w.sum(), view.reserve_asked_w.sum()),
        _squeezed(_mean(view.reserve_price_per_mw_h)),
        _share(view.largest_unit_w, 2 * each_way),
        _share(view.inertia_kws * 1000, 10 * peak),
        _share(view.import_limit_w - view.flow_w, peak),
        float(view.emergency),
        _squeezed(view.price_per_mwh),
        view.preference,
    )


def _share(values: Float | tuple[float, ...] | float, whole: float) -> Float:
    """`values / whole`, NaN where there is no whole."""
    share: Float = np.asarray(values) / (whole if whole > 0 else np.nan)
    return share


def _highest(values: Float) -> float:
    """The highest known value, NaN where none is."""
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else np.nan


def _mean(values: Float) -> float:
    """The mean of the known values, NaN where none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _squeezed(price: float) -> float:
    return float(np.arcsinh(price / PRICE_SCALE)) / PRICE_SPAN
