"""Units of the RTS-GMLC test system: rows of `SourceData/gen.csv` as agents and condensers.

Column meanings and units: `SourceData/README.md` of GridMod/RTS-GMLC (NREL). Costs follow from the
heat-rate curve as in upstream's own conversions: HR_avg_0 (BTU/kWh) up to the first output point,
HR_incr_n between the points n-1 and n, times the fuel price ($/MMBTU), plus VOM ($/MWh).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from swarm.errors import UsageError, nearest
from swarm.scenario.assets import ASSETS, Kind, Model
from swarm.scenario.schema import AgentName, Condenser
from swarm.world.columns import check_columns, check_file, csv_header

KG_PER_LB = 0.45359237
FLEET_OF_TYPE = {
    "STEAM": "thermal",
    "CT": "thermal",
    "CC": "thermal",
    "NUCLEAR": "thermal",
    "HYDRO": "hydro",
    "ROR": "hydro",
    "CSP": "csp",
    "PV": "pv",
    "RTPV": "rooftop",
    "WIND": "wind",
    "STORAGE": "storage",
    "SYNC_COND": "condenser",
}
KIND_OF_FLEET: dict[str, Kind] = {
    "thermal": "generator",
    "hydro": "generator",
    "csp": "generator",
    "pv": "solar",
    "rooftop": "solar",
    "wind": "wind",
    "storage": "storage",
    "loads": "consumer",
}
_POINTS = 5  # of the heat-rate curve in gen.csv
_GEN_COLUMNS = (
    *("GEN UID", "Unit Type", "PMax MW", "PMin MW", "Min Down Time Hr", "Min Up Time Hr"),
    *("Ramp Rate MW/Min", "Start Heat Cold MBTU", "Start Heat Warm MBTU", "Non Fuel Start Cost $"),
    *("MTTF Hr", "MTTR Hr", "Fuel Price $/MMBTU", "HR_avg_0", "VOM", "Emissions CO2 Lbs/MMBTU"),
    *(f"Output_pct_{point}" for point in range(_POINTS)),
    *(f"HR_incr_{point}" for point in range(1, _POINTS)),
    *("Inertia MJ/MW", "Base MVA", "Pump Load MW", "Storage Roundtrip Efficiency"),
)
_STORAGE_COLUMNS = ("GEN UID", "Storage", "Max Volume GWh", "Initial Volume GWh", "position")
_SAME = 1e-6  # output points are shares of PMax with 9 decimals: closer than this is equal
_NAME: TypeAdapter[str] = TypeAdapter(AgentName)

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One row of a small CSV file; `key` says which, for messages."""

    path: Path
    key: str
    cells: Mapping[str, str]

    def refuse(self, column: str, expected: str) -> UsageError:
        """The error that a cell is not what was expected."""
        return UsageError(
            f"--data {self.path}: {self.key}: column {column!r} is {self.cells[column]!r}; "
            f"expected {expected}"
        )

    def number(self, column: str) -> float:
        """A number that is zero or more. Raises `UsageError`."""
        try:
            value = float(self.cells[column])
        except ValueError:
            raise self.refuse(column, "a number") from None
        if not isfinite(value) or value < 0:
            raise self.refuse(column, "a finite number, zero or more")
        return value

    def checked(self, model: type[Model], name: str, parameters: Parameters) -> Parameters:
        """The agent with its name, once the scenario's own rules for its kind are met."""
        try:
            _NAME.validate_python(name)
            model.model_validate(parameters)
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(str(part) for part in first["loc"]) or "name"
            raise UsageError(
                f"--data {self.path}: {self.key}: gives no valid {model.__name__.lower()}: {at}: "
                f"{first['msg']}"
            ) from None
        return {"name": name, **parameters}


@dataclass
class Units:
    """All rows of gen.csv: agents and PMax by fleet, in the order of the file."""

    agents: dict[str, list[Parameters]] = field(default_factory=dict)
    pmax_mw: dict[str, dict[str, float]] = field(default_factory=dict)
    condensers: list[Condenser] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_rows(path: Path, key: str, columns: Iterable[str]) -> list[Row]:
    """Rows of a small CSV file, told apart by column `key`, which must not repeat.

    Raises `UsageError` for a file that is missing, empty, cut off or without one of `columns`.
    """
    if check_file(path):
        raise UsageError(f"--data {path}: is a Parquet file; expected CSV")
    header = csv_header(path)
    check_columns(f"--data {path}", header, {column: "the RTS-GMLC layout" for column in columns})
    rows: dict[str, Row] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            next(reader)
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise UsageError(
                        f"--data {path}: line {reader.line_num} has {len(cells)} cells where the "
                        f"header has {len(header)} (cut off?)"
                    )
                row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
                if row[key] in rows:
                    raise UsageError(
                        f"--data {path}: line {reader.line_num}: {key} {row[key]} is there twice"
                    )
                rows[row[key]] = Row(path, f"{key} {row[key]}", row)
    except (UnicodeDecodeError, csv.Error):
        raise UsageError(f"--data {path}: is not CSV text in UTF-8") from None
    if not rows:
        raise UsageError(f"--data {path}: has column names and no rows")
    return list(rows.values())


def read_units(source_data: Path, price_floor: float) -> Units:
    """Read gen.csv (and storage.csv where a unit is a storage). Raises `UsageError`."""
    units = Units()
    for row in read_rows(source_data / "gen.csv", "GEN UID", _GEN_COLUMNS):
        name, unit_type = row.cells["GEN UID"], row.cells["Unit Type"]
        if unit_type not in FLEET_OF_TYPE:
            hint = nearest(unit_type, FLEET_OF_TYPE)
            raise row.refuse("Unit Type", f"a type that this reader knows{hint}")
        pmax = row.number("PMax MW")
        if row.number("PMin MW") > pmax:
            raise row.refuse("PMin MW", f"at most PMax MW, {pmax:g}")
        fleet = FLEET_OF_TYPE[unit_type]
        if fleet == "condenser":
            rated, inertia = row.number("Base MVA"), row.number("Inertia MJ/MW")
            given = {"name": name, "rated_mva": rated, "inertia_s": inertia}
            units.condensers.append(Condenser(**row.checked(Condenser, name, given)))
            continue
        if fleet == "storage":
            parameters = _storage(row, source_data / "storage.csv", units.notes)
        else:
            parameters = _UNIT_OF_FLEET[fleet](row, price_floor, units.notes)
        agent = row.checked(ASSETS[KIND_OF_FLEET[fleet]], name, parameters)
        units.agents.setdefault(fleet, []).append(agent)
        units.pmax_mw.setdefault(fleet, {})[name] = pmax
    without = [item.name for item in units.condensers if item.rated_mva * item.inertia_s == 0]
    if without:
        units.notes.append(
            f"gen.csv: {', '.join(without)}: Base MVA or Inertia is 0, so these condensers add no "
            "inertia"
        )
    return units


def _machine(row: Row) -> Parameters:
    """What every generator has. A ramp rate or time to failure of 0 means none is given."""
    start_heat = row.number("Start Heat Warm MBTU") or row.number("Start Heat Cold MBTU")
    fuel_cost = start_heat * row.number("Fuel Price $/MMBTU")
    parameters: Parameters = {
        "capacity_mw": row.number("PMax MW"),
        "min_output_mw": row.number("PMin MW"),
        "marginal_cost_per_mwh": 0.0,
        "emissions_kg_per_mwh": 0.0,
        "ramp_mw_per_minute": row.number("Ramp Rate MW/Min") or None,
        "start_cost": fuel_cost + row.number("Non Fuel Start Cost $"),
        "min_up_hours": row.number("Min Up Time Hr"),
        "min_down_hours": row.number("Min Down Time Hr"),
        "mean_time_to_failure_hours": row.number("MTTF Hr") or None,
        "rated_mva": row.number("Base MVA"),
        "inertia_s": row.number("Inertia MJ/MW"),
    }
    repair = row.number("MTTR Hr")
    return parameters | ({"mean_time_to_repair_hours": repair} if repair else {})


def _cost_steps(row: Row) -> list[Parameters]:
    """The heat-rate curve as cost and CO2 per step; steps of no width are left out."""
    pmax, pmin = row.number("PMax MW"), row.number("PMin MW")
    fuel_price, vom = row.number("Fuel Price $/MMBTU"), row.number("VOM")
    co2_kg = row.number("Emissions CO2 Lbs/MMBTU") * KG_PER_LB
    steps: list[Parameters] = []
    reached, last = 0.0, "Output_pct_0"
    for point in range(_POINTS):
        column = f"Output_pct_{point}"
        if row.cells[column] in ("", "NA"):
            continue
        last = column
        end = row.number(column) * pmax
        for exact in (pmin, pmax):
            end = exact if abs(end - exact) <= _SAME * pmax else end
        if end < reached:
            raise row.refuse(column, "output points that rise")
        if end > reached:
            heat = row.number(f"HR_incr_{point}" if point else "HR_avg_0") / 1000  # MMBTU per MWh
            cost, co2 = heat * fuel_price + vom, heat * co2_kg
            steps.append({"up_to_mw": end, "cost_per_mwh": cost, "emissions_kg_per_mwh": co2})
            reached = end
    if reached != pmax:
        raise row.refuse(last, "1 at the last output point, which is PMax")
    return steps


def _thermal(row: Row, price_floor: float, notes: list[str]) -> Parameters:
    parameters = _machine(row)
    steps = _cost_steps(row)
    widths = [
        step["up_to_mw"] - below
        for step, below in zip(steps, [0.0, *(step["up_to_mw"] for step in steps)], strict=False)
    ]
    name = row.cells["GEN UID"]
    free = [step["up_to_mw"] for step in steps if step["cost_per_mwh"] == 0]
    if free:
        notes.append(
            f"gen.csv: {name}: the heat rate and so the cost of its last steps, up to "
            f"{', '.join(f'{end:g}' for end in free)} MW, is 0; kept as the file has it"
        )
    if steps and row.number("Start Heat Warm MBTU") == 0 < row.number("Start Heat Cold MBTU"):
        notes.append(f"gen.csv: {name}: no warm start heat; its starts cost a cold start")
    kg_per_hour = sum(
        step["emissions_kg_per_mwh"] * width for step, width in zip(steps, widths, strict=True)
    )
    return parameters | {
        "marginal_cost_per_mwh": steps[0]["cost_per_mwh"] if steps else 0.0,
        "cost_steps": steps,
        "emissions_kg_per_mwh": kg_per_hour / sum(widths) if steps else 0.0,
    }


def _hydro(row: Row, price_floor: float, notes: list[str]) -> Parameters:
    return _machine(row) | {
        "offer_price_per_mwh": price_floor,
        "profile": row.cells["GEN UID"],
        "renewable": True,
    }


def _csp(row: Row, price_floor: float, notes: list[str]) -> Parameters:
    return _machine(row) | {
        "min_output_mw": 0.0,
        "marginal_cost_per_mwh": row.number("VOM"),
        "profile": row.cells["GEN UID"],
        "renewable": True,
    }


def _curtailable(row: Row, price_floor: float, notes: list[str]) -> Parameters:
    return {"capacity_mw": row.number("PMax MW"), "profile": row.cells["GEN UID"]}


def _must_take(row: Row, price_floor: float, notes: list[str]) -> Parameters:
    return _curtailable(row, price_floor, notes) | {"offer_price_per_mwh": price_floor}


_UNIT_OF_FLEET: dict[str, Callable[[Row, float, list[str]], Parameters]] = {
    "thermal": _thermal,
    "hydro": _hydro,
    "csp": _csp,
    "pv": _curtailable,
    "rooftop": _must_take,
    "wind": _curtailable,
}


def _storage(row: Row, path: Path, notes: list[str]) -> Parameters:
    """A storage with the energy of its head (upper) basin; the tail basin only mirrors it."""
    name, pmax = row.cells["GEN UID"], row.number("PMax MW")
    basins = [
        item
        for item in read_rows(path, "Storage", _STORAGE_COLUMNS)
        if item.cells["GEN UID"] == name and item.cells["position"].lower() == "head"
    ]
    if len(basins) != 1:
        raise UsageError(
            f"--data {path}: has {len(basins)} rows with GEN UID {name} and position head; "
            "expected one"
        )
    volume, initial = (
        basins[0].number(f"{which} Volume GWh") * 1000 for which in ("Max", "Initial")
    )
    if initial > volume:
        raise basins[0].refuse("Initial Volume GWh", "at most Max Volume GWh")
    percent = row.number("Storage Roundtrip Efficiency")
    if not 0 < percent <= 100:
        raise row.refuse("Storage Roundtrip Efficiency", "a percentage above 0, at most 100")
    pump = row.number("Pump Load MW") or pmax
    power = min(pmax, pump)
    notes.append(
        f"storage.csv: {name}: pumped storage of {volume:g} MWh (its head basin; the tail basin "
        f"mirrors it) and {power:g} MW, {percent:g} % round trip, no wear cost in the file"
        + (
            f"; PMax {pmax:g} MW and pump load {pump:g} MW differ, the smaller is used for both"
            if pump != pmax
            else ""
        )
    )
    return {
        "energy_mwh": volume,
        "power_mw": power,
        "round_trip_efficiency": percent / 100,
        "degradation_cost_per_mwh": row.number("VOM"),
        "initial_state_of_charge": initial / volume if volume else 0.0,
    }
