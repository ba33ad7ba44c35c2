"""Tables of feeders: published, generated, read and converted; what is refused, and how."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.errors import UsageError
from swarm.grid.feeder import Feeder
from swarm.grid.feeders import (
    FeederTable,
    case33bw,
    check,
    feeder_named,
    generated,
    network,
    read_table,
)

HEADER = "from,to,resistance_ohm,reactance_ohm,nominal_kv"


def chain(**changed: Any) -> FeederTable:
    """Four buses in a row."""
    table = FeederTable(
        name="chain",
        nominal_kv=20.0,
        source_bus="a",
        buses=("a", "b", "c", "d"),
        line_from=("a", "b", "c"),
        line_to=("b", "c", "d"),
        resistance_ohm=np.full(3, 0.1),
        reactance_ohm=np.full(3, 0.1),
        capacitance_f=np.zeros(3),
        rating_a=np.full(3, np.inf),
        load_w=np.zeros(4),
        load_var=np.zeros(4),
    )
    return replace(table, **changed)


def with_line(start: str, end: str) -> dict[str, Any]:
    extra = {
        name: np.append(getattr(chain(), name), 0.1)
        for name in ("resistance_ohm", "reactance_ohm", "capacitance_f", "rating_a")
    }
    return {"line_from": ("a", "b", "c", start), "line_to": ("b", "c", "d", end), **extra}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (with_line("d", "b"), r"a loop through buses 'd', 'c', 'b'"),
        (with_line("c", "b"), r"line 'c' to 'b' is there twice"),
        (with_line("d", "d"), r"a line goes from bus 'd' to itself"),
        ({"line_to": ("b", "c", "bb")}, r"line 'c' to 'bb': no bus 'bb' \(did you mean 'b'\?\)"),
        ({"buses": ("a", "b", "c", "c")}, r"bus 'c' is there twice"),
        ({"source_bus": "z"}, r"source_bus: no bus 'z' \(valid: a, b, c, d\)"),
        (
            {"buses": ("a", "b", "c", "d", "e"), "load_w": np.zeros(5), "load_var": np.zeros(5)},
            r"no lines connect source bus 'a' with 'e'",
        ),
        ({"resistance_ohm": np.array([0.1, -1, 0.1])}, r"line 'b' to 'c': resistance_ohm: .*-1"),
        ({"reactance_ohm": np.array([0.1, np.nan, 0.1])}, r"line 'b' to 'c': reactance_ohm: .*nan"),
        ({"capacitance_f": np.array([-1.0, 0, 0])}, r"line 'a' to 'b': capacitance_f: .*-1"),
        ({"rating_a": np.array([1.0, 0, 1])}, r"line 'b' to 'c': rating_a: expected a number over"),
        (
            {"resistance_ohm": np.zeros(3), "reactance_ohm": np.array([1.0, 1.0, 0.0])},
            r"line 'c' to 'd': resistance_ohm and reactance_ohm are both 0",
        ),
        ({"load_w": np.array([0, np.inf, 0, 0])}, r"bus 'b': load_w: expected a finite number"),
        ({"load_var": np.zeros(3)}, r"load_var: expected shape \(4,\), got \(3,\)"),
        ({"nominal_kv": 0.0}, r"nominal_kv: expected a number over 0, got 0"),
        ({"source_voltage_pu": np.nan}, r"source_voltage_pu: expected a number over 0, got nan"),
        ({"line_from": (), "line_to": ()}, r"expected at least one line"),
        ({"line_to": ("b", "c")}, r"line_to: expected 3 names, got 2"),
    ],
)
def test_check_names_what_is_wrong(changed: dict[str, Any], message: str) -> None:
    check(chain())
    with pytest.raises(UsageError, match="feeder 'chain': " + message):
        check(chain(**changed))


def test_a_long_list_of_buses_is_cut() -> None:
    names = ("a", *(f"n{bus}" for bus in range(20)))
    many = {"buses": names, "load_w": np.zeros(21), "load_var": np.zeros(21)}
    lines = {"line_from": ("a", "n0", "n1"), "line_to": ("n0", "n1", "n2")}
    with pytest.raises(UsageError, match=r"'n3', .*'n14' and 5 more$"):
        check(chain(**many, **lines))


def test_case33bw_is_the_published_table() -> None:
    table = case33bw()
    check(table)
    assert (len(table.buses), len(table.line_from), table.nominal_kv) == (33, 32, 12.66)
    # Published totals: 3.715 MW, 2.300 Mvar.
    assert table.load_w.sum() == pytest.approx(3.715e6)
    assert table.load_var.sum() == pytest.approx(2.3e6)


def test_case33bw_agrees_with_pandapower() -> None:
    pytest.importorskip("pandapower", reason="pandapower is not installed (extra: test)")
    ours, theirs = case33bw(), network("pandapower:case33bw")
    assert [str(int(bus) - 1) for bus in ours.line_to] == list(theirs.line_to)
    assert [str(int(bus) - 1) for bus in ours.line_from] == list(theirs.line_from)
    for name in ("resistance_ohm", "reactance_ohm", "load_w", "load_var"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-12)
    assert np.isinf(theirs.rating_a).all()


@pytest.mark.parametrize("buses", [2, 3, 41, 42, 200])
def test_generated_feeders_are_radial_and_repeatable(buses: int) -> None:
    table = generated(buses, seed=4)
    check(table)
    assert len(table.buses) == buses
    again, other = generated(buses, seed=4), generated(buses, seed=5)
    np.testing.assert_array_equal(table.resistance_ohm, again.resistance_ohm)
    assert table.line_from == again.line_from
    assert not np.array_equal(table.resistance_ohm, other.resistance_ohm)
    # A new feeder of the busbar for every 40 stations.
    assert table.line_from.count("0") == -(-(buses - 1) // 40)


def test_a_generated_feeder_carries_a_usual_load() -> None:
    # 39 stations of 120 kW are 4.7 MW on one feeder: inside cable ratings and +-10 % (EN 50160).
    table = generated(40, seed=1)
    flow = Feeder(table).solve(np.full(40, -120e3), np.full(40, -40e3))
    assert 0.9 < flow.voltage_pu.min() < 0.999
    assert 0.1 < flow.line_loading.max() < 1.0


@pytest.mark.parametrize(("buses", "seed", "field"), [(1, 0, "buses"), (9, -1, "seed")])
def test_generated_refuses(buses: int, seed: int, field: str) -> None:
    with pytest.raises(UsageError, match=f"{field}: expected .* or more, got"):
        generated(buses, seed)


def test_read_table(tmp_path: Path) -> None:
    file = tmp_path / "lines.csv"
    file.write_text(
        f"{HEADER},rating_a,load_w,load_var\n"
        "sub, one,0.5,0.25,0.4,,1000,200\n"
        "\n"
        "one,two,0.1,0.2,0.4,160,,\n",
        encoding="utf-8-sig",
    )
    table = read_table(file)
    assert (table.source_bus, table.buses) == ("sub", ("sub", "one", "two"))
    assert (table.nominal_kv, table.source_voltage_pu) == (0.4, 1.0)
    np.testing.assert_array_equal(table.resistance_ohm, [0.5, 0.1])
    np.testing.assert_array_equal(table.rating_a, [np.inf, 160.0])
    np.testing.assert_array_equal(table.load_w, [0.0, 1000.0, 0.0])
    np.testing.assert_array_equal(table.load_var, [0.0, 200.0, 0.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected a header and at least one line"),
        (HEADER + "\n", r"expected a header and at least one line"),
        ("from,to\na,b\n", r"column 'resistance_ohm' is missing; it has from, to"),
        (HEADER + ",ratings_a\n", r"unknown column 'ratings_a' \(did you mean 'rating_a'\?\)"),
        (HEADER + ",to\n", r"column 'to' is there twice"),
        (
            HEADER + "\n\na,b,1,x,20\n",
            r"line 3: column 'reactance_ohm': expected a number, got 'x'",
        ),
        (HEADER + "\na,b,,1,20\n", r"line 2: column 'resistance_ohm': .* got nothing"),
        (HEADER + "\na,b,nan,1,20\n", r"line 2: column 'resistance_ohm': .* got 'nan'"),
        (HEADER + "\na,,1,1,20\n", r"line 2: column 'to': expected a bus, got none"),
        (HEADER + "\na,b,1,1\n", r"line 2: expected 5 cells, got 4"),
        (HEADER + "\na,b,1,1,20\nb,c,1,1,10\n", r"line 3: column 'nominal_kv': expected 20 as in"),
        (HEADER + '\n"a,b,1,1,20\n', r"line 2: unexpected end of data"),
        (HEADER + "\na,b,1,1,20\nb,c,1,1,20\nc,a,1,1,20\n", r"a loop through buses 'c', 'b', 'a'"),
    ],
)
def test_read_table_names_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "lines.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=f"lines.csv'?: {message}"):
        read_table(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.csv: cannot be read"):
        read_table(tmp_path / "none.csv")


def test_feeders_by_name(tmp_path: Path) -> None:
    assert feeder_named("case33bw").name == "case33bw"
    assert feeder_named("generated:12").name == generated(12, 0).name
    assert feeder_named("generated:12:3").name == generated(12, 3).name
    (tmp_path / "lines.csv").write_text(f"{HEADER}\na,b,1,1,20\n")
    assert feeder_named("lines.csv", tmp_path).buses == ("a", "b")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("case33", r"unknown feeder 'case33' \(did you mean 'case33bw'\?\)"),
        ("generated", r"feeder 'generated': expected generated:<buses>"),
        ("generated:x", r"feeder 'generated:x': expected generated:<buses>"),
        ("generated:1:2:3", r"feeder 'generated:1:2:3': expected generated:<buses>"),
        ("generated:1", r"buses: expected 2 or more, got 1"),
        ("simbench:", r"network 'simbench:': expected"),
    ],
)
def test_unknown_names(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        feeder_named(spec)


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"simbench is not installed .*'grid-swarm\[networks\]'"):
        network("simbench:1-LV-rural1--0-sw")


def test_networks_of_pandapower_are_refused_by_name() -> None:
    pytest.importorskip("pandapower", reason="pandapower is not installed (extra: test)")
    with pytest.raises(UsageError, match=r"case9'?: a loop through buses"):
        network("pandapower:case9")
    with pytest.raises(UsageError, match=r"no such function \(did you mean 'case33bw'\?\)"):
        network("pandapower:case33b")
    with pytest.raises(UsageError, match="expected one external grid in service, got 2"):
        network("pandapower:mv_oberrhein")


@pytest.mark.slow
@pytest.mark.parametrize("code", ["1-LV-rural1--0-sw", "1-MV-rural--0-sw"])
def test_simbench_agrees_with_pandapower(code: str) -> None:
    """The converted network against pandapower's power flow of the whole one."""
    simbench = pytest.importorskip("simbench", reason="simbench is not installed (extra: networks)")
    import pandapower

    net = simbench.get_simbench_net(code)
    # What the conversion leaves out, by its documentation.
    net.sgen["in_service"] = False
    net.trafo[["pfe_kw", "i0_percent"]] = 0.0
    opened = net.switch[(net.switch.et == "l") & ~net.switch.closed].element
    net.line.loc[opened, "in_service"] = False
    pandapower.runpp(net, tolerance_mva=1e-10)
    theirs = dict(zip(net.bus.name, net.res_bus.vm_pu, strict=True))
    table = network(f"simbench:{code}")
    flow = Feeder(table).solve(-table.load_w, -table.load_var)
    expected = [theirs[bus] for bus in table.buses]
    np.testing.assert_allclose(flow.voltage_pu[0], expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(flow.slack_w / 1e6, net.res_ext_grid.p_mw.sum(), rtol=1e-7)
