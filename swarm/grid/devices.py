"""What the operator knows of every agent before the run: how fast it responds, what it can lose.

Arrays over all n agents in global order, and the few groups of equal dynamics into which the
frequency model puts them. Time constants count in hundredths of a second there: half the step of
the model, and few groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swarm.messages import Float, Int
from swarm.scenario.roster import Roster

BATTERY_KINDS = ("storage", "ev", "home")
FLEXIBLE_KINDS = (*BATTERY_KINDS, "consumer")
LOAD_KINDS = ("consumer", "home")
INVERTER_KINDS = ("solar", "wind", "storage", "ev", "home")
PRIORITIES = 10
INVERTER_DELAY_S = 0.05
INVERTER_RAMP_S = 0.1
"""Of solar and wind plants, as of batteries by default."""
INSTANT = 0.0


@dataclass(frozen=True)
class Groups:
    """Groups of agents with the same dynamics, and to which each agent belongs.

    Attributes:
        of_agent: int64 (n,), group of each agent.
        delay_s: float64 (g,), dead time.
        ramp_s: float64 (g,), from nothing to full response; 0: no limit.
        governor_lag_s: float64 (g,).
        reheat_lag_s: float64 (g,).
        direct_share: float64 (g,), part of the turbine's power that does not pass the reheater.
    """

    of_agent: Int
    delay_s: Float
    ramp_s: Float
    governor_lag_s: Float
    reheat_lag_s: Float
    direct_share: Float


@dataclass(frozen=True)
class Devices:
    """All n agents.

    Attributes:
        kind: kind of each agent, str (n,).
        groups: their dynamics.
        gain_w_per_hz: float64 (n,), governor droop; 0 without a governor.
        shed_priority: int64 (n,), lower is shed first.
        critical_share: float64 (n,), share of the load that a call never cuts.
        rated_va: float64 (n,), rating of an inverter; 0 where there is none.
        bus: bus name of each agent, None where the operator may choose.
    """

    kind: np.ndarray
    groups: Groups
    gain_w_per_hz: Float
    shed_priority: Int
    critical_share: Float
    rated_va: Float
    bus: tuple[str | None, ...]

    def of(self, kinds: Sequence[str]) -> np.ndarray:
        """bool (n,): of one of these kinds."""
        chosen: np.ndarray = np.isin(self.kind, kinds)
        return chosen


def devices(rosters: Sequence[Roster], nominal_hz: float) -> Devices:
    """The devices of all agents, in global order."""
    rows = [(roster.kind, asset) for roster in rosters for asset in roster.assets]
    dynamics = [_dynamics(kind, asset) for kind, asset in rows] or [(0.0,) * 5]
    unique, of_agent = np.unique(np.round(dynamics, 2), axis=0, return_inverse=True)
    return Devices(
        kind=np.array([kind for kind, _ in rows], dtype="<U9"),
        groups=Groups(of_agent.reshape(-1)[: len(rows)].astype(np.int64), *unique.T.copy()),
        gain_w_per_hz=np.array([_gain(kind, asset, nominal_hz) for kind, asset in rows]),
        shed_priority=np.array([a.get("shed_priority", PRIORITIES) for _, a in rows], dtype=int),
        critical_share=np.array([a.get("critical_share", 1.0) for _, a in rows], dtype=float),
        rated_va=np.array([_rated_va(kind, asset) for kind, asset in rows], dtype=float),
        bus=tuple(asset.get("bus") for _, asset in rows),
    )


def _dynamics(kind: str, asset: dict[str, float]) -> tuple[float, ...]:
    """Delay, ramp, governor lag, reheat lag and direct share of one agent."""
    if kind == "generator":
        return (
            INSTANT,
            INSTANT,
            asset["governor_time_constant_s"],
            asset["reheat_time_constant_s"],
            asset["high_pressure_fraction"],
        )
    if kind in BATTERY_KINDS:
        return asset["response_delay_s"], asset["response_ramp_s"], INSTANT, INSTANT, 1.0
    if kind == "consumer":
        return asset["response_delay_s"], INSTANT, INSTANT, INSTANT, 1.0
    return INVERTER_DELAY_S, INVERTER_RAMP_S, INSTANT, INSTANT, 1.0


def _gain(kind: str, asset: dict[str, float | None], nominal_hz: float) -> float:
    """Change of power per change of frequency by droop, W/Hz."""
    droop, capacity = asset.get("droop"), asset.get("capacity_mw")
    if kind != "generator" or droop is None or capacity is None:
        return 0.0
    return capacity * 1e6 / (droop * nominal_hz)


def _rated_va(kind: str, asset: dict[str, float]) -> float:
    """Rating of the inverter: 1.1 times its power, so that full sun leaves room to hold voltage."""
    if kind not in INVERTER_KINDS:
        return 0.0
    if kind == "home":
        return 1.1e6 * (asset["solar_mw"] + asset["power_mw"])
    return 1.1e6 * (asset["capacity_mw"] if kind in ("solar", "wind") else asset["power_mw"])
