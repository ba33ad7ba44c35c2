"""`swarm query`: SQL over the tables of a run."""

from __future__ import annotations

import csv
import json
import math
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swarm.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 100
"""Rows of an answer for people; --csv, --json and --parquet give all."""


@click.command("query")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("sql")
@click.option("--csv", "as_csv", is_flag=True, help="All rows as CSV on stdout.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, with all rows.")
@click.option(
    "--parquet", type=click.Path(path_type=Path), metavar="FILE", help="All rows to a new file."
)
def command(run_dir: Path, sql: str, as_csv: bool, as_json: bool, parquet: Path | None) -> None:
    """Answer the SQL question SQL from the tables of the run in RUN_DIR, by DuckDB.

    \b
    swarm query RUN_DIR "select tick, price_milli_per_mwh / 1000 from market limit 5"
    swarm query RUN_DIR "show tables"

    It reads these tables alone: no other file, no network. DuckDB comes with the extra `query`.
    """
    if as_csv + as_json + (parquet is not None) > 1:
        raise UsageError("--csv, --json, --parquet: expected one of them at most")
    from swarm.results.query import query, write_answer
    from swarm.results.run import FINISHED, read_run

    run = read_run(run_dir, unfinished=True)
    if run.manifest["status"] != FINISHED:
        status = run.manifest["status"]
        click.echo(f"note: this run did not finish (status {status}): not all ticks", err=True)
    with query(run, sql) as answer:
        if parquet is not None:
            rows = write_answer(parquet, answer)
            click.echo(f"{rows:,} rows: {parquet}")
        elif as_csv:
            _csv(answer)
        elif as_json:
            columns = [{"name": each.name, "type": str(each.type)} for each in answer.schema]
            cells = [[_plain(value) for value in row] for row in _rows(answer)]
            whole = {"run_dir": str(run_dir), "columns": columns, "rows": cells}
            click.echo(json.dumps(whole, allow_nan=False))
        else:
            _table(answer)


def _rows(answer: pa.RecordBatchReader) -> Any:
    """Rows as tuples, of any number of columns of any name."""
    for batch in answer:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _csv(answer: pa.RecordBatchReader) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.schema.names)
    for row in _rows(answer):
        writer.writerow(row)


def _table(answer: pa.RecordBatchReader) -> None:
    from swarm.cli.ui import print_table

    shown: list[tuple[str, ...]] = []
    more = 0
    for row in _rows(answer):
        if len(shown) < MOST_ROWS:
            shown.append(tuple(_cell(value) for value in row))
        else:
            more += 1
    total = len(shown) + more
    print_table(f"{total:,} row{'' if total == 1 else 's'}", shown, answer.schema.names)
    if more:
        click.echo(f"... and {more:,} more; --csv, --json and --parquet give all")


def _plain(value: object) -> object:
    """As JSON has it: sums are integers of any size, NaN and infinity null, the rest text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    text = f"{value:,.6g}" if isinstance(value, float) else str(value)
    # A name from a file must not move the cursor.
    return "".join(sign if sign.isprintable() else "?" for sign in text)
