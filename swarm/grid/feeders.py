"""Feeders by name: published, generated, from a file, or from the networks of other tools."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from swarm.errors import UsageError, nearest
from swarm.grid.feeder_networks import SOURCES, network
from swarm.grid.feeder_table import FeederTable, check

__all__ = [
    "FeederTable",
    "case33bw",
    "check",
    "feeder_named",
    "generated",
    "network",
    "read_table",
]

# MATPOWER case33bw: line number k ends at bus k + 2; all but these start at bus k + 1.
_CASE33BW_LATERALS = {17: 2, 21: 3, 24: 6}
_CASE33BW_OHM = """
.0922 .0470  .4930 .2511  .3660 .1864  .3811 .1941  .8190 .7070  .1872 .6188  .7114 .2351
1.0300 .7400  1.0440 .7400  .1966 .0650  .3744 .1238  1.4680 1.1550  .5416 .7129  .5910 .5260
.7463 .5450  1.2890 1.7210  .7320 .5740  .1640 .1565  1.5042 1.3554  .4095 .4784  .7089 .9373
.4512 .3083  .8980 .7091  .8960 .7011  .2030 .1034  .2842 .1447  1.0590 .9337  .8042 .7006
.5075 .2585  .9744 .9630  .3105 .3619  .3410 .5302
"""
_CASE33BW_KW_KVAR = """
0 0  100 60  90 40  120 80  60 30  60 20  200 100  200 100  60 20  60 20  45 30  60 35  60 35
120 80  60 10  60 20  60 20  90 40  90 40  90 40  90 40  90 40  90 50  420 200  420 200  60 25
60 25  60 20  120 70  200 600  150 70  210 100  60 40
"""

_STATIONS_PER_FEEDER = 40
_TRUNK_SHARE = 0.75
_LENGTH_KM = (0.2, 1.0)
# NA2XS2Y 1x240 and 1x150 RM/25 12/20 kV: ohm/km, ohm/km, nF/km, A (pandapower's standard types).
_TRUNK = (0.122, 0.112, 304.0, 421.0)
_LATERAL = (0.206, 0.116, 250.0, 319.0)

_REQUIRED = ("from", "to", "resistance_ohm", "reactance_ohm", "nominal_kv")
_OPTIONAL = {
    "capacitance_f": 0.0,
    "rating_a": math.inf,
    "load_w": 0.0,
    "load_var": 0.0,
    "source_voltage_pu": 1.0,
}
_NAMES = ("case33bw", "generated:<buses>", "<file>.csv", *(f"{name}:<name>" for name in SOURCES))


def case33bw() -> FeederTable:
    """The 33-bus feeder of 12.66 kV with its tie lines open, as in MATPOWER's case33bw.

    Baran and Wu, "Network reconfiguration in distribution systems for loss reduction and load
    balancing", IEEE Transactions on Power Delivery 4, 1989. At its base load the lowest voltage is
    0.91309 pu at bus 18 and losses are 202.68 kW. Ratings are not published.
    """
    ohm = np.array(_CASE33BW_OHM.split(), dtype=np.float64).reshape(-1, 2)
    load = np.array(_CASE33BW_KW_KVAR.split(), dtype=np.float64).reshape(-1, 2) * 1e3
    lines = range(len(ohm))
    return FeederTable(
        name="case33bw",
        nominal_kv=12.66,
        source_bus="1",
        buses=tuple(str(bus + 1) for bus in range(len(load))),
        line_from=tuple(str(_CASE33BW_LATERALS.get(line, line + 1)) for line in lines),
        line_to=tuple(str(line + 2) for line in lines),
        resistance_ohm=ohm[:, 0],
        reactance_ohm=ohm[:, 1],
        capacitance_f=np.zeros(len(ohm)),
        rating_a=np.full(len(ohm), np.inf),
        load_w=load[:, 0],
        load_var=load[:, 1],
    )


def generated(buses: int, seed: int = 0) -> FeederTable:
    """A 20 kV cable network of `buses` buses, the first its busbar; the agents are its load.

    Feeders of up to 40 stations leave the busbar. A station lengthens the trunk of its feeder with
    probability 0.75, else it is a lateral of any earlier station of that feeder. Sections are 0.2
    to 1 km long, uniformly; trunks are NA2XS2Y 1x240, laterals 1x150. The same arguments give the
    same table. Raises `UsageError` for fewer than 2 buses and a negative seed.
    """
    if buses < 2:
        raise UsageError(f"generated feeder: buses: expected 2 or more, got {buses}")
    if seed < 0:
        raise UsageError(f"generated feeder: seed: expected 0 or more, got {seed}")
    rng = np.random.Generator(np.random.Philox(key=seed))
    draws = rng.random((buses - 1, 3)).tolist()
    start, values = [], []
    first = end = 0
    for bus, (kind, which, length) in enumerate(draws, start=1):
        if (bus - 1) % _STATIONS_PER_FEEDER == 0:
            first, end, upstream, cable = bus, bus, 0, _TRUNK
        elif kind < _TRUNK_SHARE:
            end, upstream, cable = bus, end, _TRUNK
        else:
            upstream, cable = first + int(which * (bus - first)), _LATERAL
        km = _LENGTH_KM[0] + length * (_LENGTH_KM[1] - _LENGTH_KM[0])
        r, x, nf, rating_a = cable
        start.append(upstream)
        values.append((r * km, x * km, nf * km * 1e-9, rating_a))
    columns = np.array(values).T.copy()
    names = tuple(str(bus) for bus in range(buses))
    return FeederTable(
        name=f"generated:{buses}:{seed}",
        nominal_kv=20.0,
        source_bus="0",
        buses=names,
        line_from=tuple(names[bus] for bus in start),
        line_to=names[1:],
        resistance_ohm=columns[0],
        reactance_ohm=columns[1],
        capacitance_f=columns[2],
        rating_a=columns[3],
        load_w=np.zeros(buses),
        load_var=np.zeros(buses),
    )


def read_table(path: Path) -> FeederTable:
    """A feeder from a CSV file with one row per line; the first row's `from` is the source.

    Columns `from`, `to` (names of buses), `resistance_ohm`, `reactance_ohm`, `nominal_kv`;
    optional `capacitance_f` (at 50 Hz), `rating_a` (empty: unknown), `source_voltage_pu`, and
    `load_w`, `load_var` of the bus named in `to`. `nominal_kv` and `source_voltage_pu` are the same
    in all rows. Raises `UsageError` naming file, line and column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    reader = csv.reader(text.splitlines(), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    header: list[str] = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            if not header:
                header = stripped
                _check_header(path, header)
            elif len(stripped) != len(header):
                raise UsageError(
                    f"{path}: line {reader.line_num}: expected {len(header)} cells, "
                    f"got {len(stripped)}"
                )
            else:
                rows.append((reader.line_num, dict(zip(header, stripped, strict=True))))
    except csv.Error as error:
        raise UsageError(f"{path}: line {reader.line_num}: {error}") from error
    if not rows:
        raise UsageError(f"{path}: expected a header and at least one line of the feeder")
    values = {
        name: np.array([_number(path, line, row, name) for line, row in rows])
        for name in (*_REQUIRED[2:], *_OPTIONAL)
    }
    for name in ("nominal_kv", "source_voltage_pu"):
        other = np.flatnonzero(values[name] != values[name][0])
        if len(other):
            raise UsageError(
                f"{path}: line {rows[other[0]][0]}: column {name!r}: expected "
                f"{values[name][0]:g} as in the first row, got {values[name][other[0]]:g}"
            )
    ends: dict[str, list[str]] = {"from": [], "to": []}
    for line, row in rows:
        for name, names in ends.items():
            if not row[name]:
                raise UsageError(f"{path}: line {line}: column {name!r}: expected a bus, got none")
            names.append(row[name])
    pairs = zip(ends["from"], ends["to"], strict=True)
    buses = tuple(dict.fromkeys(bus for pair in pairs for bus in pair))
    index = {bus: at for at, bus in enumerate(buses)}
    load = np.zeros((2, len(buses)))
    for row_at, bus in enumerate(ends["to"]):
        load[:, index[bus]] += values["load_w"][row_at], values["load_var"][row_at]
    table = FeederTable(
        name=path.name,
        nominal_kv=float(values["nominal_kv"][0]),
        source_bus=buses[0],
        buses=buses,
        line_from=tuple(ends["from"]),
        line_to=tuple(ends["to"]),
        resistance_ohm=values["resistance_ohm"],
        reactance_ohm=values["reactance_ohm"],
        capacitance_f=values["capacitance_f"],
        rating_a=values["rating_a"],
        load_w=load[0],
        load_var=load[1],
        source_voltage_pu=float(values["source_voltage_pu"][0]),
    )
    check(table)
    return table


def _check_header(path: Path, header: list[str]) -> None:
    for name in header:
        if header.count(name) > 1:
            raise UsageError(f"{path}: column {name!r} is there twice")
        if name not in _REQUIRED and name not in _OPTIONAL:
            hint = nearest(name, (*_REQUIRED, *_OPTIONAL))
            raise UsageError(f"{path}: unknown column {name!r}{hint}")
    for name in _REQUIRED:
        if name not in header:
            raise UsageError(f"{path}: column {name!r} is missing; it has {', '.join(header)}")


def _number(path: Path, line: int, row: dict[str, str], name: str) -> float:
    cell = row.get(name, "")
    if not cell and name in _OPTIONAL:
        return _OPTIONAL[name]
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        got = repr(cell) if cell else "nothing"
        raise UsageError(f"{path}: line {line}: column {name!r}: expected a number, got {got}")
    return value


def feeder_named(spec: str, base: Path | None = None) -> FeederTable:
    """The feeder a scenario names.

    `case33bw`, `generated:<buses>`, `generated:<buses>:<seed>`, a CSV file (relative to the folder
    `base`), `simbench:<code>` or `pandapower:<function>`. Raises `UsageError` for anything else.
    """
    kind, _, rest = spec.partition(":")
    if spec == "case33bw":
        return case33bw()
    if kind == "generated":
        numbers = rest.split(":")
        if len(numbers) > 2 or not all(part.isascii() and part.isdigit() for part in numbers):
            raise UsageError(
                f"feeder {spec!r}: expected generated:<buses> or generated:<buses>:<seed>"
            )
        return generated(*(int(part) for part in numbers))
    if kind in SOURCES:
        return network(spec)
    if spec.lower().endswith(".csv"):
        return read_table((base or Path()) / spec)
    raise UsageError(f"unknown feeder {spec!r}{nearest(spec, _NAMES)}")
