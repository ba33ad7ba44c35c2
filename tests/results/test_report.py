"""The report of a run: what its plots hold, and what it does with folders that are not whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from plotly.offline import get_plotlyjs

from swarm.errors import UsageError
from swarm.results.kpis import DEFINITIONS
from swarm.results.report import report, write_page
from swarm.results.report_compare import compare_runs
from swarm.results.report_figures import GROUPS, shown
from swarm.results.report_lines import MOST_POINTS, bucket_size, means, thinned
from swarm.results.run import read_run
from tests.results.reports import (
    HOSTILE,
    copied,
    edit_json,
    edit_table,
    figure,
    hostile,
    interrupt,
    made,
    traces,
    training,
)

Factory = pytest.TempPathFactory


def test_page_is_a_function_of_the_folder_and_needs_no_network(
    tmp_path_factory: Factory,
) -> None:
    folder = made("spike", tmp_path_factory)
    page = report(folder)
    assert page.html == report(folder).html
    own = page.html.replace(get_plotlyjs(), "")
    assert len(page.html) - len(own) == len(get_plotlyjs())
    for fetched in ("src=", "<link", "@import", "url(", "http://", "https://"):
        assert fetched not in own
    assert "default-src 'none'" in own
    assert page.shown == (
        *("price", "merit", "dispatch", "frequency", "voltage", "batteries", "profits"),
        *("emissions", "contracts"),
    )
    assert set(page.hidden) == {"learning", "negotiation"}
    for reason in page.hidden.values():
        assert reason in page.html


def test_areas_add_up_to_what_was_used(tmp_path_factory: Factory) -> None:
    """Supply of a tick, balancing included, is all that flowed: the balance of the grid's table."""
    for name in ("spike", "emergency"):
        folder = made(name, tmp_path_factory)
        drawn = traces(report(folder), "dispatch")
        grid = pq.read_table(folder / "data/grid").to_pydict()
        supply = sum(np.array(t["y"]) for t in drawn.values() if "stackgroup" in t)
        used = [
            sum(grid[f"{name}_w"][at] for name in ("load", "charge", "export", "losses", "spilled"))
            - grid["shed_w"][at]
            for at in range(len(grid["tick"]))
        ]
        assert supply == pytest.approx(np.array(used) / 1e6, rel=2e-3)
        assert drawn["load"]["y"] == pytest.approx(np.array(grid["load_w"]) / 1e6, rel=1e-6)


def test_lines_end_at_the_key_figures(tmp_path_factory: Factory) -> None:
    folder = made("spike", tmp_path_factory)
    page, metrics = report(folder), read_run(folder).metrics
    for kind, trace in traces(page, "profits").items():
        assert trace["y"][-1] == pytest.approx(metrics["profit_by_kind"][kind], rel=1e-5)
    # 250 kg/MWh is the scenario's outside.emissions_kg_per_mwh.
    imported_mw = np.array(pq.read_table(folder / "data/grid")["import_w"]) / 1e6
    drawn = traces(page, "emissions")["imports"]["y"]
    assert drawn == pytest.approx(0.25 * imported_mw, rel=1e-4)


def test_state_of_charge_is_of_the_batteries(tmp_path_factory: Factory) -> None:
    folder = made("spike", tmp_path_factory)
    run = read_run(folder)
    registry, agents = run.registry.to_pylist(), run.agents
    storages = [row["agent"] for row in registry if row["kind"] == "storage"]
    rows = agents.filter(pc.is_in(agents["agent"], pa.array(storages, pa.int32())))
    last = rows.filter(pc.equal(rows["tick"], 3))["stored_mwh"]
    size = sum(
        json.loads(row["parameters"])["energy_mwh"] for row in registry if row["kind"] == "storage"
    )
    (name,) = (name for name in traces(report(folder), "batteries") if name.startswith("storage"))
    drawn = traces(report(folder), "batteries")[name]["y"][-1]
    assert drawn == pytest.approx(100 * pc.sum(last).as_py() / size, rel=1e-5)


def test_an_emergency_is_told(tmp_path_factory: Factory) -> None:
    folder = made("emergency", tmp_path_factory)
    page = report(folder)
    assert "disturbed" in page.shown
    assert "emergency detected" in traces(page, "disturbed")
    assert "emergency detected" in page.html
    nadir = min(y for y in traces(page, "disturbed")["frequency"]["y"])
    assert nadir == pytest.approx(read_run(folder).metrics["nadir_hz"], abs=1e-3)
    assert len(traces(page, "frequency")["event"]["x"]) == len(read_run(folder).table("events"))


def test_voltage_is_the_table(tmp_path_factory: Factory) -> None:
    folder = made("spike", tmp_path_factory)
    (heat, *_) = figure(report(folder), "voltage")["data"]
    rows = pq.read_table(folder / "data/buses").to_pylist()
    drawn = {
        (bus, tick): heat["z"][at][tick] for at, bus in enumerate(heat["y"]) for tick in range(4)
    }
    assert drawn == {
        (row["bus"], row["tick"]): pytest.approx(row["voltage_pu"], abs=1e-6) for row in rows
    }


def test_negotiation_is_shown(tmp_path_factory: Factory) -> None:
    folder = made("negotiated", tmp_path_factory)
    rounds = pq.read_table(folder / "data/market")["rounds"].to_pylist()
    assert traces(report(folder), "negotiation")["prices called"]["y"] == rounds


def test_every_figure_has_a_place_and_a_meaning(tmp_path_factory: Factory) -> None:
    metrics = read_run(made("spike", tmp_path_factory)).metrics
    numbers = {
        name for name, value in metrics.items() if isinstance(value, int | float) or value is None
    }
    about = {"seed", "tick_minutes", "ticks", "agents", "agents_in_table"}
    grouped = {name for names in GROUPS.values() for name in names}
    assert numbers - about - {"refusals_by_reason", "violations_by_rule"} <= grouped
    assert grouped <= set(DEFINITIONS)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("mean_price", 1098.586, "1,098.59 EUR/MWh"),
        ("renewable_share", 0.6182, "61.82 %"),
        ("nadir_hz", 49.99912, "49.999 Hz"),
        ("emissions_tonnes", 0.01234, "0.0123 t CO2"),
        ("contracts", 20367, "20,367"),
        ("system_cost", None, "-"),
    ],
)
def test_figures_in_words(name: str, value: float | None, words: str) -> None:
    assert shown(name, value, "EUR") == words


def test_changes_in_words() -> None:
    assert shown("renewable_share", -0.1514, "EUR", signed=True) == "-15.14 points"
    assert shown("min_price", 0.0, "EUR", signed=True) == "0 EUR/MWh"
    assert shown("contracts", 12, "EUR", signed=True) == "+12"


def test_thinned_lines_keep_their_peaks() -> None:
    rng = np.random.default_rng(1)
    for n in (1, 1999, 2000, 2001, 105_120):
        values = rng.normal(size=n)
        values[rng.random(n) < 0.1] = np.nan
        values[n // 3] = 50.0
        kept = thinned(values)
        assert len(kept) <= max(MOST_POINTS + 2, 1)
        assert (np.diff(kept) > 0).all()
        assert (kept[0], kept[-1]) == (0, n - 1)
        assert np.nanmax(values[kept]) == 50.0
        assert np.nanmin(values[kept]) == np.nanmin(values)


def test_means_keep_energy() -> None:
    values = np.arange(10.0)
    assert means(values, 4).tolist() == [1.5, 5.5, 8.5]
    assert means(values, 1) is values
    assert [bucket_size(n, 5) for n in (2000, 2001, 105_120)] == [1, 12, 288]
    assert bucket_size(10**7, 7, 100) == 10**5


def test_a_long_run_makes_a_small_page(tmp_path_factory: Factory) -> None:
    folder = copied("textbook", tmp_path_factory)

    def longer(table: pa.Table) -> pa.Table:
        count = len(table) // 3
        whole = pa.concat_tables([table] * 7000)
        tick = np.repeat(np.arange(21_000), count).astype(np.int32)
        at = whole.schema.get_field_index("tick")
        return whole.set_column(at, whole.schema.field(at), pa.array(tick)).combine_chunks()

    for table in ("market", "grid", "kinds"):
        edit_table(folder, table, longer)
    page = report(folder)
    assert "thinned" in page.html
    assert len(page.html) - len(get_plotlyjs()) < 700_000
    drawn = traces(page, "price")["clearing price"]
    assert len(drawn["y"]) == len(drawn["x"]) <= MOST_POINTS + 2
    assert {55.0, 65.0, 45.0} >= set(drawn["y"]) >= {65.0, 45.0}


def test_names_from_files_are_text(tmp_path_factory: Factory) -> None:
    folder = hostile(copied("spike", tmp_path_factory))
    page = report(folder)
    own = page.html.replace(get_plotlyjs(), "")
    assert HOSTILE not in own
    assert "<img" not in own
    assert own.count("<script") == own.count("</script>")
    pair = compare_runs([folder, made("spike", tmp_path_factory)]).html
    assert HOSTILE not in pair
    assert "<img" not in pair.replace(get_plotlyjs(), "")


def test_an_interrupted_run_shows_what_it_wrote(tmp_path_factory: Factory) -> None:
    folder = copied("spike", tmp_path_factory)
    interrupt(folder)
    page = report(folder)
    assert "did not finish (status interrupted): Ctrl-C" in page.html
    assert {"price", "dispatch", "voltage"} <= set(page.shown)
    assert "audit verify" in page.hidden["contracts"]
    for path in (folder / "data/market").iterdir():
        path.unlink()
    page = report(folder)
    assert page.shown == ()
    assert "before it wrote a tick" in page.html


def test_damage_is_told_by_name(tmp_path_factory: Factory) -> None:
    folder = copied("spike", tmp_path_factory)
    part = folder / "data/market/part-00000.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:-1])
    with pytest.raises(UsageError, match="SHA256SUMS"):
        report(folder)
    part.write_bytes(whole)
    metrics = (folder / "metrics.json").read_text()
    (folder / "metrics.json").write_text("{}")
    with pytest.raises(UsageError, match=r"metrics\.json"):
        report(folder)
    (folder / "metrics.json").write_text(metrics)
    interrupt(folder)
    for damaged in (whole[:-1], b"", b"PAR1"):
        part.write_bytes(damaged)
        with pytest.raises(UsageError, match=r"part-00000\.parquet: damaged"):
            report(folder)
    part.write_bytes(whole)
    table = pq.read_table(part).drop_columns(["volume_w"])
    pq.write_table(table, part)
    with pytest.raises(UsageError, match="no column 'volume_w'"):
        report(folder)
    (folder / "manifest.json").write_text("[1]")
    with pytest.raises(UsageError, match=r"manifest\.json"):
        report(folder)


def test_two_runs_side_by_side(tmp_path_factory: Factory) -> None:
    folders = [made(name, tmp_path_factory) for name in ("spike", "emergency")]
    page = compare_runs(folders)
    assert [trace["dash"] for trace in (t["line"] for t in figure(page, "price")["data"])] == [
        "solid",
        "dash",
    ]
    assert "differ in currency" in page.html
    same = compare_runs([folders[0], folders[0]])
    assert "the same, byte by byte" in same.html
    assert "profit" in same.shown
    ours, theirs = figure(same, "profit")["data"]
    assert ours["y"] == theirs["y"]
    for folders_given in ([folders[0]], folders * 4):
        with pytest.raises(UsageError, match="2 to 6 runs"):
            compare_runs(folders_given)
    broken = copied("spike", tmp_path_factory)
    interrupt(broken)
    with pytest.raises(UsageError, match="not finished"):
        compare_runs([folders[0], broken])


def test_a_training_has_curves(tmp_path: Path) -> None:
    folder = training(tmp_path / "training")
    page = report(folder)
    assert [trace["y"] for trace in figure(page, "curve-0")["data"]] == [[0.25]]
    assert traces(page, "curve-1")["storage"]["y"] == pytest.approx([0.1, 0.2, 0.3])
    with pytest.raises(UsageError, match="--tick 1"):
        report(folder, [1])
    (folder / "metrics.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="damaged"):
        report(folder)


def test_a_run_that_learned_tells_its_figures(tmp_path_factory: Factory) -> None:
    folder = copied("spike", tmp_path_factory)
    edit_json(folder / "metrics.json", learning={"lessons": 4, "reward/storage": 0.125})
    page = report(folder)
    assert "learning" in page.shown
    assert "learned 4 times" in page.html
    assert "<td>reward/storage</td><td>0.125</td>" in page.html


def test_only_a_report_is_written_over(tmp_path: Path) -> None:
    page = report(training(tmp_path / "training"))
    path = tmp_path / "page.html"
    write_page(path, page)
    path.write_text(path.read_text() + "<!-- old -->")
    write_page(path, page)
    assert path.read_text() == page.html
    path.write_text("mine")
    with pytest.raises(UsageError, match="no report"):
        write_page(path, page)
    assert path.read_text() == "mine"
    write_page(path, page, force=True)
    assert path.read_text() == page.html
    for wrong in (tmp_path, tmp_path / "none/page.html"):
        with pytest.raises(UsageError, match="--out"):
            write_page(wrong, page)
