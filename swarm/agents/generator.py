"""Dispatchable units: cost curves, ramps, commitment and forced outages.

Commitment heuristic: a unit starts where the price forecast pays its running over its least up
time, and stops where running on through its least down time would lose more than a restart costs:
the price-taker's self-commitment, the problem that Arroyo and Conejo solve exactly (Optimal
response of a thermal unit to an electricity spot market, IEEE Trans. Power Systems 15, 2000). The
forecast prices each unit at its full-load average cost (`commitment_cost`), so the units it needs
are those that it pays: commitment by priority list (Wood, Wollenberg, Sheble: Power Generation,
Operation, and Control, 3rd ed., ch. 4). Running, a unit offers its least output at the floor and
each cost step at its cost, which is optimal for a price-taker under a uniform price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.agents.device import Device, no_device
from swarm.agents.reserve import ReserveShape, by_direction, expected_price, forgone
from swarm.agents.view import Interval, View, watts
from swarm.market.orders import SELL
from swarm.messages import FORECAST_HOURS, Float, Int, Meters, Response, no_meters
from swarm.scenario.roster import MAX_COST_STEPS, Roster
from swarm.trust.rules import Use

ACTION = ("commit", *(f"offer_price_{step}_per_mwh" for step in range(1, MAX_COST_STEPS + 1)))
SIDES = (SELL,) * (1 + MAX_COST_STEPS)
"""Slot 0 is the block of least output, slots 1.. the cost steps above it."""
USES = (Use.GENERATION,) * len(SIDES)
FLEXIBLE = False
RESTORATION_MINUTES = 5
"""Reserve is what the ramp reaches in this time: full activation of restoration reserve in Europe
(ENTSO-E, SO GL and the aFRR implementation framework)."""


@dataclass(frozen=True)
class Parameters:
    """n units. Step arrays are (n, MAX_COST_STEPS), steps not used have no width."""

    capacity_mw: Float
    min_output_mw: Float
    step_end_mw: Float
    step_cost_per_mwh: Float
    """Without CO2."""
    step_emissions_kg_per_mwh: Float
    offer_price_per_mwh: Float
    """NaN: offers at cost."""
    ramp_mw_per_minute: Float
    """Infinite: no limit."""
    start_cost: Float
    min_up_hours: Float
    min_down_hours: Float
    failure_hours: Float
    """Infinite: never fails."""
    repair_hours: Float
    weather_driven: np.ndarray
    """bool: has an availability profile, so unused output counts as curtailed."""
    inertia_kws: Int
    droop: Float
    """Per unit on capacity; infinite: no governor."""


@dataclass
class State:
    """n units; hours count since the last change of `running`."""

    running: np.ndarray
    hours_in_state: Float
    output_mw: Float
    """NaN before the first interval, whose ramp is free."""
    outage_hours: Float
    """Hours of repair left; 0 while sound."""
    starting: np.ndarray


def build(roster: Roster) -> Parameters:
    """Parameters of the units in `roster`; a sloped cost becomes `MAX_COST_STEPS` equal steps."""
    capacity = roster.column("capacity_mw")
    shape = (len(roster), MAX_COST_STEPS)
    end, cost, emissions = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for row, asset in enumerate(roster.assets):
        end[row], cost[row], emissions[row] = _steps(asset)
    return Parameters(
        capacity_mw=capacity,
        min_output_mw=roster.column("min_output_mw"),
        step_end_mw=end,
        step_cost_per_mwh=cost,
        step_emissions_kg_per_mwh=emissions,
        offer_price_per_mwh=roster.column("offer_price_per_mwh"),
        ramp_mw_per_minute=roster.column("ramp_mw_per_minute", missing=np.inf),
        start_cost=roster.column("start_cost"),
        min_up_hours=roster.column("min_up_hours"),
        min_down_hours=roster.column("min_down_hours"),
        failure_hours=roster.column("mean_time_to_failure_hours", missing=np.inf),
        repair_hours=roster.column("mean_time_to_repair_hours"),
        weather_driven=np.array([a["profile"] is not None for a in roster.assets], dtype=bool),
        inertia_kws=np.rint(roster.column("rated_mva") * roster.column("inertia_s") * 1000).astype(
            np.int64
        ),
        droop=roster.column("droop", missing=np.inf),
    )


def _steps(asset: dict[str, object]) -> tuple[Float, Float, Float]:
    """End (MW), cost and emissions of each step of one unit, (MAX_COST_STEPS,) each."""
    end = np.full(MAX_COST_STEPS, asset["capacity_mw"], dtype=np.float64)
    cost = np.full(MAX_COST_STEPS, asset["marginal_cost_per_mwh"], dtype=np.float64)
    emissions = np.full(MAX_COST_STEPS, asset["emissions_kg_per_mwh"], dtype=np.float64)
    slope = asset["marginal_cost_slope_per_mw"]
    steps: tuple[dict[str, float | None], ...] = asset["cost_steps"]  # type: ignore[assignment]
    if steps:
        unit = emissions[0]
        for index, step in enumerate(steps):
            end[index], cost[index:] = step["up_to_mw"], step["cost_per_mwh"]
            own = step["emissions_kg_per_mwh"]
            emissions[index:] = unit if own is None else own
    elif slope:
        end *= np.arange(1, MAX_COST_STEPS + 1) / MAX_COST_STEPS
        # The mean marginal cost of a step makes the total exact at its ends.
        cost += slope * (end - end[0] / 2)
    return end, cost, emissions


def series(roster: Roster) -> dict[str, tuple[str, ...]]:
    """World series each agent needs: availability; `flat` where it has no profile."""
    return {"availability": tuple(asset["profile"] or "flat" for asset in roster.assets)}


def start(p: Parameters) -> State:
    """Standing, free to start, sound."""
    n = len(p.capacity_mw)
    return State(
        running=np.zeros(n, dtype=bool),
        hours_in_state=np.full(n, np.inf),
        output_mw=np.full(n, np.nan),
        outage_hours=np.zeros(n),
        starting=np.zeros(n, dtype=bool),
    )


def device(p: Parameters, s: State, hours: float, hour_of_day: float) -> Device:
    """What rules need to know before the coming tick; a MWh emits what the dirtiest step does."""
    known = no_device(len(p.capacity_mw))
    output = np.nan_to_num(s.output_mw)
    used = np.diff(p.step_end_mw, axis=1, prepend=0.0) > 0
    known["previous_w"] = np.rint(output * 1e6)
    known["emissions_g_per_mwh"] = np.max(used * p.step_emissions_kg_per_mwh, axis=1) * 1e3
    known["emitted_g"] = _fuel(p, p.step_cost_per_mwh, output, hours)[1].astype(np.float64)
    return Device(**known)


def full_cost_per_mwh(p: Parameters, carbon_price_per_tonne: float) -> Float:
    """Cost of each step with CO2, per MWh, (n, MAX_COST_STEPS)."""
    return p.step_cost_per_mwh + p.step_emissions_kg_per_mwh * (carbon_price_per_tonne / 1000)


def heuristic(p: Parameters, s: State, view: View) -> Float:
    """Self-commitment on the price forecast, offers at cost, (n, 1 + MAX_COST_STEPS)."""
    cost = full_cost_per_mwh(p, view.signal.carbon_price_per_tonne)
    price = np.where(np.isnan(p.offer_price_per_mwh)[:, None], cost, p.offer_price_per_mwh[:, None])
    return np.column_stack([_wants_to_run(p, s, view, cost), price])


def random(p: Parameters, s: State, view: View) -> Float:
    """Always ready to run, offers at cost plus up to twice the cost, (n, 1 + MAX_COST_STEPS)."""
    cost = full_cost_per_mwh(p, view.signal.carbon_price_per_tonne)
    markup = 2.0 * view.uniforms[:, :1] * np.maximum(np.abs(cost), 1.0)
    return np.column_stack([np.ones(len(cost)), cost + markup])


def free_to_switch(p: Parameters) -> np.ndarray:
    """bool (n,): nothing binds the unit to run, so it always stands ready."""
    free: np.ndarray = (p.min_output_mw == 0) & (p.start_cost == 0)
    return free


def commitment_cost(p: Parameters) -> tuple[Float, Float]:
    """What the forecast prices each step at: cost per MWh without CO2, and kg CO2 per MWh.

    The full-load average, by which a priority list ranks units; for units that are free to
    switch, the cost of each step, (n, MAX_COST_STEPS) each.
    """
    width = np.diff(p.step_end_mw, axis=1, prepend=0.0)
    capacity = np.maximum(p.capacity_mw, 1e-9)
    cost = (width * p.step_cost_per_mwh).sum(axis=1) / capacity
    emissions = (width * p.step_emissions_kg_per_mwh).sum(axis=1) / capacity
    free = free_to_switch(p)[:, None]
    return (
        np.where(free, p.step_cost_per_mwh, cost[:, None]),
        np.where(free, p.step_emissions_kg_per_mwh, emissions[:, None]),
    )


def _wants_to_run(p: Parameters, s: State, view: View, cost: Float) -> np.ndarray:
    """bool (n,): running pays over the hours the unit would be bound to the choice."""
    profit = _hourly_profit(p, cost, view.signal.price_forecast)
    hours = np.where(s.running, p.min_down_hours, p.min_up_hours)
    bound = np.clip(np.ceil(hours), 1, FORECAST_HOURS).astype(np.int64)
    total = np.take_along_axis(np.cumsum(profit, axis=1), bound[:, None] - 1, axis=1)[:, 0]
    # The forecast is on the market's grid: half a milli per MWh either way is no loss.
    rounding = 0.001 * p.capacity_mw * bound
    standing_still = np.where(s.running & ~np.isnan(s.output_mw), -p.start_cost, 0.0)
    return free_to_switch(p) | (total >= standing_still - rounding)


def _hourly_profit(p: Parameters, cost: Float, price: Float) -> Float:
    """Best profit of running through each hour at `price` (hours,), (n, hours)."""
    profit = np.zeros((len(cost), len(price)))
    low = np.zeros(len(cost))
    for step in range(MAX_COST_STEPS):
        high = p.step_end_mw[:, step]
        margin = price - cost[:, step : step + 1]
        bound = np.clip(p.min_output_mw, low, high) - low
        profit += margin * bound[:, None]
        profit += np.maximum(margin, 0.0) * (high - low - bound)[:, None]
        low = high
    return profit


def offer(p: Parameters, s: State, view: View, action: Float) -> tuple[Float, Int]:
    """Decide who runs in the coming tick; block of least output and steps, (n, 1 + steps) each."""
    available = p.capacity_mw * np.clip(view.forecast["availability"], 0.0, 1.0)
    low, high = _range(p, s, available, view.tick_hours)
    sound = (s.outage_hours <= 0) & ~view.standing
    first = np.isnan(s.output_mw)
    hours = s.hours_in_state + 1e-9
    may_start = ~s.running & ((hours >= p.min_down_hours) | first)
    may_stop = s.running & (hours >= p.min_up_hours) & (low <= p.min_output_mw)
    runs = np.where(s.running, ~(may_stop & (action[:, 0] < 0.5)), may_start & (action[:, 0] > 0.5))
    runs &= sound & (available >= p.min_output_mw)
    s.starting = runs & ~s.running & ~first
    s.hours_in_state = np.where(runs == s.running, s.hours_in_state, 0.0)
    s.running = runs

    ends = np.clip(p.step_end_mw, low[:, None], high[:, None])
    starts = np.concatenate([low[:, None], ends[:, :-1]], axis=1)
    steps = watts(ends) - watts(starts)
    quantity = np.column_stack([watts(low), np.maximum(steps, 0)])
    quantity[~runs] = 0
    block = np.full((len(low), 1), view.signal.price_floor)
    return np.concatenate([block, action[:, 1:]], axis=1), quantity


def _range(p: Parameters, s: State, available_mw: Float, hours: float) -> tuple[Float, Float]:
    """Least and most output in the coming interval for a unit that runs, MW, (n,) each.

    A ramp starts from the last output; a start may reach the least output at once.
    """
    reach = p.ramp_mw_per_minute * hours * 60
    free = np.isnan(s.output_mw)
    last = np.where(free, 0.0, s.output_mw)
    least = np.where(free, p.min_output_mw, np.maximum(p.min_output_mw, last - reach))
    most = np.where(free, np.inf, np.maximum(p.min_output_mw, last + reach))
    high = np.minimum(available_mw, most)
    return np.minimum(least, high), high


def _reach_w(p: Parameters) -> Int:
    """Change of output within `RESTORATION_MINUTES`, at most its capacity, watts, (n,)."""
    return watts(np.minimum(p.ramp_mw_per_minute * RESTORATION_MINUTES, p.capacity_mw))


def reserve(
    p: Parameters, s: State, view: View, price: Float, quantity: Int
) -> ReserveShape | None:
    """Headroom of running units: containment as far as droop gives it, the rest as restoration.

    Upwards it is taken out of the energy orders, dearest step first, and asks what the top step is
    expected to earn; downwards only what the ramp keeps it above its least output for certain.
    Activation costs the top step upwards and saves the lowest downwards.
    """
    reach = _reach_w(p)
    up = np.minimum(quantity[:, 1:].sum(axis=1), reach)
    down = np.minimum(np.maximum(quantity[:, 0] - watts(p.min_output_mw), 0), reach)
    governed = watts(p.capacity_mw * np.minimum(view.full_containment_pu / p.droop, 1.0))
    asked = view.signal.reserve_w
    containment_up = np.minimum(up, governed) * (asked[0] > 0)
    containment_down = np.minimum(down, governed) * (asked[1] > 0)
    cost = full_cost_per_mwh(p, view.signal.carbon_price_per_tonne)
    top, lowest = cost[:, -1], cost[:, 0]
    return ReserveShape(
        quantity=np.column_stack(
            [containment_up, containment_down, up - containment_up, down - containment_down]
        ),
        price=by_direction(forgone(expected_price(view.signal) - top), np.zeros(len(top))),
        energy_price=by_direction(top, lowest),
        spare=np.column_stack([np.zeros_like(down), down]),
    )


def deliver(p: Parameters, s: State, interval: Interval) -> Meters:
    """Generate what was accepted, inside ramps and least output; failures strike first."""
    hours = interval.tick_hours
    available = p.capacity_mw * np.clip(interval.actual["availability"], 0.0, 1.0)
    low, high = _range(p, s, available, hours)
    trips = s.running & (interval.uniforms[:, 0] < -np.expm1(-hours / p.failure_hours))
    repair = -np.log1p(-interval.uniforms[:, 1]) * p.repair_hours
    failed = trips | interval.failed
    wanted = interval.accepted_w.sum(axis=1)
    # Who was to start and got no contract stays off, and may start in the next tick.
    idle = s.running & (s.starting | np.isnan(s.output_mw)) & (wanted == 0)
    idle &= p.min_output_mw > 0
    if interval.reserved is not None:
        idle &= ~interval.reserved
    s.running, s.starting = s.running & ~idle, s.starting & ~idle
    s.hours_in_state = np.where(idle, np.inf, s.hours_in_state)
    trips &= ~idle
    sound = (s.outage_hours <= 0) & ~failed
    ran = s.running
    # The interval of the trip is the first of the repair.
    s.outage_hours = np.maximum(0.0, np.where(trips, repair, s.outage_hours) - hours)
    started = s.starting & ~failed
    s.hours_in_state = np.where(ran & failed, 0.0, s.hours_in_state + hours)
    s.running = ran & ~failed
    s.starting = np.zeros_like(s.starting)

    unhurt = np.clip(wanted, watts(low), watts(high))
    output = np.where(s.running, unhurt, 0)
    s.output_mw = output / 1e6

    meters = no_meters(len(output))
    meters["delivered_w"] = meters["generation_w"] = output
    meters["available_w"] = np.where(sound, watts(available), 0)
    meters["curtailed_w"] = np.where(p.weather_driven, meters["available_w"] - output, 0)
    cost = full_cost_per_mwh(p, interval.carbon_price_per_tonne)
    fuel, meters["emissions_g"] = _fuel(p, cost, s.output_mw, hours)
    meters["cost_micro"] = np.rint((fuel + started * p.start_cost) * 1e6).astype(np.int64)
    last_step = np.minimum((p.step_end_mw < s.output_mw[:, None]).sum(axis=1), MAX_COST_STEPS - 1)
    marginal = np.take_along_axis(cost, last_step[:, None], axis=1)[:, 0]
    meters["marginal_cost_milli"] = np.where(output > 0, np.rint(marginal * 1e3), 0).astype(
        np.int64
    )
    meters["inertia_kws"] = np.where(s.running, p.inertia_kws, 0)
    if interval.physical:
        reach = _reach_w(p)
        up = np.minimum(np.maximum(watts(available) - output, 0), reach)
        down = np.minimum(np.maximum(output - watts(p.min_output_mw), 0), reach)
        meters["up_w"], meters["down_w"] = np.where(s.running, [up, down], 0)
        struck = trips if interval.struck is None else trips | interval.struck
        meters["sudden_w"] = np.where(ran & struck, -unhurt, 0)
    return Meters(**meters)


def _fuel(p: Parameters, cost: Float, output_mw: Float, hours: float) -> tuple[Float, Int]:
    """Cost at `cost` per MWh of each step (n, steps), and emissions in g, of one interval, (n,)."""
    used = np.diff(np.minimum(p.step_end_mw, output_mw[:, None]), axis=1, prepend=0.0)
    emitted = (used * p.step_emissions_kg_per_mwh).sum(axis=1) * hours
    return (used * cost).sum(axis=1) * hours, np.rint(emitted * 1e3).astype(np.int64)


def respond(
    p: Parameters, s: State, response: Response, hours: float, carbon: float
) -> tuple[Int, Int]:
    """The last interval's output was what really flowed: the next ramp starts there.

    Returns:
        Cost (micro-currency) and emissions (g) of the difference, int64 (n,) each; negative where
        fuel was saved.
    """
    cost = full_cost_per_mwh(p, carbon)
    change_mw = (response.activated_w - response.held_back_w) / 1e6
    output = np.where(s.running, np.clip(s.output_mw + change_mw, 0.0, p.capacity_mw), s.output_mw)
    fuel_before, emitted_before = _fuel(p, cost, s.output_mw, hours)
    fuel, emitted = _fuel(p, cost, output, hours)
    s.output_mw = output
    return np.rint((fuel - fuel_before) * 1e6).astype(np.int64), emitted - emitted_before
