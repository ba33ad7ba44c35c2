"""`swarm validate`: whether a scenario is valid, and what it contains."""

from __future__ import annotations

import json
from typing import Any

import click

from swarm.scenario.check import fleets_from_data
from swarm.scenario.load import Loaded, load_scenario
from swarm.scenario.scale import agents_in


@click.command("validate")
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(path: str, as_json: bool) -> None:
    """Check the scenario PATH (a file, or the name of a built-in one).

    Exit code 2 and the list of problems where it is not valid.
    """
    from swarm.runtime.setup import check_grid

    loaded = load_scenario(path)
    check_grid(loaded.scenario)
    contents = contents_of(loaded)
    if as_json:
        click.echo(json.dumps(contents, indent=2))
        return
    click.echo(f"{loaded.path}: valid")
    scenario = loaded.scenario
    width = max((len(fleet.name) for fleet in scenario.fleets), default=0)
    click.echo(f"  scenario  {scenario.name}")
    click.echo(f"  ticks     {scenario.ticks} of {scenario.tick_minutes} min")
    click.echo(f"  fleets    {len(scenario.fleets)}{_from_data(loaded)}")
    for fleet in scenario.fleets:
        click.echo(f"            {fleet.name:{width}}  {agents_in(fleet)} {fleet.kind}")
    click.echo(f"  agents    {contents['agents']}{_from_data(loaded)}")
    click.echo(f"  events    {len(scenario.events)}")
    for event in scenario.events:
        first, end = scenario.event_ticks(event)
        click.echo(f"            {event.type}, ticks {first} to {end - 1}")
    for note in loaded.notes:
        click.echo(f"note: {note}", err=True)


def contents_of(loaded: Loaded) -> dict[str, Any]:
    """What a valid scenario contains, as JSON values."""
    scenario = loaded.scenario
    return {
        "valid": True,
        "file": str(loaded.path),
        "name": scenario.name,
        "ticks": scenario.ticks,
        "tick_minutes": scenario.tick_minutes,
        "agents": sum(agents_in(fleet) for fleet in scenario.fleets),
        "fleets": [
            {"name": fleet.name, "kind": fleet.kind, "agents": agents_in(fleet)}
            for fleet in scenario.fleets
        ],
        "fleets_from_data": fleets_from_data(scenario),
        "events": [
            {"type": event.type, "first_tick": first, "end_tick": end}
            for event in scenario.events
            for first, end in [scenario.event_ticks(event)]
        ],
        "notes": list(loaded.notes),
    }


def _from_data(loaded: Loaded) -> str:
    """A remark where fleets arrive with --data."""
    return " (more come with --data)" if fleets_from_data(loaded.scenario) else ""
