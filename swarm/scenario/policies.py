"""Policies of a fleet: limits that its orders and its dispatch never pass, whoever trades."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from swarm.scenario.assets import Kind, Model, NonNegative, Share
from swarm.scenario.problems import shown

MAX_POWER_MW = 1e9
MAX_PRICE = 2e6
"""Per MWh, either sign: what the market's grid of prices holds."""
OnViolation = Literal["clip", "refuse", "count"]


def _or_a_number(schema: dict[str, Any]) -> None:
    """In the JSON Schema, a limit may also be its plain number."""
    mapping = dict(schema)
    number = {k: v for k, v in schema["properties"]["limit"].items() if k != "title"}
    schema.clear()
    schema["anyOf"] = [number, mapping]


class Limit(Model):
    """A limit, and what happens to an order beyond it. A plain number is a limit that clips."""

    model_config = ConfigDict(json_schema_extra=_or_a_number)

    limit: float = Field(description="The limit, in the unit that the rule's name says.")
    on_violation: OnViolation = Field(
        "clip",
        description="clip: the order is cut to the limit; refuse: it is refused whole; "
        "count: it goes through and is only logged.",
    )

    @model_validator(mode="before")
    @classmethod
    def _number(cls, given: Any) -> Any:
        if isinstance(given, int | float) and not isinstance(given, bool):
            return {"limit": given}
        if isinstance(given, Mapping | cls):
            return given
        expected = "a number or {limit: .., on_violation: ..}"
        raise ValueError(f"got {shown(given)}, expected {expected}")


class PowerLimit(Limit):
    """MW, or MW per minute."""

    limit: Annotated[NonNegative, Field(le=MAX_POWER_MW)] = Field(description="In MW.")


class ShareLimit(Limit):
    """A share, 0 to 1."""

    limit: Share = Field(description="Share, 0 to 1.")


class DailyLimit(Limit):
    """What a day holds."""

    limit: Annotated[NonNegative, Field(le=1e9)] = Field(description="Per local day.")


class PriceLimit(Limit):
    """In the scenario's currency per MWh."""

    limit: Annotated[float, Field(ge=-MAX_PRICE, le=MAX_PRICE)] = Field(
        description="In the scenario's currency per MWh."
    )


class Policies(Model):
    """Limits of every agent of a fleet, checked on offers and again before dispatch.

    They stand between the trader and the market, and between the contract and the device.
    """

    max_discharge_mw: PowerLimit | None = Field(None, description="Power sold from the battery.")
    max_charge_mw: PowerLimit | None = Field(None, description="Power bought for the battery.")
    min_state_of_charge: ShareLimit | None = Field(
        None, description="No discharge takes the battery below this share of its size."
    )
    max_state_of_charge: ShareLimit | None = Field(
        None, description="No charge takes the battery above this share of its size."
    )
    max_ramp_up_mw_per_minute: PowerLimit | None = Field(
        None, description="Rise of generation and discharge from tick to tick."
    )
    max_ramp_down_mw_per_minute: PowerLimit | None = Field(
        None, description="Fall into charging from tick to tick."
    )
    max_cycles_per_day: DailyLimit | None = Field(
        None, description="Energy taken out of the battery in a local day, in sizes of it."
    )
    max_emissions_tonnes_per_day: DailyLimit | None = Field(
        None, description="CO2 of a local day, tonnes."
    )
    protected_load_share: ShareLimit | None = Field(
        None, description="Share of the load that is never sold as a reduction."
    )
    min_price_per_mwh: PriceLimit | None = Field(
        None, description="Lowest price of an order that is for choice, bids and asks."
    )
    max_price_per_mwh: PriceLimit | None = Field(
        None, description="Highest price of an order that is for choice, bids and asks."
    )
    min_quantity_mw: PowerLimit | None = Field(
        None, description="Smaller orders that are for choice are dropped."
    )
    max_quantity_mw: PowerLimit | None = Field(
        None, description="Largest single order that is for choice."
    )

    @model_serializer(mode="wrap")
    def _given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only the limits that are given: a fleet without any writes an empty mapping."""
        return {name: limit for name, limit in dump(self).items() if limit is not None}

    @property
    def declared(self) -> dict[str, Limit]:
        """The limits that are given, by name of the rule, in the order of the fields."""
        given = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: limit for name, limit in given if limit is not None}

    @model_validator(mode="after")
    def _least_below_most(self) -> Self:
        for least, most in (
            ("min_state_of_charge", "max_state_of_charge"),
            ("min_price_per_mwh", "max_price_per_mwh"),
            ("min_quantity_mw", "max_quantity_mw"),
        ):
            low, high = getattr(self, least), getattr(self, most)
            if low is not None and high is not None and low.limit > high.limit:
                raise ValueError(f"{least} {low.limit:g} is above {most} {high.limit:g}")
        return self


_ORDERS = ("min_price_per_mwh", "max_price_per_mwh", "min_quantity_mw", "max_quantity_mw")
_BATTERY = (
    "max_discharge_mw",
    "max_charge_mw",
    "min_state_of_charge",
    "max_state_of_charge",
    "max_ramp_up_mw_per_minute",
    "max_ramp_down_mw_per_minute",
    "max_cycles_per_day",
    *_ORDERS,
)
_VARIABLE = ("max_ramp_up_mw_per_minute", *_ORDERS)
RULES_OF: Mapping[Kind, tuple[str, ...]] = {
    "consumer": ("protected_load_share", *_ORDERS),
    "ev": _BATTERY,
    "generator": ("max_ramp_up_mw_per_minute", "max_emissions_tonnes_per_day", *_ORDERS),
    "home": _BATTERY,
    "solar": _VARIABLE,
    "storage": _BATTERY,
    "wind": _VARIABLE,
}
"""The rules that each kind has orders for."""
NOTHING_TO_RULE: Mapping[str, str] = {
    "max_discharge_mw": "discharges nothing",
    "max_charge_mw": "charges nothing",
    "min_state_of_charge": "has no battery",
    "max_state_of_charge": "has no battery",
    "max_ramp_up_mw_per_minute": "neither generates nor discharges",
    "max_ramp_down_mw_per_minute": "charges nothing",
    "max_cycles_per_day": "has no battery",
    "max_emissions_tonnes_per_day": "emits nothing",
    "protected_load_share": "sells no reduction of load",
}
"""Why a rule is not for a kind that it is not for."""
