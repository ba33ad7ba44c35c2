"""Wall-clock time of one double DQN update of many agents: stacked, and one after the other.

    python benchmarks/learning.py [--agents 100] [--repetitions 20] [--json FILE]

Networks 64-128-64-32-20, batch 32, discount 0.99, Adam, one torch thread for both, which take turns
in one process, both with the draws from replay. Stacked is `swarm.learning.dqn`. Separate is what a
reader of torch's documentation would write: a `torch.nn.Sequential`, its target and a
`torch.optim.Adam` for each agent. `--discount 0` shows bidders that look no further than the next
interval. Beside them, the batched products of the stacked update alone: the least it could take.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from machine import facts
from torch import nn

from swarm.learning import dqn
from swarm.learning.networks import GENERATOR
from swarm.learning.replay import Replay

KEPT = 1_000
"""Transitions in each replay."""
WARM_UP = 3


def network() -> nn.Sequential:
    """The generator's network."""
    layers: list[nn.Module] = []
    for into, out in zip(GENERATOR.sizes, GENERATOR.sizes[1:], strict=False):
        layers += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Separate:
    """Agents that each have a network, a target and an optimiser of their own."""

    def __init__(self, agents: int, settings: dqn.Settings, given: dict[str, Any]) -> None:
        self.settings = settings
        fields = {name: (row.shape[2:], row.dtype) for name, row in given.items()}
        self.replays = [Replay(1, KEPT, fields, 0, agent) for agent in range(agents)]
        for agent, replay in enumerate(self.replays):
            replay.add({name: row[agent : agent + 1] for name, row in given.items()})
        self.online = [network() for _ in range(agents)]
        self.target = [network() for _ in range(agents)]
        self.adam = [
            torch.optim.Adam(each.parameters(), settings.learning_rate) for each in self.online
        ]

    def update(self, tick: int) -> None:
        """One update of each agent, in turn."""
        discount = self.settings.discount
        each = zip(self.replays, self.online, self.target, self.adam, strict=True)
        for replay, online, target, adam in each:
            drawn = replay.sample(tick, self.settings.batch)
            batch = {name: torch.from_numpy(array[0]) for name, array in drawn.items()}
            wanted = batch["reward"]
            if discount > 0:
                with torch.no_grad():
                    picked = online(batch["next_observation"]).argmax(dim=1, keepdim=True)
                    value = target(batch["next_observation"]).gather(1, picked)[:, 0]
                    wanted = wanted + discount * value.masked_fill(batch["terminated"], 0.0)
            had = online(batch["observation"]).gather(1, batch["action"][:, None])[:, 0]
            adam.zero_grad()
            nn.functional.mse_loss(had, wanted).backward()
            nn.utils.clip_grad_norm_(online.parameters(), self.settings.gradient_limit)
            adam.step()


def transitions(agents: int, count: int) -> dict[str, Any]:
    """Random transitions, (agents, count, ...)."""
    draw = np.random.default_rng(0)
    shape = (agents, count)
    return {
        "observation": draw.normal(size=(*shape, GENERATOR.inputs)).astype(np.float32),
        "action": draw.integers(0, GENERATOR.sizes[-1], size=shape),
        "reward": draw.normal(size=shape).astype(np.float32),
        "next_observation": draw.normal(size=(*shape, GENERATOR.inputs)).astype(np.float32),
        "terminated": np.zeros(shape, dtype=np.bool_),
    }


def products(agents: int, batch: int, discount: float) -> Callable[[], None]:
    """The batched products of one stacked update: forward, weight and input gradients."""
    sizes = list(zip(GENERATOR.sizes, GENERATOR.sizes[1:], strict=False))
    layers = [
        tuple(torch.randn(agents, *shape) for shape in ((batch, into), (into, out), (batch, out)))
        for into, out in sizes
    ]

    def multiply() -> None:
        for layer, (seen, weight, grad) in enumerate(layers):
            for _ in range(3 if discount > 0 else 1):
                torch.bmm(seen, weight)
            torch.bmm(seen.transpose(1, 2), grad)
            if layer > 0:
                torch.bmm(grad, weight.transpose(1, 2))

    return multiply


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def told(name: str, taken: list[float]) -> dict[str, Any]:
    """Median and quartiles of an update in milliseconds, which are also shown."""
    low, median, high = (1000 * q for q in statistics.quantiles(taken, n=4))
    click.echo(f"{name:9} median {median:9.2f} ms, quartiles {low:.2f} to {high:.2f} ms")
    return {"mode": name, "median_ms": median, "quartiles_ms": [low, high]}


@click.command()
@click.option("--agents", default=100, show_default=True)
@click.option("--repetitions", default=20, show_default=True, help="Of both, in turn; at least 2.")
@click.option("--discount", default=0.99, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write JSON here.")
def main(agents: int, repetitions: int, discount: float, json_file: Path | None) -> None:
    """Measure both and their ratio."""
    settings = dqn.Settings(replay=KEPT, discount=discount)
    learner = dqn.Learner(settings, 0, agents)
    given = transitions(agents, KEPT)
    learner.observe(**given)
    separate = Separate(agents, settings, given)
    multiply = products(agents, settings.batch, discount)
    taken: dict[str, list[float]] = {"stacked": [], "separate": [], "products": []}
    for tick in range(WARM_UP + repetitions):
        taken["stacked"].append(seconds(lambda tick=tick: learner.update(tick)))
        taken["separate"].append(seconds(lambda tick=tick: separate.update(tick)))
        taken["products"].append(seconds(multiply))
    taken = {name: values[WARM_UP:] for name, values in taken.items()}
    rows = [told(name, values) for name, values in taken.items()]
    pairs = zip(taken["separate"], taken["stacked"], strict=True)
    ratios = [separately / stacked for separately, stacked in pairs]
    low, median, high = statistics.quantiles(ratios, n=4)
    click.echo(f"{agents} agents: {median:.1f} times faster, quartiles {low:.1f} to {high:.1f}")
    if json_file is not None:
        answer = {
            "machine": facts(torch=torch.__version__, torch_threads=torch.get_num_threads()),
            "agents": agents,
            "batch": settings.batch,
            "discount": discount,
            "repetitions": repetitions,
            "modes": rows,
            "ratio": {"median": median, "quartiles": [low, high]},
        }
        json_file.write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()
