"""The perfect-foresight optimum of one battery against a price series, as a mixed-integer program.

What storage policies are measured by. With charge c and discharge g (MW at the meter), stored
energy e (MWh) and tick length h (hours):

    maximise    sum_t h (price_t (g_t - c_t) - wear g_t)  +  end_value (e_T - e_0)
    subject to  e_t+1 = kept(e_t) + charge_efficiency h c_t - h g_t / discharge_efficiency
                floor <= e_t <= ceiling,  0 <= c_t <= power u_t,  0 <= g_t <= power (1 - u_t)

`kept` is `swarm.agents.battery.after_loss`: self-discharge, which does not take the energy below
the floor. The binary u_t forbids charging and discharging at once, which the plain linear program
does where it is paid to burn energy (Morales, Linear and second-order-cone valid inequalities for
problems with storage, arXiv:2506.21470, 2025). Charging one more MWh and discharging what it gives
back leaves the stored energy as it was and earns

    -price (1 - round_trip) - wear round_trip,

so u_t has to be a whole number only where that is above zero; elsewhere one flow alone does the
same for no less (Al Taha, Bitar, When are lossy energy storage optimization models convex?,
arXiv:2403.14010, 2024).

Where more than `WHOLE` ticks need one, the program is solved by relax-and-fix (Pochet, Wolsey:
Production Planning by Mixed Integer Programming, 2006, ch. 3.6): whole numbers in the next `WHOLE`
of those ticks, relaxed in the `AHEAD` ticks after them, the first `FIXED` of them kept, and on from
there. `Optimum.bound`, the relaxed program of the whole series, says how far the plan can be from
the best. HiGHS solves them (Huangfu, Hall, Parallelizing the dual revised simplex method,
Mathematical Programming Computation 10, 2018).

The plan is then run by `battery.run` in whole watts, so that its profit is what a run can earn: at
most a watt in each tick below the program's, and what self-discharge takes of a floor above zero.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from swarm.agents import battery
from swarm.agents.battery import Battery
from swarm.errors import RunError
from swarm.messages import Float, Int

WHOLE, FIXED = 24, 12
AHEAD = 288
GAP = 1e-5
"""Relative gap between the plan of one mixed-integer program and its bound."""


@dataclass(frozen=True)
class Optimum:
    """The best plan for one battery.

    Attributes:
        profit: what `profit` makes of the plan, currency.
        bound: no plan earns more than this.
        power_w: int64 (ticks,), at the meter, discharge positive.
        stored_mwh: float64 (ticks + 1,), from the start to the end.
    """

    profit: float
    bound: float
    power_w: Int
    stored_mwh: Float


def profit(
    p: Battery,
    agent: int,
    price_per_mwh: ArrayLike,
    power_mw: ArrayLike,
    gained_mwh: float,
    tick_hours: float,
    end_value_per_mwh: float = 0.0,
) -> float:
    """Revenue less wear, plus the value of the energy gained from start to end, currency.

    Args:
        p: batteries.
        agent: row of the battery in `p`.
        price_per_mwh: (ticks,).
        power_mw: (ticks,), at the meter, discharge positive.
        gained_mwh: stored energy at the end less that at the start.
        tick_hours: length of a tick.
        end_value_per_mwh: value of a stored MWh at the end.
    """
    power, price = np.asarray(power_mw, np.float64), np.asarray(price_per_mwh, np.float64)
    wear = float(p.degradation_cost_per_mwh[agent]) * np.maximum(power, 0.0)
    return float(np.sum(price * power - wear) * tick_hours) + end_value_per_mwh * gained_mwh


def optimum(
    p: Battery,
    agent: int,
    price_per_mwh: ArrayLike,
    tick_hours: float,
    *,
    start_mwh: float | None = None,
    end_value_per_mwh: float = 0.0,
) -> Optimum:
    """The plan of one battery that earns most at prices it knows and does not move.

    Args:
        p: batteries.
        agent: row of the battery in `p`.
        price_per_mwh: (ticks,), one tick or more.
        tick_hours: length of a tick.
        start_mwh: stored energy before the first tick; None: that of `p`.
        end_value_per_mwh: value of a stored MWh at the end; 0: what is left is worth nothing.

    Raises:
        ValueError: prices that are not finite numbers in one row, a tick without length, an end
            value that is not finite, a start outside floor and ceiling, or negative wear.
        RunError: where the solver finds no optimum.
    """
    price = np.asarray(price_per_mwh, dtype=np.float64)
    start = float(p.initial_mwh[agent]) if start_mwh is None else float(start_mwh)
    _check(p, agent, price, tick_hours, start, end_value_per_mwh)
    one = Battery(**{f.name: getattr(p, f.name)[agent : agent + 1] for f in fields(p)})
    bound, wanted_w = 0.0, np.zeros(len(price), dtype=np.int64)
    if one.power_mw[0] > 0:
        bound, wanted_mw = _plan(one, price, tick_hours, start, end_value_per_mwh)
        wanted_w = np.rint(wanted_mw * 1e6).astype(np.int64)
    power_w, stored = np.zeros(len(price), dtype=np.int64), np.full(len(price) + 1, start)
    for tick in range(len(price)):
        ran, left = battery.run(one, stored[tick : tick + 1], wanted_w[tick], tick_hours)
        power_w[tick], stored[tick + 1] = ran[0], left[0]
    gained = float(stored[-1]) - start
    earned = profit(one, 0, price, power_w / 1e6, gained, tick_hours, end_value_per_mwh)
    return Optimum(earned, max(bound, earned), power_w, stored)


def _plan(
    p: Battery, price: Float, hours: float, start_mwh: float, end_value: float
) -> tuple[float, Float]:
    """Bound on the profit of the one battery in `p`, and its plan, MW, discharge positive."""
    round_trip = float(p.charge_efficiency[0] * p.discharge_efficiency[0])
    wear = float(p.degradation_cost_per_mwh[0])
    burning = np.flatnonzero(-price * (1 - round_trip) > wear * round_trip)
    relaxed = _solve(p, price, hours, start_mwh, end_value, burning[:0])
    power = relaxed.power_mw
    at, stored = (0 if len(burning) else len(price)), start_mwh
    while at < len(price):
        left = burning[burning >= at]
        last = len(left) <= WHOLE
        stop = len(price) if last else int(left[FIXED])
        end = len(price) if last else min(len(price), int(left[WHOLE]) + AHEAD)
        value = end_value if end == len(price) else 0.0
        part = _solve(p, price[at:end], hours, stored, value, left[:WHOLE] - at)
        power[at:stop] = part.power_mw[: stop - at]
        at, stored = stop, float(part.stored_mwh[stop - at])
    return relaxed.profit, power


@dataclass(frozen=True)
class _Solved:
    """Profit, power (ticks,) and stored energy (ticks + 1,) of one program."""

    profit: float
    power_mw: Float
    stored_mwh: Float


def _solve(
    p: Battery, price: Float, hours: float, start_mwh: float, end_value: float, whole: Int
) -> _Solved:
    """The program of the one battery in `p`, with u a whole number in the ticks `whole`."""
    # In units of its power the solver's tolerances mean the same for a home and a power station.
    size, ticks = float(p.power_mw[0]), len(price)
    floor, ceiling = float(p.floor_mwh[0]) / size, float(p.ceiling_mwh[0]) / size
    gain, drain = float(p.charge_efficiency[0]) * hours, hours / float(p.discharge_efficiency[0])
    share, wear = float((1 - p.self_discharge_per_hour[0]) ** hours), p.degradation_cost_per_mwh[0]
    # `kept` = max(share e, floor) bends near the floor; the line from the floor to the ceiling is
    # above it by less than what self-discharge takes of the floor in a tick.
    chord = (share * ceiling - floor) / (ceiling - floor) if share * ceiling > floor else 0.0

    # Columns: charge, discharge, stored before each tick and at the end, kept, u.
    one = sparse.identity(ticks, format="csr")
    column = sparse.csr_matrix((ticks, 1))
    before, after = sparse.hstack([one, column]), sparse.hstack([column, one])
    rows = [
        [-gain * one, drain * one, after, -one, None],  # = 0
        [one, None, None, None, -one],  # <= 0
        [None, one, None, None, one],  # <= 1
        [None, None, -share * before, one, None],  # >= 0
        [None, None, -chord * before, one, None],  # <= (1 - chord) floor
    ]
    least = (0, -np.inf, -np.inf, 0, -np.inf)
    most = (0, 0, 1, np.inf, (1 - chord) * floor)
    sizes = (ticks, ticks, ticks + 1, ticks, ticks)
    low = _columns(sizes, (0, 0, floor, floor, 0))
    high = _columns(sizes, (1, 1, ceiling, ceiling, 1))
    low[2 * ticks] = high[2 * ticks] = np.clip(start_mwh / size, floor, ceiling)
    earns = _columns(sizes, (-price * hours, (price - wear) * hours, 0, 0, 0))
    earns[3 * ticks] = end_value
    integrality = np.zeros(len(earns))
    integrality[4 * ticks + 1 + whole] = 1
    solved = milp(
        -earns,
        integrality=integrality,
        bounds=Bounds(low, high),
        constraints=LinearConstraint(
            sparse.bmat(rows, format="csr"), np.repeat(least, ticks), np.repeat(most, ticks)
        ),
        options={"mip_rel_gap": GAP},
    )
    if solved.x is None or not solved.success:
        raise RunError(f"no optimum of {ticks} ticks found: {solved.message}")
    # One flow of the same effect in place of two, where they came out equal.
    change = gain * solved.x[:ticks] - drain * solved.x[ticks : 2 * ticks]
    return _Solved(
        profit=-size * float(solved.fun) - end_value * start_mwh,
        power_mw=size * np.where(change > 0, -change / gain, -change / drain),
        stored_mwh=size * solved.x[2 * ticks : 3 * ticks + 1],
    )


def _columns(sizes: tuple[int, ...], values: tuple[ArrayLike, ...]) -> Float:
    """A value of each column of the program, block after block, from one or many per block."""
    return np.concatenate(
        [np.broadcast_to(value, size) for size, value in zip(sizes, values, strict=True)]
    ).astype(np.float64)


def _check(
    p: Battery, agent: int, price: Float, hours: float, start_mwh: float, end_value: float
) -> None:
    """Refuse what has no optimum or another meaning than the caller's."""
    if price.ndim != 1 or not len(price) or not np.isfinite(price).all():
        raise ValueError(
            f"price_per_mwh of shape {price.shape}: expected one finite number or more in one row"
        )
    if not 0 < hours < np.inf:
        raise ValueError(f"tick_hours {hours}: expected more than 0")
    if not np.isfinite(end_value):
        raise ValueError(f"end_value_per_mwh {end_value}: expected a finite number")
    floor, ceiling = float(p.floor_mwh[agent]), float(p.ceiling_mwh[agent])
    if not floor <= start_mwh <= ceiling:
        raise ValueError(f"start_mwh {start_mwh}: expected {floor} to {ceiling} MWh")
    if p.degradation_cost_per_mwh[agent] < 0:
        wear = p.degradation_cost_per_mwh[agent]
        raise ValueError(f"degradation_cost_per_mwh {wear}: expected zero or more")
