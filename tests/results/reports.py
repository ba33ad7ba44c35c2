"""Short runs for reports, made once for all tests, and folders changed by hand."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import swarm
from swarm.results.folder import checksum_lines, checksums_of, digest_of, write_json, write_text
from swarm.results.report import Page
from swarm.results.tables import parquet_bytes
from swarm.results.training import rows_bytes

RUNS: dict[str, dict[str, Any]] = {
    "spike": {
        "scenario": "price_spike",
        "ticks": 4,
        "agents": 20,
        "replicate": True,
        "sets": ["results.orders=true"],
    },
    "emergency": {
        "scenario": "emergency",
        "ticks": 4,
        "sets": ["baseline=null", "start=2025-06-18T18:20:00+02:00"],
    },
    "textbook": {"scenario": "auction_example", "sets": ["results.orders=true"]},
    "negotiated": {"scenario": "auction_example", "sets": ["market.mechanism=negotiated"]},
}
HOSTILE = '</script><img src=x onerror="window.pwned=1">\'&'
_MADE: dict[str, Path] = {}


def made(name: str, factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of `RUNS`, which must stay as it is."""
    if name not in _MADE:
        out = factory.mktemp(f"report-{name}")
        run = swarm.run(**RUNS[name], engine="inline", policy="heuristic", out=out)
        assert run.run_dir is not None
        _MADE[name] = run.run_dir
    return _MADE[name]


def copied(name: str, factory: pytest.TempPathFactory) -> Path:
    """A copy of such a folder, to be changed."""
    folder = factory.mktemp("copy") / "run"
    shutil.copytree(made(name, factory), folder)
    return folder


def edit_json(path: Path, **entries: Any) -> None:
    """Replace entries of a JSON file."""
    write_json(path, json.loads(path.read_text()) | entries)


def edit_table(folder: Path, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Replace every part of a table, and the checksums."""
    for path in sorted((folder / "data" / table).glob("*.parquet")):
        path.write_bytes(parquet_bytes(change(pq.read_table(path))))
    checksums = checksums_of(folder)
    write_text(folder / "SHA256SUMS", checksum_lines(checksums))
    edit_json(folder / "manifest.json", digest=digest_of(checksums))


def interrupt(folder: Path) -> None:
    """Leave a run as Ctrl-C does."""
    for name in ("metrics.json", "timings.json", "SHA256SUMS"):
        (folder / name).unlink()
    edit_json(folder / "manifest.json", status="interrupted", error="Ctrl-C")


def hostile(folder: Path) -> Path:
    """A run whose files have a hostile text wherever they have a name."""
    edit_json(
        folder / "manifest.json",
        scenario=HOSTILE,
        notes=[HOSTILE],
        commit=HOSTILE,
        policies={"by_kind": {HOSTILE: HOSTILE}},
    )
    edit_json(
        folder / "metrics.json",
        refusals_by_reason={HOSTILE: 3},
        violations_by_rule={HOSTILE: 3},
        currency=HOSTILE,
        learning={HOSTILE: 1.0},
    )

    def renamed(column: str) -> Callable[[pa.Table], pa.Table]:
        def change(table: pa.Table) -> pa.Table:
            at = table.schema.get_field_index(column)
            names = [HOSTILE + str(name) for name in table[column].to_pylist()]
            return table.set_column(at, column, pa.array(names))

        return change

    edit_table(folder, "kinds", renamed("kind"))
    edit_table(folder, "registry", renamed("kind"))
    edit_table(folder, "buses", renamed("bus"))

    def money(table: pa.Table) -> pa.Table:
        return table.replace_schema_metadata(table.schema.metadata | {b"currency": HOSTILE})

    edit_table(folder, "market", money)
    return folder


def training(folder: Path) -> Path:
    """A training of three episodes."""
    folder.mkdir()
    rows = [
        {"reward/storage": 0.1 * n, "reward/ev": -0.1, "loss/storage": 1.0 / n, "epsilon": 0.5}
        for n in (1, 2, 3)
    ]
    rows[-1]["score"] = 0.25
    (folder / "metrics.parquet").write_bytes(rows_bytes(rows))
    about = {"status": "finished", "scenario": "storage_alone", "score": 0.25}
    write_json(folder / "manifest.json", about)
    return folder


def figure(page: Page, name: str) -> dict[str, Any]:
    """A plot of a page, as the page's script gets it."""
    found = re.search(
        f'<script type="application/json" id="{name}-data">(.*?)</script>', page.html, re.DOTALL
    )
    assert found is not None
    stored: dict[str, Any] = json.loads(found[1])
    return stored


def traces(page: Page, name: str) -> dict[str, dict[str, Any]]:
    """The traces of a plot by their names."""
    return {trace.get("name", ""): trace for trace in figure(page, name)["data"]}
