"""Reading a run back: damage is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from streams import Stream

from swarm.errors import UsageError
from swarm.results.folder import digest_folder, write_json
from swarm.results.run import Run, finished_run, read_run
from swarm.results.writer import Results, ResultWriter
from swarm.scenario.fleets import rosters
from swarm.scenario.schema import Scenario

Finished = Callable[[Path], Run]
PART = "data/agents/part-00000.parquet"


def test_round_trip(
    finished: Finished,
    write: Callable[..., Results],
    by_hand_scenario: Scenario,
    by_hand_stream: Stream,
    tmp_path: Path,
) -> None:
    made, read = finished(tmp_path / "a"), read_run(tmp_path / "a")
    assert read == made
    results = write(by_hand_scenario, by_hand_stream)
    memory = finished_run(None, made.manifest, made.timings, results)
    assert (memory.digest, memory.metrics) == (read.digest, read.metrics)
    for name in ("market", "grid", "kinds", "agents", "registry"):
        assert read.table(name).equals(memory.table(name), check_metadata=True)
        assert read.table(name).equals(getattr(read, name))


def test_the_folder_may_move(finished: Finished, tmp_path: Path) -> None:
    made = finished(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert read_run(str(tmp_path / "b")).digest == made.digest
    assert finished(tmp_path / "c").digest == made.digest


@pytest.mark.parametrize("table", ["agents", "grid", "kinds", "market", "registry"])
@pytest.mark.parametrize("where", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_a_flipped_bit_is_found(
    finished: Finished, tmp_path: Path, table: str, where: float
) -> None:
    made = finished(tmp_path)
    path = tmp_path / "data" / table / "part-00000.parquet"
    data = bytearray(path.read_bytes())
    data[int(where * (len(data) - 1))] ^= 1
    path.write_bytes(data)
    assert digest_folder(tmp_path) != made.digest
    with pytest.raises(UsageError, match=f"{path}: damaged"):
        read_run(tmp_path)


def test_page_checksums(
    homes: Callable[..., Scenario],
    random_stream: Callable[..., Stream],
    write: Callable[..., Results],
    tmp_path: Path,
) -> None:
    """A bit flipped in noise decompresses to other noise: only the page's checksum can tell."""
    results = write(homes(50), random_stream(50, 40), tmp_path)
    run = finished_run(tmp_path, {}, {}, results)
    path = tmp_path / PART
    group, names = pq.read_metadata(path).row_group(0), run.agents.schema.names
    chunk = group.column(names.index("stored_mwh"))
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 1
    before = run.agents
    path.write_bytes(data)
    assert not pq.ParquetFile(path, page_checksum_verification=False).read().equals(before)
    with pytest.raises(UsageError, match=f"{PART}: damaged: not a whole Parquet file"):
        run.table("agents")


def test_truncated(finished: Finished, tmp_path: Path) -> None:
    run = finished(tmp_path)
    data = (tmp_path / PART).read_bytes()
    (tmp_path / PART).write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match=f"{PART}: damaged"):
        read_run(tmp_path)
    with pytest.raises(UsageError, match=f"{PART}: damaged"):
        run.table("agents")


def test_missing_and_foreign_parts(finished: Finished, tmp_path: Path) -> None:
    finished(tmp_path)
    foreign = tmp_path / "data/agents/part-00001.parquet"
    shutil.copy(tmp_path / PART, foreign)
    with pytest.raises(UsageError, match=r"part-00001\.parquet: damaged: it is not in SHA256SUMS"):
        read_run(tmp_path)
    foreign.unlink()
    (tmp_path / PART).unlink()
    with pytest.raises(UsageError, match=f"{PART}: damaged: it is missing"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["SHA256SUMS", "metrics.json", "timings.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_files_are_named(
    finished: Finished, tmp_path: Path, name: str, damage: str
) -> None:
    finished(tmp_path)
    path = tmp_path / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.unlink()
    with pytest.raises(UsageError, match=f"{path}: damaged"):
        read_run(tmp_path)


def test_parts_and_checksums_of_another_run(finished: Finished, tmp_path: Path) -> None:
    """Checksums that fit the tables are not enough: the manifest knows the digest."""
    finished(tmp_path)
    text = (tmp_path / "manifest.json").read_text()
    digest = json.loads(text)["digest"]
    (tmp_path / "manifest.json").write_text(text.replace(digest, "0" * 64))
    with pytest.raises(UsageError, match=r"SHA256SUMS: damaged: .*manifest"):
        read_run(tmp_path)


def test_not_a_run(finished: Finished, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere is not a run's folder.*no such folder"):
        read_run(tmp_path / "nowhere")
    finished(tmp_path / "runs" / "one")
    finished(tmp_path / "runs" / "two")
    with pytest.raises(UsageError, match=r"did you mean .*/runs/two\?"):
        read_run(tmp_path / "runs")
    with pytest.raises(UsageError, match="it is a file"):
        read_run(tmp_path / "runs" / "one" / "metrics.json")
    (tmp_path / "runs" / "one" / "manifest.json").write_text("[1]")
    with pytest.raises(UsageError, match=r"one/manifest\.json: damaged: not a JSON object"):
        read_run(tmp_path / "runs" / "one")


@pytest.mark.parametrize("status", ["started", "failed", "interrupted"])
def test_unfinished(
    by_hand_scenario: Scenario, by_hand_stream: Stream, tmp_path: Path, status: str
) -> None:
    writer = ResultWriter(by_hand_scenario, rosters(by_hand_scenario), tmp_path)
    writer.write(*by_hand_stream[0])
    write_json(tmp_path / "manifest.json", {"status": status})
    with pytest.raises(UsageError, match=f"not finished .status '{status}'.*unfinished=True"):
        read_run(tmp_path)
    run = read_run(tmp_path, unfinished=True)
    assert (run.manifest["status"], run.metrics, run.timings) == (status, {}, {})
    assert len(run.registry) == 5
    with pytest.raises(UsageError, match="has no table 'market'"):
        _ = run.market


def test_truncated_part_of_an_unfinished_run(finished: Finished, tmp_path: Path) -> None:
    finished(tmp_path)
    write_json(tmp_path / "manifest.json", {"status": "failed"})
    data = (tmp_path / PART).read_bytes()
    (tmp_path / PART).write_bytes(data[:-1])
    run = read_run(tmp_path, unfinished=True)
    assert len(run.market) == 4
    with pytest.raises(UsageError, match=f"{PART}: damaged: not a whole Parquet file"):
        _ = run.agents


def test_table_names(finished: Finished, tmp_path: Path) -> None:
    run = finished(tmp_path)
    with pytest.raises(UsageError, match=r"no table called 'agent'.*did you mean 'agents'"):
        run.table("agent")
    with pytest.raises(UsageError, match=r"no table 'orders'; .*--set results\.orders=true"):
        run.table("orders")
    with pytest.raises(UsageError, match=r"no table 'trace'; .* a grid section"):
        run.table("trace")
    with pytest.raises(UsageError, match=r"no table 'lines'; .* grid\.feeder"):
        run.table("lines")
