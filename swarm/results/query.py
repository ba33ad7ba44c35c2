"""SQL over the tables of a run, by DuckDB, which sees these tables and nothing else.

Tables are handed over as Arrow data sets; DuckDB itself may open no file, reach no network and load
no extension, and its settings are locked before it sees the query.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from swarm.errors import RunError, UsageError
from swarm.results.run import Run
from swarm.results.tables import TABLES

BATCH_ROWS = 65_536
LOCKED = (
    "SET python_enable_replacements = false",
    "SET temp_directory = ''",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


@contextmanager
def query(run: Run, sql: str) -> Iterator[pa.RecordBatchReader]:
    """The answer of one `select`, batch by batch, while the block lasts.

    Args:
        run: from a folder; of one that did not finish, the tables that were written until then.
        sql: one statement that reads: `select`, `with`, `from`, `describe`, `show`.

    Raises:
        UsageError: DuckDB is not installed; the statement is not one that reads, or DuckDB refuses
            it, then or while the answer is read; a table is damaged.
    """
    duckdb = _duckdb()
    tables = _tables(run)
    with duckdb.connect(":memory:") as connection:
        try:
            for setting in LOCKED:
                connection.execute(setting)
            for name, data in tables.items():
                connection.register(name, data)
            statements = connection.extract_statements(sql)
            if [each.type for each in statements] != [duckdb.StatementType.SELECT]:
                raise UsageError(
                    "expected one statement that reads, such as "
                    f'"select * from market limit 5"; got {sql!r}'
                )
            yield connection.sql(statements[0].query).to_arrow_reader(BATCH_ROWS)
        except BrokenPipeError:
            # The reader of our output went away; that is no fault of the query.
            raise
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise UsageError(f"{str(error).strip()}\n{columns_told(tables)}") from None


def columns_told(tables: dict[str, ds.Dataset]) -> str:
    """Every table with its columns, a line each."""
    return "\n".join(f"  {name}: {', '.join(data.schema.names)}" for name, data in tables.items())


def write_answer(path: Path, answer: pa.RecordBatchReader) -> int:
    """Write an answer as a Parquet file, whole or not at all; the number of its rows.

    Raises:
        UsageError: there is a file already, or no folder.
        RunError: it cannot be written.
    """
    if path.exists():
        raise UsageError(f"--parquet {path}: is there already, and no result is written over")
    temporary = path.with_name(f".{path.name}.tmp")
    rows = 0
    try:
        with pq.ParquetWriter(temporary, answer.schema, compression="zstd") as file:
            for batch in answer:
                file.write_batch(batch)
                rows += batch.num_rows
        temporary.replace(path)
    except FileNotFoundError:
        raise UsageError(f"--parquet {path}: there is no folder {path.parent}") from None
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError:
        raise UsageError(
            "swarm query needs DuckDB, which is not installed; pip install 'grid-swarm[query]'"
        ) from None
    return duckdb


def _tables(run: Run) -> dict[str, ds.Dataset]:
    """The tables that the run has, page checksums checked as they are read."""
    assert run.run_dir is not None
    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet = ds.ParquetFileFormat(default_fragment_scan_options=checked)
    found = {}
    for name in TABLES:
        files = sorted((run.run_dir / "data" / name).glob("*.parquet"))
        if not files:
            continue
        try:
            found[name] = ds.dataset([str(file) for file in files], format=parquet)
        except (OSError, pa.ArrowException) as error:
            said = str(error).splitlines()[0]
            raise UsageError(f"{files[0].parent}: damaged: {said}") from None
    if not found:
        raise UsageError(f"{run.run_dir} holds no table: the run ended before it wrote one")
    return found
