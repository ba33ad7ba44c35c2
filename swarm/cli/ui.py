"""Output for people: a table on a terminal, aligned text elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click


def print_table(title: str, rows: Sequence[tuple[str, ...]], header: Sequence[str] = ()) -> None:
    """Print rows of a label and its values to stdout, under a header if any; honours NO_COLOR."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        shown = [tuple(header), *rows] if header else list(rows)
        widths = [max(len(cell) for cell in column) for column in zip(*shown, strict=True)]
        click.echo(title)
        for row in shown:
            cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
            click.echo(f"  {'  '.join(cells)}".rstrip())
        return
    style = "" if "NO_COLOR" in os.environ else "bold"
    table = Table(title=Text(title), title_justify="left", title_style=style)
    table.show_header = bool(header)
    table.add_column(*header[:1], style=style, no_wrap=True)
    for column in range(1, max((len(row) for row in rows), default=2)):
        table.add_column(*header[column : column + 1], overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
