"""The grid operator's policy: how much reserve to ask for, how hard secondary control pulls.

An `OperatorView` is what the operator knows once a tick. `observe` makes 80 numbers of it, and a
policy answers with one of 25 actions: five reserve levels times five activation levels.
`docs/operator.md` shows both as tables.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from swarm.messages import RESERVE_PRODUCTS, Float
from swarm.rng import UNIFORMS

HISTORY = 12
"""Intervals that a view looks back."""
FORECAST = 12
"""Hours of load and weather that a view looks ahead."""
PRICE_FORECAST = 6
"""Hours of price that a view looks ahead."""
RESERVE_LEVELS = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Times the scenario's reserve sizes."""
ACTIVATION_LEVELS = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Times the gains of secondary control in the next interval."""
ACTIONS = len(RESERVE_LEVELS) * len(ACTIVATION_LEVELS)
HOURS_SHOWN = (0, 1, 2, 4, 7, 11)
"""Hours of the load and weather forecasts that are observed."""
PRICE_SCALE = 50.0
PRICE_SPAN = 7.0
"""asinh(price / 50) / 7 is 0.13 at 50, 0.53 at 1,000 and 1 at about 27,000 per MWh."""
BAND_HZ = (0.1, 0.2)
"""Deviations in a 50 Hz system; they scale with nominal frequency."""
DEVIATIONS = 3.0
"""Standard deviations of the change of imbalance that restoration reserve covers."""
_TOLERANCE_HZ = 1e-9
_NORMAL = 1.0


@dataclass(frozen=True)
class OperatorView:
    """What the operator knows as it decides for the next tick. Unknown numbers are NaN.

    Histories are float64 (12,), one number per interval, newest first. Raises ValueError where an
    array has another shape.

    Attributes:
        hour_of_day: local clock at the start of the next tick, 0..24.
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
        expected_load_w: float64 (12,), mean of the current hour and each of the next 11.
        expected_weather_w: float64 (12,), weather-driven output of the same hours.
        containment_size_w: containment reserve of the scenario at level 1, each direction.
        restoration_size_w: restoration reserve of the scenario at level 1, each direction.
        reserve_asked_w: float64 (4,), of each of `RESERVE_PRODUCTS` in the last tick.
        reserve_bought_w: float64 (4,), likewise.
        reserve_price_per_mw_h: float64 (4,), likewise; NaN where nothing was bought.
        largest_unit_w: output of the largest running unit.
        inertia_kws: kinetic energy of running machines, kW s.
        flow_w: from outside in the last interval, export negative.
        import_limit_w: of the connection; 0 where it is away.
        export_limit_w: of the connection; 0 where it is away.
        voltage_pu: float64 (2,), lowest and highest of the feeder.
        storage_up_w: power that storage could add now.
        storage_down_w: power that storage could take now.
        emergency: the emergency protocol is active.
        shed_share: share of the load that relays have cut off, 0..1.
        price_per_mwh: last clearing price.
        price_forecast_per_mwh: float64 (6,), the current hour and the next 5.
        uniforms: float64 (4,), the policy's own randomness for this tick.
    """

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
    reserve_asked_w: Float
    reserve_bought_w: Float
    reserve_price_per_mw_h: Float
    largest_unit_w: float
    inertia_kws: float
    flow_w: float
    import_limit_w: float
    export_limit_w: float
    voltage_pu: Float
    storage_up_w: float
    storage_down_w: float
    emergency: bool
    shed_share: float
    price_per_mwh: float
    price_forecast_per_mwh: Float
    uniforms: Float

    LENGTHS: ClassVar[dict[str, int]] = {
        **dict.fromkeys(("end_hz", "minimum_hz", "maximum_hz"), HISTORY),
        **dict.fromkeys(("imbalance_w", "secondary_share", "unserved_w"), HISTORY),
        **dict.fromkeys(("expected_load_w", "expected_weather_w"), FORECAST),
        **dict.fromkeys(("reserve_asked_w", "reserve_bought_w"), len(RESERVE_PRODUCTS)),
        "reserve_price_per_mw_h": len(RESERVE_PRODUCTS),
        "voltage_pu": 2,
        "price_forecast_per_mwh": PRICE_FORECAST,
        "uniforms": UNIFORMS,
    }

    def __post_init__(self) -> None:
        for name, length in self.LENGTHS.items():
            shape = np.shape(getattr(self, name))
            if shape != (length,):
                raise ValueError(f"{name} has shape {shape}, expected ({length},)")


@dataclass(frozen=True)
class Block:
    """Neighbouring numbers of an observation."""

    name: str
    size: int
    meaning: str
    normalisation: str


_EACH_PRODUCT = "of each product, " + ", ".join(RESERVE_PRODUCTS)
_HOURS = "in the hours " + ", ".join(f"+{hour}" for hour in HOURS_SHOWN)
BLOCKS = (
    Block("hour", 2, "sine and cosine of the time of day", "none"),
    Block("tick", 1, "length of a tick", "/ 60 minutes"),
    Block("nominal", 1, "nominal frequency", "(Hz - 55) / 5"),
    Block("end", 12, "deviation at the end of each interval, newest first", "/ 1 % of nominal"),
    Block("minimum", 3, "lowest deviation of the last 1, 3, 12 intervals", "/ 2 % of nominal"),
    Block("maximum", 3, "highest deviation of the last 1, 3, 12 intervals", "/ 2 % of nominal"),
    Block("imbalance", 12, "imbalance before response, newest first", "/ 10 % of peak load"),
    Block("secondary", 2, "output of secondary control, last and mean of 12", "share of reserve"),
    Block("unserved", 2, "load not served, last and mean of 12", "/ 10 % of peak load"),
    Block("load", 6, f"expected load {_HOURS}", "/ peak load"),
    Block("weather", 6, f"expected weather-driven output {_HOURS}", "/ peak load"),
    Block("asked", 4, f"reserve asked for {_EACH_PRODUCT}", "/ twice its size at level 1"),
    Block("bought", 4, "reserve bought of each product", "share of asked; 0 where none was"),
    Block("reserve_price", 4, "price of each product per MW and hour", "asinh(p / 50) / 7"),
    Block("largest_unit", 1, "output of the largest running unit", "/ peak load"),
    Block("inertia", 1, "kinetic energy over peak load, s", "/ 10 s"),
    Block("flow", 3, "flow from outside; room for import; for export", "/ peak load"),
    Block("voltage", 2, "lowest and highest voltage", "(pu - 1) / 0.1"),
    Block("storage", 2, "headroom of storage up and down", "/ peak load"),
    Block("emergency", 1, "the emergency protocol is active", "0 or 1"),
    Block("shed", 1, "share of the load that relays have cut off", "none"),
    Block("price", 7, "last price; price forecast of hours +0 to +5", "asinh(p / 50) / 7"),
)
"""The observation, block by block. Everything is clipped to [-1, 1]; what is unknown is 0."""
OBSERVATION = sum(block.size for block in BLOCKS)


def observe(view: OperatorView) -> NDArray[np.float32]:
    """The observation of a view, float32 (80,): see `BLOCKS`; in [-1, 1] whatever the view holds.

    Prices pass an inverse hyperbolic sine (Uniejewski, Weron, Ziel, Variance stabilizing
    transformations for electricity spot price forecasting, IEEE Trans. Power Systems 33, 2018).
    """
    angle = 2 * np.pi * view.hour_of_day / 24
    hours, hz, peak = list(HOURS_SHOWN), view.nominal_hz, view.peak_load_w
    sizes = np.array([view.containment_size_w] * 2 + [view.restoration_size_w] * 2)
    with np.errstate(all="ignore"):
        room = (view.import_limit_w - view.flow_w, view.export_limit_w + view.flow_w)
        parts = (
            (np.sin(angle), np.cos(angle)),
            view.tick_minutes / 60,
            (hz - 55) / 5,
            _share(view.end_hz - hz, 0.01 * hz),
            _share([-_highest(-view.minimum_hz[:n]) - hz for n in (1, 3, HISTORY)], 0.02 * hz),
            _share([_highest(view.maximum_hz[:n]) - hz for n in (1, 3, HISTORY)], 0.02 * hz),
            _share(view.imbalance_w, 0.1 * peak),
            _last_and_mean(view.secondary_share),
            _share(_last_and_mean(view.unserved_w), 0.1 * peak),
            _share(view.expected_load_w[hours], peak),
            _share(view.expected_weather_w[hours], peak),
            _share(view.reserve_asked_w, 2 * sizes),
            _share(view.reserve_bought_w, view.reserve_asked_w),
            _squeezed(view.reserve_price_per_mw_h),
            _share(view.largest_unit_w, peak),
            _share(view.inertia_kws * 1000, 10 * peak),
            _share((view.flow_w, *room), peak),
            (view.voltage_pu - 1) / 0.1,
            _share((view.storage_up_w, view.storage_down_w), peak),
            float(view.emergency),
            view.shed_share,
            _squeezed(np.append(view.price_per_mwh, view.price_forecast_per_mwh)),
        )
        values = np.concatenate([np.atleast_1d(part) for part in parts])
    seen: NDArray[np.float32] = np.clip(np.nan_to_num(values), -1.0, 1.0).astype(np.float32)
    return seen


def levels(action: int) -> tuple[float, float]:
    """Reserve level and activation level of an action.

    Raises:
        ValueError: where `action` is not a whole number from 0 to 24.
    """
    try:
        index = operator.index(action)
    except TypeError:
        index = -1
    if not 0 <= index < ACTIONS:
        raise ValueError(f"action {action!r} is not a whole number from 0 to {ACTIONS - 1}")
    reserve, activation = divmod(index, len(ACTIVATION_LEVELS))
    return RESERVE_LEVELS[reserve], ACTIVATION_LEVELS[activation]


def action_of(reserve_level: float, activation_level: float) -> int:
    """The action of two levels; both must be in their tuples."""
    reserve = RESERVE_LEVELS.index(reserve_level)
    return len(ACTIVATION_LEVELS) * reserve + ACTIVATION_LEVELS.index(activation_level)


@dataclass(frozen=True)
class OperatorTraits:
    """What a policy declares about itself, as `swarm.agents.policy.Traits`."""

    stochastic: bool
    """Acts on `view.uniforms`."""
    needs_training: bool
    has_memory: bool
    """Its actions depend on earlier calls."""


class OperatorPolicy(Protocol):
    """Acts for the operator once a tick."""

    traits: OperatorTraits

    def act(self, observation: NDArray[np.float32], view: OperatorView) -> int:
        """The action for the next tick, 0..24, from `observe(view)` and the view itself."""


class Heuristic:
    """Sizes reserve by the recent imbalance and the largest unit, activation by frequency.

    Reserve is the least level at which restoration covers three standard deviations of the change
    of the imbalance from interval to interval (a probabilistic size) and restoration with
    containment covers the loss of the largest running unit (the reference incident). After the
    ENTSO-E System Operation Guideline, Regulation (EU) 2017/1485, article 157, which asks
    restoration alone to cover the incident. Where no level suffices, the highest; where fewer than
    three changes are known, level 1 or more. While load went unserved in the last 12 intervals,
    the lowest: reserve is held out of the energy that is lacking.
    """

    traits = OperatorTraits(stochastic=False, needs_training=False, has_memory=False)

    def act(self, observation: NDArray[np.float32], view: OperatorView) -> int:
        """See `OperatorPolicy`."""
        return action_of(_reserve_level(view), _activation_level(view))


class Random:
    """Uniform over the actions: the floor any policy must beat."""

    traits = OperatorTraits(stochastic=True, needs_training=False, has_memory=False)

    def act(self, observation: NDArray[np.float32], view: OperatorView) -> int:
        """See `OperatorPolicy`."""
        return int(view.uniforms[0] * ACTIONS)


POLICIES: dict[str, type[OperatorPolicy]] = {"heuristic": Heuristic, "random": Random}


def _reserve_level(view: OperatorView) -> float:
    if (view.unserved_w > 0).any():
        return RESERVE_LEVELS[0]
    change = np.diff(view.imbalance_w)
    change = change[np.isfinite(change)]
    known = len(change) >= 3
    swing_w = DEVIATIONS * _deviation(change) if known else 0.0
    incident_w = float(np.nan_to_num(view.largest_unit_w))
    for level in RESERVE_LEVELS:
        restoration_w = level * view.restoration_size_w
        covered = restoration_w + level * view.containment_size_w >= incident_w
        if restoration_w >= swing_w and covered and (known or level >= _NORMAL):
            return level
    return RESERVE_LEVELS[-1]


def _deviation(change: Float) -> float:
    """Standard deviation from the median absolute deviation, which a single outage does not move.

    1.4826 makes it that of a normal distribution (Rousseeuw, Croux, Alternatives to the median
    absolute deviation, Journal of the American Statistical Association 88, 1993).
    """
    return 1.4826 * float(np.median(np.abs(change - np.median(change))))


def _activation_level(view: OperatorView) -> float:
    """By where the last interval ended: the next one starts there."""
    deviation_hz = abs(float(view.end_hz[0]) - view.nominal_hz) - _TOLERANCE_HZ
    inner_hz, outer_hz = (limit * view.nominal_hz / 50 for limit in BAND_HZ)
    if view.emergency or deviation_hz > outer_hz:
        return 2.0
    return 1.5 if deviation_hz > inner_hz else _NORMAL


def _share(values: Float | list[float] | tuple[float, ...] | float, whole: Float | float) -> Float:
    """`values / whole`, NaN where there is no whole."""
    share: Float = np.asarray(values) / np.where(np.asarray(whole) > 0, whole, np.nan)
    return share


def _highest(values: Float) -> float:
    """The highest known value, NaN where none is."""
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else np.nan


def _last_and_mean(values: Float) -> tuple[float, float]:
    """The newest value and the mean of those known, NaN where none is."""
    known = values[np.isfinite(values)]
    return float(values[0]), float(known.mean()) if len(known) else np.nan


def _squeezed(price: Float) -> Float:
    squeezed: Float = np.arcsinh(price / PRICE_SCALE) / PRICE_SPAN
    return squeezed
