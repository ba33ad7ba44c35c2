"""What one asset of each agent kind is: its parameters, their units, defaults and rules.

Money is in the scenario's currency throughout; `cost_per_mwh` of a scenario in AUD is AUD/MWh.
`None` means "no limit" or "not given", as each field says.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from swarm.scenario.roster import MAX_COST_STEPS

Kind = Literal["consumer", "ev", "generator", "home", "solar", "storage", "wind"]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Efficiency = Annotated[float, Field(gt=0, le=1)]
HourOfDay = Annotated[float, Field(ge=0, lt=24)]
ProfileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
BusName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,63}$")]


class Model(BaseModel):
    """Base of everything in a scenario: frozen, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


BUS = Field(None, description="Bus of the feeder; None: agents are spread over its buses.")
CRITICAL_SHARE = Field(0.5, description="Share of the load that an emergency call never cuts.")
SHED_PRIORITY = Field(5, description="Loads with a lower number are shed first, 0 to 9.")


class CostStep(Model):
    """One step of a stepwise cost curve."""

    up_to_mw: Positive = Field(description="Output at which this step ends, MW.")
    cost_per_mwh: float = Field(description="Incremental cost inside the step, without CO2.")
    emissions_kg_per_mwh: NonNegative | None = Field(
        None, description="CO2 inside the step; None takes the unit's `emissions_kg_per_mwh`."
    )


class Generator(Model):
    """A dispatchable unit: thermal, nuclear, or hydro with an availability profile."""

    capacity_mw: NonNegative = Field(200.0, description="Largest output, MW.")
    min_output_mw: NonNegative = Field(0.0, description="Least stable output while running, MW.")
    marginal_cost_per_mwh: float = Field(60.0, description="Cost at zero output, without CO2.")
    marginal_cost_slope_per_mw: NonNegative = Field(
        0.0, description="Rise of the marginal cost per MW of output (quadratic cost curve)."
    )
    cost_steps: tuple[CostStep, ...] = Field(
        (), max_length=MAX_COST_STEPS, description="Stepwise curve; replaces the two fields above."
    )
    emissions_kg_per_mwh: NonNegative = Field(400.0, description="CO2 per MWh, kg.")
    ramp_mw_per_minute: Positive | None = Field(None, description="Ramp limit; None: no limit.")
    start_cost: NonNegative = Field(0.0, description="Cost of one start.")
    min_up_hours: NonNegative = Field(0.0, description="Least time running after a start.")
    min_down_hours: NonNegative = Field(0.0, description="Least time standing after a stop.")
    mean_time_to_failure_hours: Positive | None = Field(
        None, description="Mean running time between forced outages; None: never fails."
    )
    mean_time_to_repair_hours: Positive = Field(24.0, description="Mean length of an outage.")
    offer_price_per_mwh: float | None = Field(
        None, description="Price of all its offers instead of its cost; None: offers at cost."
    )
    profile: ProfileName | None = Field(
        None, description="Availability series (share of capacity); None: always available."
    )
    renewable: bool = Field(False, description="Counts towards the renewable share (hydro).")
    rated_mva: NonNegative = Field(0.0, description="Machine rating for its inertia, MVA.")
    inertia_s: NonNegative = Field(0.0, description="Inertia constant H on its rating, s.")
    droop: Positive | None = Field(
        0.05, description="Governor droop, per unit on its capacity; None: no governor."
    )
    governor_time_constant_s: NonNegative = Field(0.2, description="Lag of the governor.")
    reheat_time_constant_s: NonNegative = Field(
        8.0, description="Lag of the turbine behind its reheater; 0: none."
    )
    high_pressure_fraction: Share = Field(
        0.3, description="Share of the turbine's power before the reheater, which has no lag."
    )
    bus: BusName | None = BUS

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.min_output_mw > self.capacity_mw:
            raise ValueError(
                f"min_output_mw {self.min_output_mw:g} is above capacity_mw {self.capacity_mw:g}"
            )
        ends = [step.up_to_mw for step in self.cost_steps]
        if ends != sorted(set(ends)):
            raise ValueError("cost_steps must have rising up_to_mw")
        if ends and abs(ends[-1] - self.capacity_mw) > 1e-6 * self.capacity_mw:
            raise ValueError(
                f"the last cost step ends at {ends[-1]:g} MW, not at capacity_mw "
                f"{self.capacity_mw:g}"
            )
        return self


class Variable(Model):
    """A plant whose output the weather limits; it can be curtailed."""

    capacity_mw: NonNegative = Field(10.0, description="Output at full availability, MW.")
    offer_price_per_mwh: float = Field(0.0, description="Price of its offers, at or below zero.")
    site: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Column of its profile; None: agents are spread over the columns."
    )
    bus: BusName | None = BUS

    @model_validator(mode="after")
    def _offer_at_or_below_zero(self) -> Self:
        if self.offer_price_per_mwh > 0:
            raise ValueError(
                f"offer_price_per_mwh {self.offer_price_per_mwh:g} must be at or below zero"
            )
        return self


class Solar(Variable):
    """A photovoltaic plant."""

    profile: ProfileName = Field("solar", description="Availability series, share of capacity.")


class Wind(Variable):
    """A wind farm."""

    profile: ProfileName = Field("wind", description="Availability series, share of capacity.")


class Battery(Model):
    """The battery inside a storage, an electric vehicle or a home."""

    energy_mwh: NonNegative = Field(100.0, description="Usable size between empty and full, MWh.")
    power_mw: NonNegative = Field(25.0, description="Charge and discharge limit at the meter, MW.")
    round_trip_efficiency: Efficiency = Field(
        0.90, description="Energy out over energy in; split evenly (square root) unless given."
    )
    charge_efficiency: Efficiency | None = Field(None, description="Stored over metered in.")
    discharge_efficiency: Efficiency | None = Field(None, description="Metered out over stored.")
    self_discharge_per_hour: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of the stored energy lost per hour."
    )
    degradation_cost_per_mwh: NonNegative = Field(
        5.0, description="Wear per MWh discharged; charging carries none."
    )
    initial_state_of_charge: Share = Field(0.5, description="Stored share at the start.")
    min_state_of_charge: Share = Field(0.0, description="Floor kept at all times.")
    max_state_of_charge: Share = Field(1.0, description="Ceiling kept at all times.")
    buy_quantile: Share = Field(0.25, description="Heuristic: buys at or below this quantile.")
    sell_quantile: Share = Field(0.75, description="Heuristic: sells at or above this quantile.")
    buy_price_per_mwh: float | None = Field(
        None, description="Heuristic: buys at or below this price instead of the quantile."
    )
    sell_price_per_mwh: float | None = Field(
        None, description="Heuristic: sells at or above this price instead of the quantile."
    )
    response_delay_s: NonNegative = Field(
        0.05, description="From a command or a frequency deviation to the first response."
    )
    response_ramp_s: NonNegative = Field(0.1, description="From nothing to full power.")
    bus: BusName | None = BUS

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_state_of_charge > self.max_state_of_charge:
            raise ValueError("min_state_of_charge is above max_state_of_charge")
        if not self.min_state_of_charge <= self.initial_state_of_charge <= self.max_state_of_charge:
            raise ValueError(
                f"initial_state_of_charge {self.initial_state_of_charge:g} is outside "
                f"{self.min_state_of_charge:g}..{self.max_state_of_charge:g}"
            )
        if self.buy_quantile > self.sell_quantile:
            raise ValueError("buy_quantile is above sell_quantile")
        buy, sell = self.buy_price_per_mwh, self.sell_price_per_mwh
        if buy is not None and sell is not None and buy >= sell:
            raise ValueError("buy_price_per_mwh must be below sell_price_per_mwh")
        return self


class Storage(Battery):
    """A grid battery."""


class Ev(Battery):
    """An electric vehicle at its charger; away between departure and arrival."""

    energy_mwh: NonNegative = Field(0.060, description="Usable battery size, MWh.")
    power_mw: NonNegative = Field(0.011, description="Charger limit, MW.")
    arrival_hour: HourOfDay = Field(18.0, description="Plugged in from this local hour.")
    departure_hour: HourOfDay = Field(7.5, description="Leaves at this local hour.")
    required_state_of_charge: Share = Field(0.8, description="Share needed at departure.")
    trip_energy_mwh: NonNegative = Field(0.012, description="Energy used between the two, MWh.")
    vehicle_to_grid: bool = Field(False, description="May discharge to the grid.")

    @model_validator(mode="after")
    def _need(self) -> Self:
        if self.required_state_of_charge > self.max_state_of_charge:
            raise ValueError("required_state_of_charge is above max_state_of_charge")
        if self.arrival_hour == self.departure_hour:
            raise ValueError("arrival_hour equals departure_hour")
        return self


class Consumer(Model):
    """A load with a flexible part that can be shifted in time."""

    load_mw: NonNegative = Field(50.0, description="Load where the profile is 1, MW.")
    flexible_mw: NonNegative = Field(15.0, description="Largest reduction or catch-up, MW.")
    comfort_preference: Annotated[float, Field(ge=0, le=100)] = Field(
        80.0, description="0 (gives up anything) to 100 (gives up nothing cheaply)."
    )
    response_price_per_mwh: NonNegative | None = Field(
        None, description="Price asked for a reduction; None: 1 per MWh per point of comfort."
    )
    shift_window_hours: Positive = Field(4.0, description="A reduction is caught up in this time.")
    load_noise: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0, description="Standard deviation of the load around its profile, share."
    )
    profile: ProfileName = Field("flat", description="Load series, share of load_mw.")
    site: Annotated[int, Field(ge=0)] | None = Field(None, description="Column of its profile.")
    critical_share: Share = CRITICAL_SHARE
    shed_priority: Annotated[int, Field(ge=0, le=9)] = SHED_PRIORITY
    response_delay_s: NonNegative = Field(
        0.5, description="From an emergency call to its flexible load being off."
    )
    bus: BusName | None = BUS

    @model_validator(mode="after")
    def _flexible_within_load(self) -> Self:
        if self.flexible_mw > self.load_mw:
            raise ValueError(f"flexible_mw {self.flexible_mw:g} is above load_mw {self.load_mw:g}")
        return self


class Home(Battery):
    """Solar, load and battery behind one meter; the market sees one agent."""

    energy_mwh: NonNegative = Field(0.010, description="Usable battery size, MWh.")
    power_mw: NonNegative = Field(0.005, description="Battery inverter limit, MW.")
    load_mw: NonNegative = Field(0.003, description="Load where the profile is 1, MW.")
    load_noise: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0, description="Standard deviation of the load around its profile, share."
    )
    load_profile: ProfileName = Field("h0", description="Load series, share of load_mw.")
    solar_mw: NonNegative = Field(0.005, description="Solar output at full availability, MW.")
    solar_profile: ProfileName = Field("solar", description="Availability series.")
    site: Annotated[int, Field(ge=0)] | None = Field(None, description="Column of its profiles.")
    critical_share: Share = CRITICAL_SHARE
    shed_priority: Annotated[int, Field(ge=0, le=9)] = SHED_PRIORITY


ASSETS: dict[str, type[Model]] = {
    "consumer": Consumer,
    "ev": Ev,
    "generator": Generator,
    "home": Home,
    "solar": Solar,
    "storage": Storage,
    "wind": Wind,
}
