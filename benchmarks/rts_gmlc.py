"""What a day of RTS-GMLC gives, beside least-cost dispatch with and without commitment.

    python benchmarks/rts_gmlc.py --data PATH [--start 2020-07-16] [--json FILE]

Three costs of energy, per tick by linear program, from the run's own tables: with the run's
commitment and ramps (what the market should reach), with commitment relaxed (every unit free
between zero and its limit: a bound no real commitment reaches), and the run's own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

import swarm

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.oracles.dispatch_lp import dispatch, read_units


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="RTS-GMLC root.")
@click.option("--start", default="2020-07-16", show_default=True, help="Day of 2020.")
@click.option("--outages/--no-outages", default=False, help="Random forced outages.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write JSON here.")
def main(data: Path, start: str, outages: bool, json_file: Path | None) -> None:
    """Run one day and compare its cost with the linear programs."""
    sets = (f"outages={str(outages).lower()}", f"start={start}T00:00:00-07:00")
    run = swarm.run("rts_gmlc", data=data, sets=sets, engine="inline", out=None)
    units = read_units(run.registry, 5)
    agents = len(run.registry)
    delivered = np.array(run.agents["delivered_w"]).reshape(-1, agents) / 1e6
    available = np.array(run.agents["available_w"]).reshape(-1, agents) / 1e6
    weather = np.isin(np.array(run.registry["kind"].to_pylist()), ("solar", "wind"))
    grid = {name: np.array(run.grid[name]) / 1e6 for name in run.grid.column_names}
    use = grid["load_w"] + grid["charge_w"] - grid["discharge_w"]
    begin = np.cumsum(units.width_mw, axis=1) - units.width_mw
    own = fixed = relaxed = 0.0
    last = free = np.full(len(units.agents), np.nan)
    for tick in range(len(delivered)):
        output = delivered[tick, units.agents]
        used = np.clip(output[:, None] - begin, 0.0, units.width_mw)
        own += (used * units.cost_per_mwh).sum() / 12
        limits = available[tick, units.agents]
        sun_and_wind = available[tick, weather].sum()
        cost, _, _ = dispatch(units, use[tick], sun_and_wind, last, limits, output > 0)
        fixed += cost / 12
        cost, free, _ = dispatch(units, use[tick], sun_and_wind, free, limits, None)
        relaxed += cost / 12
        last = output
    metrics = run.metrics
    figures: dict[str, Any] = {
        "start": start,
        "outages": outages,
        "digest": run.digest,
        "mean_price": metrics["mean_price"],
        "max_price": metrics["max_price"],
        "unserved_mwh": metrics["unserved_mwh"],
        "spilled_mwh": metrics["spilled_mwh"],
        "curtailed_mwh": metrics["curtailed_mwh"],
        "renewable_share": metrics["renewable_share"],
        "energy_cost": own,
        "lp_same_commitment": fixed,
        "gap_same_commitment": own / fixed - 1,
        "lp_commitment_relaxed": relaxed,
        "gap_commitment_relaxed": own / relaxed - 1,
        "cost_with_starts": metrics["agents_cost"],
        "seconds": run.timings["wall_seconds"],
    }
    for name, value in figures.items():
        click.echo(f"{name:24}  {value if isinstance(value, str | bool) else f'{value:,.6g}'}")
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
