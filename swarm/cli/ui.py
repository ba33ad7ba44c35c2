"""Output for people: a table on a terminal, aligned text elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click


def print_table(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print label and value pairs to stdout; honours NO_COLOR."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        width = max((len(label) for label, _ in rows), default=0)
        click.echo(title)
        for label, value in rows:
            click.echo(f"  {label:{width}}  {value}".rstrip())
        return
    style = "" if "NO_COLOR" in os.environ else "bold"
    table = Table(title=Text(title), title_justify="left", title_style=style, show_header=False)
    table.add_column(style=style, no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(Text(label), Text(value))
    console.print(table)
