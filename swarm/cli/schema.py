"""`swarm schema`: the JSON Schema of a scenario."""

from __future__ import annotations

import json

import click

from swarm.scenario.json_schema import json_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a scenario, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))
