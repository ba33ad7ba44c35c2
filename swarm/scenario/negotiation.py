"""How prices are negotiated: rounds, simulated time, lost answers."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from swarm.scenario.assets import Model, Share

MAX_ROUNDS = 1_000


class Negotiation(Model):
    """Rules of the mechanism `negotiated`. Time is simulated; a run waits for every process."""

    max_rounds: Annotated[int, Field(ge=2, le=MAX_ROUNDS)] = Field(
        48, description="Most prices called in a tick, the final one included."
    )
    first_step_per_mwh: Annotated[float, Field(gt=0, le=1_000_000)] = Field(
        1.0, description="First move away from the last price; each one after it is twice as far."
    )
    answer_seconds: Annotated[float, Field(ge=0, le=3_600)] = Field(
        0.5, description="Mean time an agent takes to answer; exponential, drawn once a tick."
    )
    answer_limit_seconds: Annotated[float, Field(gt=0, le=43_200)] = Field(
        10.0, description="An agent that takes longer has no part in that tick's agreement."
    )
    budget_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        120.0,
        description="Time for all rounds of a tick, less than the tick's length; "
        "a round lasts as long as its slowest answer.",
    )
    lost_share: Share = Field(0.0, description="Share of agents whose answers are lost in a tick.")

    @model_validator(mode="after")
    def _two_rounds_fit(self) -> Self:
        if 2 * self.answer_limit_seconds > self.budget_seconds:
            raise ValueError(
                f"budget_seconds {self.budget_seconds:g} is less than two rounds of "
                f"answer_limit_seconds {self.answer_limit_seconds:g}"
            )
        return self

    @property
    def budget_ms(self) -> int:
        """Time for all rounds in whole milliseconds."""
        return round(self.budget_seconds * 1_000)

    @property
    def answer_limit_ms(self) -> int:
        """Longest answer in whole milliseconds."""
        return round(self.answer_limit_seconds * 1_000)
