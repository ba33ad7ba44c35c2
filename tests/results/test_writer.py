"""Tables: what is in them, how they are cut, and that the bytes follow from the contents alone."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
from streams import Stream

from swarm.results.by_kind import WRITTEN_METERS
from swarm.results.folder import digest_folder
from swarm.results.run import Run
from swarm.results.writer import FULL_AGENTS, Results, ResultWriter, sampled_agents
from swarm.scenario.fleets import rosters
from swarm.scenario.schema import Scenario

Write = Callable[..., Results]
Streams = Callable[..., Stream]
Homes = Callable[..., Scenario]


def run_of(results: Results) -> Run:
    return Run(None, {}, results.metrics, {}, results.digest, results.parts)


def test_same_content_same_bytes(
    write: Write, random_stream: Streams, homes: Homes, tmp_path: Path
) -> None:
    scenario = homes(6, orders=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    memory = write(scenario, random_stream(6, 9, orders=True))
    for name in ("a", "b"):
        on_disk = write(scenario, random_stream(6, 9, orders=True), tmp_path / name)
        assert on_disk.digest == memory.digest == digest_folder(tmp_path / name)
        assert on_disk.metrics == memory.metrics
        files = (tmp_path / name).rglob("*.parquet")
        written = {f.relative_to(tmp_path / name).as_posix(): f.read_bytes() for f in files}
        assert written == memory.parts
    assert not list(tmp_path.rglob("*.tmp"))


def test_digest_is_the_checksum_of_the_checksums(
    write: Write, random_stream: Streams, homes: Homes, tmp_path: Path
) -> None:
    results = write(homes(2), random_stream(2, 3), tmp_path)
    listed = (tmp_path / "SHA256SUMS").read_bytes()
    assert hashlib.sha256(listed).hexdigest() == results.digest
    for line in listed.decode().splitlines():
        checksum, path = line.split("  ")
        assert hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() == checksum


def test_any_other_content_is_another_digest(
    write: Write, random_stream: Streams, homes: Homes
) -> None:
    stream = random_stream(4, 5)
    first = write(homes(4), stream)
    stream[3][0].meters.stored_mwh[2] = np.nextafter(stream[3][0].meters.stored_mwh[2], 9)
    assert write(homes(4), stream).digest != first.digest
    other = homes(4).model_copy(update={"currency": "EUR"})
    assert write(other, random_stream(4, 5)).digest != first.digest
    assert write(homes(4), random_stream(4, 5)).digest == first.digest


def test_tables_hold_what_was_recorded(write: Write, random_stream: Streams, homes: Homes) -> None:
    stream = random_stream(6, 7)
    run = run_of(write(homes(6), stream))
    market, grid, agents = run.market.to_pydict(), run.grid.to_pydict(), run.agents
    assert market["tick"] == grid["tick"] == list(range(7))
    assert market["price_milli_per_mwh"] == [record.price_milli for record, _ in stream]
    assert market["volume_w"] == [record.volume_w for record, _ in stream]
    loads = [operated.balance.load_w for _, operated in stream if operated.balance is not None]
    assert grid["load_w"] == loads
    assert agents["tick"].to_pylist() == [tick for tick in range(7) for _ in range(6)]
    assert agents["agent"].to_pylist() == list(range(6)) * 7
    for name in WRITTEN_METERS:
        column = "marginal_cost_milli_per_mwh" if name == "marginal_cost_milli" else name
        expected = np.concatenate([getattr(record.meters, name) for record, _ in stream])
        np.testing.assert_array_equal(agents[column].to_numpy(), expected)
    for name in ("contract_w", "received_micro"):
        expected = np.concatenate([getattr(record, name) for record, _ in stream])
        np.testing.assert_array_equal(agents[name].to_numpy(), expected)


def test_metadata_and_options(write: Write, random_stream: Streams, homes: Homes) -> None:
    scenario = homes(2).model_copy(update={"currency": "AUD", "tick_minutes": 30})
    results = write(scenario, random_stream(2, 2))
    assert results.parts is not None
    for path, data in results.parts.items():
        with pq.ParquetFile(io.BytesIO(data)) as file:
            metadata = file.schema_arrow.metadata
            assert metadata[b"currency"] == b"AUD", path
            assert metadata[b"tick_minutes"] == b"30", path
            assert metadata[b"start"] == b"2025-06-18T00:00:00+01:00", path
            assert file.metadata.num_row_groups == 1, path
            columns = file.metadata.num_columns
            codecs = {file.metadata.row_group(0).column(i).compression for i in range(columns)}
            assert codecs == {"ZSTD"}, path


def test_kinds_are_sums_over_agents(write: Write, random_stream: Streams, homes: Homes) -> None:
    run = run_of(write(homes(7, grid={}), random_stream(7, 4)))
    agents = run.agents.join(run.registry.select(["agent", "kind"]), "agent").to_pandas()
    agents["discharge_w"] = agents.battery_w.clip(lower=0)
    agents["charge_w"] = -agents.battery_w.clip(upper=0)
    agents["reduced_w"] = agents.shifted_w.clip(lower=0)
    expected = agents.groupby(["tick", "kind"]).sum()
    kinds = run.kinds.to_pandas().set_index(["tick", "kind"])
    assert kinds.pop("agents").tolist() == [3, 4] * 4
    assert len(kinds.columns) == 23
    for name in kinds.columns:
        np.testing.assert_allclose(kinds[name], expected[name], rtol=1e-12, err_msg=name)
        if kinds[name].dtype == np.int64:
            assert (kinds[name] == expected[name]).all(), name


def test_registry(write: Write, by_hand_scenario: Scenario, by_hand_stream: Stream) -> None:
    registry = run_of(write(by_hand_scenario, by_hand_stream)).registry
    assert registry["id"].to_pylist() == ["town-0001", "car-0001", "plant-1", "plant-2", "sun-0001"]
    assert registry["fleet"].to_pylist() == ["town", "car", "plant", "plant", "sun"]
    assert registry["kind"].to_pylist() == ["consumer", "ev", "generator", "generator", "solar"]
    text = registry["parameters"][2].as_py()
    assert json.loads(text)["renewable"] is True
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_parts_are_cut_by_tick(write: Write, random_stream: Streams, homes: Homes) -> None:
    results = write(homes(90), random_stream(90, 2100))
    assert results.parts is not None
    rows = {path: pq.read_metadata(io.BytesIO(data)) for path, data in results.parts.items()}
    count = {path[5:].replace(".parquet", ""): meta.num_rows for path, meta in rows.items()}
    # 100,000 // 90 = 1,111 ticks of agents; a week of ticks at most.
    assert count == {
        "agents/part-00000": 1111 * 90,
        "agents/part-00001": 989 * 90,
        "grid/part-00000": 2016,
        "grid/part-00001": 84,
        "kinds/part-00000": 2016 * 2,
        "kinds/part-00001": 84 * 2,
        "market/part-00000": 2016,
        "market/part-00001": 84,
        "registry/part-00000": 90,
    }
    assert {meta.num_row_groups for meta in rows.values()} == {1}
    assert run_of(results).agents["tick"].to_pylist() == [t for t in range(2100) for _ in range(90)]


def test_a_tick_is_never_cut(write: Write, random_stream: Streams, homes: Homes) -> None:
    scenario = homes(100_002, agents="full")
    results = write(scenario, random_stream(100_002, 2))
    assert results.parts is not None
    sizes = {p: len(d) for p, d in results.parts.items() if p.startswith("data/agents/")}
    assert len(sizes) == 2
    assert results.metrics["agents_table"] == "full"
    assert run_of(results).agents["tick"].value_counts().to_pylist() == [
        {"values": 0, "counts": 100_002},
        {"values": 1, "counts": 100_002},
    ]


def test_memory_is_freed_at_every_part(random_stream: Streams, homes: Homes) -> None:
    scenario = homes(40_000, agents="full")
    writer = ResultWriter(scenario, rosters(scenario), None)
    stream = random_stream(40_000, 1)
    most = 0
    for tick in range(5):
        writer.write(*stream[0])
        most = max(most, len(writer._parts["agents"]._ticks))
        assert len(writer._parts["market"]._ticks) == tick + 1
    assert most == 1  # two ticks of 40,000 rows are one group


def test_orders(write: Write, random_stream: Streams, homes: Homes) -> None:
    orders = run_of(write(homes(3, orders=True), random_stream(3, 3, orders=True))).table("orders")
    assert orders.to_pydict() == {
        "tick": [1, 2, 2],
        "agent": [0, 0, 1],
        "side": [-1, -1, -1],
        "price_milli_per_mwh": [0, 0, 1000],
        "quantity_w": [7, 7, 8],
        "accepted_w": [1, 1, 2],
    }


def test_no_agents(write: Write, random_stream: Streams) -> None:
    run = run_of(write(Scenario(name="empty"), random_stream(0, 3)))
    assert (len(run.market), len(run.grid)) == (3, 3)
    for name in ("agents", "kinds", "registry"):
        table = run.table(name)
        assert len(table) == 0
        assert "agent" in table.schema.names or name == "kinds"


@pytest.mark.parametrize(
    ("mode", "agents", "size", "expected"),
    [
        ("auto", FULL_AGENTS, 50, None),
        ("auto", FULL_AGENTS + 1, 50, 50),
        ("full", FULL_AGENTS + 1, 50, None),
        ("sample", 60, 50, 50),
        ("sample", 50, 50, None),
        ("sample", 0, 50, None),
    ],
)
def test_when_agents_are_sampled(
    homes: Homes, mode: str, agents: int, size: int, expected: int | None
) -> None:
    sample = sampled_agents(homes(2, agents=mode, sample=size), agents)
    if sample is None:
        assert expected is None
    else:
        assert len(set(sample.tolist())) == len(sample) == expected
        assert (np.diff(sample) > 0).all()
        assert sample[0] >= 0
        assert sample[-1] < agents


def test_sample_is_seeded(homes: Homes) -> None:
    def sample(seed: int) -> list[int]:
        drawn = sampled_agents(homes(2, seed=seed, agents="sample", sample=20), 400)
        assert drawn is not None
        return drawn.tolist()

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_every_agent_is_as_likely(homes: Homes) -> None:
    drawn: Counter[int] = Counter()
    for seed in range(400):
        sample = sampled_agents(homes(2, seed=seed, agents="sample", sample=5), 20)
        assert sample is not None
        drawn.update(sample.tolist())
    # Binomial(400, 1/4): 100 +- 8.7; five deviations are one failure in 100,000 such tests.
    assert all(56 < drawn[agent] < 144 for agent in range(20))


def test_sampled_table(write: Write, random_stream: Streams, homes: Homes) -> None:
    stream = random_stream(40, 6)
    whole = write(homes(40), stream)
    part = write(homes(40, agents="sample", sample=7), stream)
    assert (part.metrics["agents_table"], part.metrics["agents_in_table"]) == ("sample", 7)
    assert (whole.metrics["agents_table"], whole.metrics["agents_in_table"]) == ("full", 40)
    for metrics in (part.metrics, whole.metrics):
        del metrics["agents_table"], metrics["agents_in_table"]
    assert part.metrics == whole.metrics
    for table in ("market", "grid", "kinds"):
        assert run_of(part).table(table).equals(run_of(whole).table(table))
    registry = run_of(part).registry.to_pandas()
    shown = registry[registry.in_agents_table].agent.tolist()
    assert len(shown) == 7
    full = run_of(whole).agents
    kept = full.filter(pa.compute.is_in(full["agent"], pa.array(shown, pa.int32())))
    assert run_of(part).agents.combine_chunks().equals(kept.combine_chunks())


def test_registry_is_written_before_the_first_tick(homes: Homes, tmp_path: Path) -> None:
    scenario = homes(4)
    writer = ResultWriter(scenario, rosters(scenario), tmp_path)
    assert [path.parent.name for path in tmp_path.rglob("*.parquet")] == ["registry"]
    writer.finish()
