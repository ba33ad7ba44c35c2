"""A run that is over: its manifest, figures and tables, from memory or from its folder."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from swarm.errors import UsageError, nearest
from swarm.results.folder import CHECKSUMS, checksums_of, digest_folder, digest_of
from swarm.results.tables import TABLES, read_parquet
from swarm.results.writer import Results

MANIFEST = "manifest.json"
FINISHED = "finished"
MENDS = {
    "orders": "orders are kept with --set results.orders=true",
    **dict.fromkeys(("events", "trace"), "it is of scenarios with a grid section"),
    **dict.fromkeys(("buses", "lines"), "it is of scenarios with a grid.feeder"),
}
"""Why a run may lack a table."""


@dataclass(frozen=True)
class Run:
    """What a run was and gave.

    Attributes:
        run_dir: its folder; None where the results are in memory.
        manifest: how it was run, and its `status`.
        metrics: see `swarm.results.kpis.DEFINITIONS`; empty where it did not finish.
        timings: wall-clock figures; empty where it did not finish.
        digest: one SHA-256 over its tables.
        parts: bytes of the tables where there is no folder.
        audit_log: bytes of the audit log where there is no folder and something was signed.
        baseline: the run it is compared with, where the scenario has a baseline and it was run
            just now; `manifest["baseline"]` names its folder.
    """

    run_dir: Path | None
    manifest: dict[str, Any]
    metrics: dict[str, Any]
    timings: dict[str, Any]
    digest: str
    parts: Mapping[str, bytes] | None = field(default=None, repr=False)
    audit_log: bytes | None = field(default=None, repr=False)
    baseline: Run | None = field(default=None, repr=False)

    def table(self, name: str) -> pa.Table:
        """One table as Arrow, see `swarm.results.tables`; read anew at each call.

        Args:
            name: `market`, `grid`, `kinds`, `agents`, `registry`; `orders` where they were kept;
                `events` and `trace` with a grid; `buses` and `lines` with a feeder.

        Raises:
            UsageError: where there is no such table, or a part of it is damaged.
        """
        if name not in TABLES:
            raise UsageError(f"no table called {name!r}{nearest(name, TABLES)}")
        read = [self._read(part) for part in self._parts_of(name)]
        if not read:
            mend = f"; {MENDS[name]}" if name in MENDS else ""
            raise UsageError(f"{self.run_dir or 'this run'} has no table {name!r}{mend}")
        return pa.concat_tables(read)

    @property
    def market(self) -> pa.Table:
        """One row for each tick: price, volume, accounts."""
        return self.table("market")

    @property
    def grid(self) -> pa.Table:
        """One row for each tick: the balance."""
        return self.table("grid")

    @property
    def kinds(self) -> pa.Table:
        """One row for each tick and kind: sums over all its agents."""
        return self.table("kinds")

    @property
    def agents(self) -> pa.Table:
        """One row for each tick and agent (or sampled agent)."""
        return self.table("agents")

    @property
    def registry(self) -> pa.Table:
        """One row for each agent: who it is."""
        return self.table("registry")

    def _parts_of(self, name: str) -> list[str]:
        prefix = f"data/{name}/"
        if self.parts is not None:
            return sorted(path for path in self.parts if path.startswith(prefix))
        assert self.run_dir is not None
        folder = self.run_dir / prefix
        return [f"{prefix}{path.name}" for path in sorted(folder.glob("*.parquet"))]

    def _read(self, part: str) -> pa.Table:
        if self.parts is not None:
            return read_parquet(io.BytesIO(self.parts[part]))
        assert self.run_dir is not None
        path = self.run_dir / part
        try:
            return read_parquet(path)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, f"not a whole Parquet file ({_first_line(error)})") from None


def finished_run(
    folder: Path | None,
    manifest: dict[str, Any],
    timings: dict[str, Any],
    results: Results,
    audit_log: bytes | None = None,
    baseline: Run | None = None,
) -> Run:
    """The run that just ended; its results are as `read_run(folder)` would give them."""
    metrics, digest, parts = results.metrics, results.digest, results.parts
    return Run(folder, manifest, metrics, timings, digest, parts, audit_log, baseline)


def read_run(run_dir: str | Path, *, unfinished: bool = False) -> Run:
    """Read a run's folder and check every table against its checksum.

    Args:
        run_dir: the run's folder.
        unfinished: also take a run that failed or was interrupted: without figures, and with the
            parts of its tables that were written until then, unchecked.

    Raises:
        UsageError: where it is not a run's folder, is damaged, or the run did not finish.
    """
    folder = Path(run_dir)
    if not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder} is not a run's folder: it has no {MANIFEST}{_hint(folder)}")
    manifest = _read_json(folder / MANIFEST)
    status = manifest.get("status")
    if status != FINISHED:
        if not unfinished:
            raise UsageError(
                f"{folder}: this run is not finished (status {status!r}), so its tables are not "
                "complete; what was written can still be read with "
                f"swarm.read_run(..., unfinished=True), or it goes on with: swarm resume {folder}"
            )
        return Run(folder, manifest, {}, {}, digest_folder(folder))
    digest = _verify(folder, manifest)
    metrics, timings = _read_json(folder / "metrics.json"), _read_json(folder / "timings.json")
    return Run(folder, manifest, metrics, timings, digest)


def _verify(folder: Path, manifest: dict[str, Any]) -> str:
    """Compare all tables with their checksums; the digest, which is in the manifest too."""
    listed = folder / CHECKSUMS
    try:
        text = listed.read_bytes()
    except OSError as error:
        raise _damaged(listed, error.strerror or str(error)) from None
    if hashlib.sha256(text).hexdigest() != manifest.get("digest"):
        raise _damaged(listed, f"its SHA-256 is not the digest in {MANIFEST}")
    expected, actual = {}, checksums_of(folder)
    for line in text.decode().splitlines():
        checksum, path = line.split("  ", 1)
        expected[path] = checksum
    for path in sorted(expected.keys() | actual.keys()):
        if path not in actual:
            raise _damaged(folder / path, "it is missing")
        if path not in expected:
            raise _damaged(folder / path, f"it is not in {CHECKSUMS}: not of this run")
        if actual[path] != expected[path]:
            raise _damaged(folder / path, f"its SHA-256 is not the one in {CHECKSUMS}")
    return digest_of(actual)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, _first_line(error)) from None
    if not isinstance(value, dict):
        raise _damaged(path, "not a JSON object")
    return value


def _damaged(path: Path, what: str) -> UsageError:
    return UsageError(f"{path}: damaged: {what}; restore it from a copy, or run again")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _hint(folder: Path) -> str:
    if not folder.is_dir():
        return "; no such folder" if not folder.exists() else "; it is a file"
    runs = sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))
    return f" (did you mean {folder / runs[-1]}?)" if runs else ""
