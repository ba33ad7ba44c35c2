"""Writes the dashboards of swarm as JSON, for Grafana to read.

    python configs/grafana/dashboards.py [FOLDER]

writes to `dashboards` beside this file, or to FOLDER. What is on a dashboard stands in the module
of its name. The names of metrics are those of `swarm/telemetry/metrics.py`. Rates are over a
minute, so that slow ticks show too and a query can be pasted into Prometheus as it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from agents import agents, learning
from grid import grid
from market import market
from overview import overview
from panels import Json, dashboard, label_variable
from promql import EMERGENCY
from system import system

FOLDER = Path(__file__).resolve().parent / "dashboards"
KINDS = label_variable("kind", "Kind", "swarm_agents", "kind")
CONTENTS: tuple[tuple[str, str, str, list[Json], tuple[Json, ...]], ...] = (
    ("overview", "overview", "What an operator looks at first.", overview(), ()),
    ("market", "market", "Price, merit order, volume and concentration.", market(), ()),
    ("grid", "grid", "Frequency, voltage, reserve, emergencies, energy.", grid(), ()),
    ("agents", "agents by kind", "Power, energy and money by kind of agent.", agents(), (KINDS,)),
    ("learning", "learning", "Lessons, reward and loss of a run that learns.", learning(), ()),
    ("system", "system", "Ticks, phases, hosts, memory, messages, trust.", system(), ()),
)
"""Name, title, description, panels and variables of each."""


def write(folder: Path = FOLDER) -> None:
    """Write `folder`/NAME.json for every dashboard."""
    uids = {name: f"swarm-{name}" for name, *_ in CONTENTS}
    for name, title, description, panels, variables in CONTENTS:
        model = dashboard(
            uids[name],
            f"Swarm {title}",
            description,
            panels,
            others=[(uids[other], f"Swarm {at}") for other, at, *_ in CONTENTS if other != name],
            annotation=EMERGENCY,
            variables=variables,
        )
        text = json.dumps(model, indent=2, ensure_ascii=False)
        (folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
