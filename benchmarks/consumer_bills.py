"""What response takes off the bill of consumers on held-out days, and what comfort it costs.

    python benchmarks/consumer_bills.py [--policies heuristic,random] [--policies-from DIR]
        [--data sa1_5min.csv] [--validation] [--seeds 2] [--json FILE]

Runs the scenario `consumers_alone` for two days from each held-out day (`swarm.scenario.days`) with
each seed, and the same with the policy `passive`, which never responds. Shown per policy are the
interquartile means over runs, with their bootstrap intervals over days, of the saving as a share of
the passive bill and of the share of agent-intervals outside comfort
(`tests.oracles.consumer_bill.outside_comfort`). What is not yet caught up at the end is billed at
the median price.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts
from storage_optimum import held_out_cases

from swarm.results.compare import interquartile_mean, resampled, resampled_means
from swarm.runtime.session import Options, Silent, run_scenario
from swarm.scenario.schema import Scenario

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.oracles.consumer_bill import Bills, read_bills

SCENARIO = str(Path(__file__).parents[1] / "scenarios" / "consumers_alone.yaml")


def bills(scenario: Scenario, policy: str, more: dict[str, Any]) -> Bills:
    """What came of one run."""
    options = Options(engine="inline", policy=policy, out=None, **more)
    return read_bills(scenario, run_scenario(scenario, options, Silent()))


@click.command()
@click.option("--policies", default="heuristic,random", show_default=True)
@click.option("--policies-from", type=click.Path(path_type=Path), help="Folder of a training.")
@click.option("--data", type=click.Path(path_type=Path), help="Measured prices, sa1_5min.csv.")
@click.option("--validation", is_flag=True, help="On validation days, to choose settings by.")
@click.option("--seeds", default=2, show_default=True, help="Fleets drawn for each day.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write JSON here.")
def main(
    policies: str,
    policies_from: Path | None,
    data: Path | None,
    validation: bool,
    seeds: int,
    json_file: Path | None,
) -> None:
    """Run every policy on the same days and consumers, and show savings and comfort."""
    cases = held_out_cases(SCENARIO, (), data, validation, seeds)
    index = resampled(len(cases))
    passive = [[bills(each, "passive", {"data": data}).bill.sum() for each in row] for row in cases]
    found: dict[str, Any] = {}
    for policy in policies.split(","):
        more: dict[str, Any] = {"data": data}
        if policy == "trained" and policies_from is not None:
            more["policies_from"] = policies_from
        came = [[bills(each, policy, more) for each in row] for row in cases]
        paid = np.array([[each.bill.sum() for each in row] for row in came])
        figures = {
            "saving": 1 - paid / np.array(passive),
            "outside_comfort": np.array(
                [[each.outside_comfort.mean() for each in row] for row in came]
            ),
        }
        found[policy] = {}
        for name, values in figures.items():
            low, high = np.quantile(resampled_means(values, index), (0.025, 0.975))
            found[policy][name] = {
                "iqm": float(interquartile_mean(values.ravel())),
                "low": float(low),
                "high": float(high),
                "of_sums": float(1 - paid.sum() / np.sum(passive))
                if name == "saving"
                else float(values.mean()),
                "runs": values.tolist(),
            }
            shown = "  ".join(
                f"{k} {v:6.3f}" for k, v in found[policy][name].items() if k != "runs"
            )
            click.echo(f"{policy:10} {name:16} {shown}")
    if json_file is not None:
        answer = {
            "machine": facts(),
            "data": None if data is None else data.name,
            "starts": [row[0].start.isoformat() for row in cases],
            "seeds": [[each.seed for each in row] for row in cases],
            "validation": validation,
            "policies": found,
        }
        json_file.write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()
