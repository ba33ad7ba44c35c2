"""The physical grid of a scenario: frequency, reserves, the emergency protocol and the feeder.

Thresholds are given for 50 Hz and scale with `nominal_frequency_hz`: 49.0 Hz is 58.8 Hz in a 60 Hz
system.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from swarm.scenario.assets import Model, NonNegative, Positive, Share

NominalHz = Annotated[float, Field(gt=40, lt=60)]


class Reserves(Model):
    """Reserve the operator buys for every tick before energy; each size is for both directions."""

    containment_mw: NonNegative = Field(
        0.0, description="Containment reserve at level 1, fully active 0.2 Hz off nominal."
    )
    restoration_mw: NonNegative = Field(
        0.0, description="Restoration reserve at level 1, moved by secondary control."
    )
    price_cap_per_mw_h: Positive = Field(
        200.0, description="Most the operator pays for one MW held for one hour."
    )
    penalty_factor: NonNegative = Field(
        3.0, description="Fine for reserve sold and not there: times its price, or that of energy."
    )


class Shedding(Model):
    """Under-frequency load shedding by relays."""

    at_hz: tuple[NominalHz, ...] = Field(
        (49.0, 48.8, 48.6, 48.4), max_length=8, description="Frequency of each step, falling."
    )
    share: Share = Field(0.125, description="Share of the load that each step sheds.")
    delay_s: NonNegative = Field(0.15, description="Relay and breaker time.")
    restore_above_hz: NominalHz = Field(49.9, description="Steps come back above this.")
    restore_wait_s: Positive = Field(30.0, description="Time above it for each step.")

    @model_validator(mode="after")
    def _falling(self) -> Self:
        if list(self.at_hz) != sorted(set(self.at_hz), reverse=True):
            raise ValueError("at_hz must fall from step to step")
        if len(self.at_hz) * self.share > 1:
            raise ValueError(f"{len(self.at_hz)} steps of {self.share:g} shed more than all load")
        return self


class Emergency(Model):
    """The emergency protocol: detect, alert, storage, non-critical load, generation, recovery."""

    detect_at_hz: Annotated[float, Field(gt=0, le=5)] = Field(
        0.2, description="Deviation from nominal that starts it."
    )
    alert_latency_s: NonNegative = Field(0.02, description="From detection to the agents.")


class OperatorWeights(Model):
    """What a trained operator weighs against each other; the three weights sum to 1."""

    stability: Share = Field(0.6, description="Frequency in band and load served.")
    cost: Share = Field(0.3, description="System cost, reserve included.")
    emissions: Share = Field(0.1, description="CO2.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = sum(self.in_order)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"stability, cost and emissions sum to {total:g}; expected 1")
        return self

    @property
    def in_order(self) -> tuple[float, ...]:
        """Stability, cost, emissions."""
        return self.stability, self.cost, self.emissions


class Grid(Model):
    """What makes megawatts a grid."""

    swarm: bool = Field(
        True,
        description="False: batteries and flexible loads neither trade nor respond, to compare.",
    )
    damping: NonNegative = Field(
        1.0, description="Load falls by this many percent per percent of frequency."
    )
    step_ms: Annotated[float, Field(ge=1, le=20)] = Field(
        20.0, description="Step of the first minute after a disturbance."
    )
    deadband_hz: Annotated[float, Field(ge=0, le=0.2)] = Field(
        0.01, description="Deviation below which nobody responds."
    )
    full_containment_at_hz: Annotated[float, Field(gt=0, le=2)] = Field(
        0.2, description="Deviation at which containment reserve is fully active."
    )
    full_restoration_minutes: Positive = Field(
        5.0, description="Secondary control needs this long from none to all of its reserve."
    )
    trip_below_hz: NominalHz = Field(47.5, description="Generation disconnects below this.")
    trip_above_hz: Annotated[float, Field(gt=50, lt=60)] = Field(
        51.5, description="Generation disconnects above this."
    )
    reserves: Reserves | None = Field(
        None,
        description="None: none is bought; running units respond within their headroom.",
    )
    operator: Literal["heuristic", "random", "trained"] = Field(
        "heuristic", description="Policy of the grid operator: how much reserve, how much control."
    )
    operator_weights: OperatorWeights = Field(
        OperatorWeights(), description="What a trained operator weighs against each other."
    )
    shedding: Shedding = Shedding()
    emergency: Emergency = Emergency()
    feeder: str | None = Field(
        None,
        description="case33bw, generated:N, a CSV of lines, simbench:CODE or pandapower:NAME.",
    )
    feeder_count: Positive = Field(
        1.0,
        description="Equal feeders side by side; agents spread over all, voltages are of the mean.",
    )
    load_power_factor: Annotated[float, Field(gt=0, le=1)] = Field(
        0.95, description="Of all loads on the feeder, lagging."
    )
    volt_var: bool = Field(True, description="Inverters follow IEEE 1547-2018 category B.")

    @model_validator(mode="after")
    def _deadband_inside(self) -> Self:
        if self.deadband_hz >= self.full_containment_at_hz:
            raise ValueError("deadband_hz must be below full_containment_at_hz")
        return self
