"""Contracts and signatures of a run, as a scenario declares them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from swarm.scenario.assets import Model

AgentName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
EACH_SIGNS_UP_TO = 10_000
"""Most agents that sign for themselves where the scenario says `auto`."""


class Trust(Model):
    """Who signs what. Signing never changes the result tables."""

    signatures: Literal["auto", "per_agent", "per_shard", "none"] = Field(
        "auto",
        description="Who countersigns contracts: each agent, or one for a block of neighbours; "
        "auto: each agent up to 10,000 of them; none: no contracts and no audit log.",
    )
    shadow: bool = Field(
        False,
        description="Decide, sign and log everything and dispatch nothing of it: the physics are "
        "those of the run without the swarm. The same as --shadow.",
    )
    revoked: tuple[AgentName, ...] = Field(
        (), description="Agents whose keys are revoked: none of their contracts is acted on."
    )

    def mode(self, agents: int) -> Literal["per_agent", "per_shard", "none"]:
        """Who signs in a run of so many agents."""
        if self.signatures != "auto":
            return self.signatures
        return "per_agent" if agents <= EACH_SIGNS_UP_TO else "per_shard"
