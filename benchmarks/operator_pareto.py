"""What a trained grid operator reaches under several preferences, beside heuristic and random.

    python benchmarks/operator_pareto.py POLICIES [--scenario emergency] [--set FIELD=VALUE ...]
        [--preferences 7] [--seeds 0..4] [--json FILE]

POLICIES is a folder with `policies.safetensors` that holds an operator, or that of a training. All
other agents follow the heuristic. Every preference is run on the same seeds; a return is the mean
over seeds and intervals of the operator's reward (docs/operator.md), more is better. "efficient":
no other preference is as good in every objective and better in one. "best": by its own weights no
other preference did better.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts

from swarm.grid.balance import Operated
from swarm.grid.policy import Learned
from swarm.grid.reward import OBJECTIVES, reward
from swarm.learning.files import load_policies
from swarm.learning.operator import front, spread_preferences
from swarm.loop import simulate
from swarm.market.record import TickRecord
from swarm.messages import Float
from swarm.runtime.inline import InlineEngine
from swarm.runtime.packing import even, pack
from swarm.runtime.setup import Plan, plan
from swarm.scenario.load import load_scenario
from swarm.world.world import build_world


class Returns:
    """Takes the reward of every interval, whatever the policy."""

    def __init__(self, ready: Plan) -> None:
        self._spec = ready.operator
        self.rewards: list[Float] = []

    def write(self, record: TickRecord, operated: Operated) -> None:
        """Keep the reward of one interval."""
        assert operated.balance is not None
        spec = self._spec
        self.rewards.append(
            reward(
                operated.balance,
                record.meters,
                record,
                spec.outside,
                spec.tick_minutes,
                spec.outside_emissions_kg_per_mwh,
            )
        )


def planned(name: str, sets: Sequence[str], seed: int) -> Plan:
    """A scenario ready to run, whatever operator it names."""
    scenario = load_scenario(name, sets=[*sets, "grid.operator=heuristic"], seed=seed).scenario
    return plan(build_world(scenario, None), "heuristic")


def returned(ready: Plan, policy: str, learned: Learned | None = None) -> Float:
    """Mean reward of a run, (3,)."""
    hosts = even(ready, 1)
    market, operator = pack(ready, hosts)
    sink = Returns(ready)
    engine = InlineEngine(market, replace(operator, policy=policy, learned=learned), hosts)
    simulate(engine, operator.ticks, sink, lambda *_: None)
    mean: Float = np.mean(sink.rewards, axis=0)
    return mean


@click.command()
@click.argument("policies", type=click.Path(path_type=Path))
@click.option("--scenario", default="emergency", show_default=True, help="With a grid section.")
@click.option("--set", "sets", multiple=True, metavar="FIELD=VALUE", help="Replace a field.")
@click.option("--preferences", default=7, show_default=True, help="How many; corners first.")
@click.option("--seeds", default="0..4", show_default=True, help="First..last.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write JSON here.")
def main(
    policies: Path,
    scenario: str,
    sets: tuple[str, ...],
    preferences: int,
    seeds: str,
    json_file: Path | None,
) -> None:
    """Run the scenario under every preference and show the Pareto set."""
    weights = load_policies(policies).policies["operator"]["operator"]
    first, _, last = seeds.partition("..")
    ready = [planned(scenario, sets, seed) for seed in range(int(first), int(last or first) + 1)]
    given = spread_preferences(preferences)

    def mean(policy: str, learned: Learned | None = None) -> Float:
        each: Float = np.mean([returned(one, policy, learned) for one in ready], axis=0)
        return each

    found = front(
        given, np.array([mean("trained", Learned(weights, None, tuple(row))) for row in given])
    )
    click.echo(found.table())
    others: dict[str, Any] = {}
    for policy in ("heuristic", "random"):
        others[policy] = mean(policy).tolist()
        shown = ", ".join(
            f"{name} {value:.4f}" for name, value in zip(OBJECTIVES, others[policy], strict=True)
        )
        click.echo(f"{policy}: {shown}")
    if json_file is not None:
        told = {
            "preferences": found.preferences.tolist(),
            "returns": found.returns.tolist(),
            "efficient": found.efficient.tolist(),
            "best": found.supported.tolist(),
            **others,
        }
        named = facts(scenario=scenario, sets=list(sets), seeds=seeds)
        json_file.write_text(json.dumps({**named, **told}, indent=2) + "\n")


if __name__ == "__main__":
    main()
