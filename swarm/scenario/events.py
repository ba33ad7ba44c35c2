"""What may happen during a run. Every event names its time and how long it lasts."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from swarm.scenario.assets import Model, NonNegative, Positive

Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Event(Model):
    """Start and length. The start is a `tick`, or a local clock time `at` on day `day`."""

    tick: Annotated[int, Field(ge=0, le=10_000_000)] | None = Field(
        None, description="First tick of the event."
    )
    at: Clock | None = Field(None, description="Local clock time of the start, HH:MM.")
    day: Annotated[int, Field(ge=0, le=100_000)] = Field(
        0, description="Day of `at`, 0 is the first."
    )
    duration_minutes: Positive | None = Field(None, description="Length; None: to the end.")

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if (self.tick is None) == (self.at is None):
            raise ValueError("give exactly one of 'tick' and 'at'")
        return self


class Targeted(Event):
    """An event that hits some agents: those named, or all of the named fleets."""

    agents: tuple[str, ...] = Field((), description="Agent ids.")
    fleets: tuple[str, ...] = Field((), description="Fleet names.")

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.agents and not self.fleets:
            raise ValueError("name 'agents' or 'fleets'")
        return self


class PriceSpike(Event):
    """The built-in outside price is replaced. A price read from data carries its own spikes."""

    type: Literal["price_spike"]
    price_per_mwh: float = Field(description="Outside price while it lasts.")
    notice_minutes: NonNegative = Field(
        0.0, description="How long before its start the price forecast shows it."
    )


class Outage(Targeted):
    """Units fail without warning: they have sold, and do not deliver."""

    type: Literal["outage"]


class Maintenance(Targeted):
    """Units stand still by plan: they do not offer."""

    type: Literal["maintenance"]


class LoadStep(Targeted):
    """Loads of consumers and homes are multiplied."""

    type: Literal["load_step"]
    factor: NonNegative = Field(description="Load while it lasts over load without the event.")


class CloudFront(Event):
    """Clouds over all solar plants and homes."""

    type: Literal["cloud_front"]
    factor: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3, description="Solar output while it lasts over output without the event."
    )


class Islanding(Event):
    """The connection outside is lost without warning."""

    type: Literal["islanding"]


class CarbonPrice(Event):
    """A new CO2 price."""

    type: Literal["carbon_price"]
    price_per_tonne: NonNegative = Field(description="CO2 price while it lasts.")


class PolicyChange(Event):
    """New market rules, known to everybody when they start."""

    type: Literal["policy_change"]
    price_cap: float = Field(description="Cap while it lasts; offers above it are lowered to it.")


AnyEvent = Annotated[
    PriceSpike
    | Outage
    | Maintenance
    | LoadStep
    | CloudFront
    | Islanding
    | CarbonPrice
    | PolicyChange,
    Field(discriminator="type"),
]
