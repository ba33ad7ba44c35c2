"""`swarm list`: the built-in scenarios."""

from __future__ import annotations

import json

import click

from swarm.scenario.load import available
from swarm.scenario.yaml_reader import read_document


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array on stdout.")
def command(as_json: bool) -> None:
    """Name the built-in scenarios, with one line each."""
    about = {
        name: first_line(read_document(path).data.get("description"))
        for name, path in available().items()
    }
    if as_json:
        rows = [{"name": name, "description": line} for name, line in about.items()]
        click.echo(json.dumps(rows, indent=2))
        return
    width = max(map(len, about), default=0)
    for name, line in about.items():
        click.echo(f"{name:{width}}  {line}".rstrip())


def first_line(description: object) -> str:
    """The first line of a scenario's description; empty where it has none."""
    lines = description.strip().splitlines() if isinstance(description, str) else []
    return lines[0] if lines else ""
