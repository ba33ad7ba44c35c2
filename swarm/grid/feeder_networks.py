"""Feeders out of the networks of pandapower and simbench (the optional extra `networks`)."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np

from swarm.errors import UsageError, nearest
from swarm.grid.feeder_table import FeederTable, check

Record = dict[str, Any]
Branch = tuple[int, int, complex, float, float]
"""Ends, impedance in ohm, capacitance in F, rating in A."""

SOURCES = ("pandapower", "simbench")
# pandapower writes 99999 kA where no rating is known.
_NO_RATING_KA = 99.0


def network(name: str) -> FeederTable:
    """The feeder `pandapower:<function of pandapower.networks>` or `simbench:<code>`.

    It is the voltage level fed by the one external grid, directly or through transformers: lines
    in service between closed switches, with the loads there. Buses joined by a closed switch are
    one. A transformer is its short-circuit impedance at nominal ratio. Left out are taps, iron
    losses, static generation, shunts, the charging of lines open at one end, and levels below.
    Raises `UsageError` where the extra is not installed, for an unknown name, and for what is not
    one radial feeder.
    """
    source, _, key = name.partition(":")
    if source not in SOURCES or not key:
        raise UsageError(f"network {name!r}: expected pandapower:<name> or simbench:<code>")
    return _convert(name, _from_pandapower(key) if source == "pandapower" else _from_simbench(key))


def _from_pandapower(key: str) -> Any:
    networks = _module("pandapower.networks", "pandapower")
    names = [
        each
        for each in dir(networks)
        if not each.startswith("_") and getattr(networks, each).__class__.__name__ == "function"
    ]
    if key not in names:
        raise UsageError(f"network 'pandapower:{key}': no such function{_hint(key, names)}")
    try:
        net = getattr(networks, key)()
    except TypeError as error:
        raise UsageError(f"network 'pandapower:{key}': {error}") from error
    if not hasattr(net, "ext_grid"):
        raise UsageError(f"network 'pandapower:{key}': that function returns no network")
    return net


def _from_simbench(key: str) -> Any:
    simbench = _module("simbench", "simbench")
    codes = simbench.collect_all_simbench_codes()
    if key not in codes:
        raise UsageError(f"network 'simbench:{key}': no such code{_hint(key, codes)}")
    return simbench.get_simbench_net(key)


def _hint(key: str, names: list[str]) -> str:
    """The nearest name; never all of them."""
    hint = nearest(key, names)
    return hint if "did you mean" in hint else ""


def _module(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"{package} is not installed ({error}); install the extra: pip install "
            "'grid-swarm[networks]'"
        ) from error


def _convert(name: str, net: Any) -> FeederTable:
    where = f"network {name!r}"
    grids = _in_service(net.ext_grid)
    if len(grids) != 1:
        raise UsageError(f"{where}: expected one external grid in service, got {len(grids)}")
    bus_rows = {row["index"]: row for row in _in_service(net.bus)}
    joined = _joined(net, bus_rows)
    open_at = {
        (row["et"], row["element"]) for row in _records(net.switch) if not bool(row["closed"])
    }
    source = joined[grids[0]["bus"]]
    hertz = float(net.f_hz)
    lines = [
        _line(row, joined)
        for row in _available(net.line, "l", ("from_bus", "to_bus"), joined, open_at)
    ]
    level = float(bus_rows[source]["vn_kv"])
    branches = [branch for branch in lines if level == bus_rows[branch[0]]["vn_kv"]]
    if not any(source in branch[:2] for branch in branches):
        # Nothing but transformers at the external grid: they feed the level.
        feeding = [
            row
            for row in _available(net.trafo, "t", ("hv_bus", "lv_bus"), joined, open_at)
            if joined[row["hv_bus"]] == source
        ]
        if not feeding:
            raise UsageError(f"{where}: no line or transformer leaves the external grid")
        level = float(bus_rows[joined[feeding[0]["lv_bus"]]]["vn_kv"])
        branches = [_transformer(row, joined) for row in feeding] + [
            branch for branch in lines if level == bus_rows[branch[0]]["vn_kv"]
        ]
    branches = _reached(source, _merged(branches))
    table = _table(name, net, level, source, branches, joined, float(grids[0]["vm_pu"]), hertz)
    check(table)
    return table


def _records(frame: Any) -> list[Record]:
    rows: list[Record] = frame.reset_index(names="index").to_dict("records")
    return rows


def _in_service(frame: Any) -> list[Record]:
    return [row for row in _records(frame) if bool(row["in_service"])]


def _joined(net: Any, buses: dict[int, Record]) -> dict[int, int]:
    """The lowest bus of those that closed switches make one, by bus in service."""
    parent = {bus: bus for bus in buses}

    def root(bus: int) -> int:
        while parent[bus] != bus:
            bus = parent[bus]
        return bus

    for row in _records(net.switch):
        pair = row["bus"], row["element"]
        if row["et"] == "b" and bool(row["closed"]) and all(bus in parent for bus in pair):
            low, high = sorted(root(bus) for bus in pair)
            parent[high] = low
    return {bus: root(bus) for bus in parent}


def _available(
    frame: Any, kind: str, ends: tuple[str, str], joined: dict[int, int], open_at: set[Any]
) -> list[Record]:
    """Branches in service between different buses, no switch of theirs open."""
    return [
        row
        for row in _in_service(frame)
        if (kind, row["index"]) not in open_at
        and all(row[end] in joined for end in ends)
        and joined[row[ends[0]]] != joined[row[ends[1]]]
    ]


def _line(row: Record, joined: dict[int, int]) -> Branch:
    km, parallel = float(row["length_km"]), float(row["parallel"])
    ohm = complex(row["r_ohm_per_km"], row["x_ohm_per_km"]) * km / parallel
    rating_ka = float(row["max_i_ka"])
    if math.isfinite(rating_ka) and rating_ka < _NO_RATING_KA:
        rating_a = rating_ka * 1e3 * float(row["df"]) * parallel
    else:
        rating_a = math.inf
    farad = float(row["c_nf_per_km"]) * 1e-9 * km * parallel
    return joined[row["from_bus"]], joined[row["to_bus"]], ohm, farad, rating_a


def _transformer(row: Record, joined: dict[int, int]) -> Branch:
    """Short-circuit impedance referred to the lower side (IEC 60909-0, 6.3.1)."""
    volt_ampere = float(row["sn_mva"]) * 1e6 * float(row["parallel"])
    volt = float(row["vn_lv_kv"]) * 1e3
    base_ohm = volt**2 / volt_ampere
    z, r = (float(row[column]) / 100 * base_ohm for column in ("vk_percent", "vkr_percent"))
    ohm = complex(r, math.sqrt(z**2 - r**2))
    rating_a = volt_ampere / (math.sqrt(3) * volt)
    return joined[row["hv_bus"]], joined[row["lv_bus"]], ohm, 0.0, rating_a


def _merged(branches: list[Branch]) -> list[Branch]:
    """Parallel branches as one, in the place of the first."""
    merged: dict[tuple[int, int], Branch] = {}
    for start, end, ohm, farad, rating_a in branches:
        pair = min(start, end), max(start, end)
        if pair in merged:
            first = merged[pair]
            both = first[2] * ohm / (first[2] + ohm)
            merged[pair] = (*first[:2], both, first[3] + farad, first[4] + rating_a)
        else:
            merged[pair] = start, end, ohm, farad, rating_a
    return list(merged.values())


def _reached(source: int, branches: list[Branch]) -> list[Branch]:
    """The branches connected with the source."""
    linked: dict[int, list[int]] = {}
    for start, end, *_ in branches:
        linked.setdefault(start, []).append(end)
        linked.setdefault(end, []).append(start)
    queue, seen = [source], {source}
    for bus in queue:
        for other in linked.get(bus, []):
            if other not in seen:
                seen.add(other)
                queue.append(other)
    return [branch for branch in branches if branch[0] in seen]


def _table(
    name: str,
    net: Any,
    level: float,
    source: int,
    branches: list[Branch],
    joined: dict[int, int],
    source_voltage_pu: float,
    hertz: float,
) -> FeederTable:
    buses = sorted({source, *(bus for branch in branches for bus in branch[:2])})
    index = {bus: at for at, bus in enumerate(buses)}
    given = [str(net.bus.at[bus, "name"]) for bus in buses]
    # A name that is missing or there twice gets the number of the bus.
    names = [
        text if text not in ("None", "nan", "") and given.count(text) == 1 else f"{text} #{bus}"
        for text, bus in zip(given, buses, strict=True)
    ]
    load = np.zeros((2, len(buses)))
    for row in _in_service(net.load):
        bus = joined.get(row["bus"])
        if bus in index:
            share = np.array([row["p_mw"], row["q_mvar"]]) * 1e6 * float(row["scaling"])
            load[:, index[bus]] += share
    return FeederTable(
        name=name,
        nominal_kv=level,
        source_bus=names[index[source]],
        buses=tuple(names),
        line_from=tuple(names[index[branch[0]]] for branch in branches),
        line_to=tuple(names[index[branch[1]]] for branch in branches),
        resistance_ohm=np.array([branch[2].real for branch in branches]),
        reactance_ohm=np.array([branch[2].imag for branch in branches]),
        capacitance_f=np.array([branch[3] for branch in branches]),
        rating_a=np.array([branch[4] for branch in branches]),
        load_w=load[0],
        load_var=load[1],
        source_voltage_pu=source_voltage_pu,
        frequency_hz=hertz,
    )
