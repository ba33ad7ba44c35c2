"""The table of a radial feeder, and what is refused in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarm.errors import UsageError, nearest

FloatArray = NDArray[np.float64]
_SHOWN = 12


@dataclass(frozen=True, eq=False)
class FeederTable:
    """A balanced three-phase radial feeder of n buses and l = n - 1 lines.

    The source is ideal: it holds its bus at `source_voltage_pu` whatever flows.

    Attributes:
        name: for messages and results.
        nominal_kv: line-to-line voltage, one for the whole feeder.
        source_bus: name of the bus the feeder is fed from.
        buses: n names.
        line_from: l names of buses.
        line_to: l names of buses.
        resistance_ohm: float64 (l,), of one phase.
        reactance_ohm: float64 (l,), of one phase at `frequency_hz`.
        capacitance_f: float64 (l,), of one phase, 0 where neglected.
        rating_a: float64 (l,), most current of a phase, infinite where unknown.
        load_w: float64 (n,), published load, 0 where none is.
        load_var: float64 (n,), likewise.
        source_voltage_pu: voltage of the source.
        frequency_hz: at which the reactance holds.
    """

    name: str
    nominal_kv: float
    source_bus: str
    buses: tuple[str, ...]
    line_from: tuple[str, ...]
    line_to: tuple[str, ...]
    resistance_ohm: FloatArray
    reactance_ohm: FloatArray
    capacitance_f: FloatArray
    rating_a: FloatArray
    load_w: FloatArray
    load_var: FloatArray
    source_voltage_pu: float = 1.0
    frequency_hz: float = 50.0


def check(table: FeederTable) -> None:
    """Refuse a table that is no radial feeder, by `UsageError` that names buses and lines.

    Refused are duplicate buses and lines, unknown buses, a source that is no bus, impedances that
    are negative, not finite or zero, buses without a connection to the source, and loops.
    """
    where = f"feeder {table.name!r}"
    _check_numbers(where, table)
    buses = set(table.buses)
    if len(buses) < len(table.buses):
        twice = next(bus for at, bus in enumerate(table.buses) if bus in table.buses[:at])
        raise UsageError(f"{where}: bus {twice!r} is there twice")
    if table.source_bus not in buses:
        hint = _hint(table.source_bus, buses)
        raise UsageError(f"{where}: source_bus: no bus {table.source_bus!r}{hint}")
    seen: set[frozenset[str]] = set()
    for start, end in zip(table.line_from, table.line_to, strict=True):
        for bus in (start, end):
            if bus not in buses:
                hint = _hint(bus, buses)
                raise UsageError(f"{where}: line {start!r} to {end!r}: no bus {bus!r}{hint}")
        if start == end:
            raise UsageError(f"{where}: a line goes from bus {start!r} to itself")
        ends = frozenset((start, end))
        if ends in seen:
            raise UsageError(
                f"{where}: line {start!r} to {end!r} is there twice; give parallel lines as one"
            )
        seen.add(ends)
    _check_tree(where, table)


def _check_numbers(where: str, table: FeederTable) -> None:
    """Lengths, ranges."""
    lines, buses = len(table.line_from), len(table.buses)
    if len(table.line_to) != lines:
        raise UsageError(f"{where}: line_to: expected {lines} names, got {len(table.line_to)}")
    if lines == 0:
        raise UsageError(f"{where}: expected at least one line")
    for name in ("nominal_kv", "source_voltage_pu", "frequency_hz"):
        value = getattr(table, name)
        if not (np.isfinite(value) and value > 0):
            raise UsageError(f"{where}: {name}: expected a number over 0, got {value}")
    for name, count in (
        ("resistance_ohm", lines),
        ("reactance_ohm", lines),
        ("capacitance_f", lines),
        ("rating_a", lines),
        ("load_w", buses),
        ("load_var", buses),
    ):
        values = getattr(table, name)
        if np.shape(values) != (count,):
            raise UsageError(f"{where}: {name}: expected shape ({count},), got {np.shape(values)}")
        if name.startswith("load"):
            bad, expected = ~np.isfinite(values), "a finite number"
        elif name == "rating_a":
            bad, expected = ~(values > 0), "a number over 0, infinite where unknown"
        else:
            bad, expected = ~(np.isfinite(values) & (values >= 0)), "a finite number of 0 or more"
        if bad.any():
            at = int(np.argmax(bad))
            thing = f"bus {table.buses[at]!r}" if name.startswith("load") else _line(table, at)
            raise UsageError(f"{where}: {thing}: {name}: expected {expected}, got {values[at]}")
    zero = (table.resistance_ohm == 0) & (table.reactance_ohm == 0)
    if zero.any():
        at = int(np.argmax(zero))
        raise UsageError(
            f"{where}: {_line(table, at)}: resistance_ohm and reactance_ohm are both 0; "
            "make its two buses one"
        )


def _check_tree(where: str, table: FeederTable) -> None:
    """Every bus has one way to the source."""
    parent: dict[str, str] = {bus: bus for bus in table.buses}
    linked: dict[str, list[str]] = {bus: [] for bus in table.buses}

    def root(bus: str) -> str:
        while parent[bus] != bus:
            parent[bus] = parent[parent[bus]]
            bus = parent[bus]
        return bus

    for start, end in zip(table.line_from, table.line_to, strict=True):
        if root(start) == root(end):
            loop = _path(linked, start, end)
            raise UsageError(
                f"{where}: a loop through buses {_list(loop)}; open one of its lines: only radial "
                "feeders are solved"
            )
        parent[root(end)] = root(start)
        linked[start].append(end)
        linked[end].append(start)
    source = root(table.source_bus)
    apart = [bus for bus in table.buses if root(bus) != source]
    if apart:
        raise UsageError(
            f"{where}: no lines connect source bus {table.source_bus!r} with {_list(apart)}"
        )


def _path(linked: dict[str, list[str]], start: str, end: str) -> list[str]:
    """The buses from `start` to `end` along lines."""
    came_from = {start: start}
    queue = [start]
    for bus in queue:
        for other in linked[bus]:
            if other not in came_from:
                came_from[other] = bus
                queue.append(other)
    path = [end]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return path[::-1]


def _line(table: FeederTable, at: int) -> str:
    return f"line {table.line_from[at]!r} to {table.line_to[at]!r}"


def _hint(name: str, names: set[str]) -> str:
    """The nearest name; all names only where they are few."""
    hint = nearest(name, names)
    return hint if len(names) <= _SHOWN or "did you mean" in hint else ""


def _list(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
