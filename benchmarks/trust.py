"""CPU microseconds per agent to make, seal, sign and check the contracts of one tick.

    python benchmarks/trust.py [--quick] [--json FILE]

One thread; process time, so other work on the machine does not count. Each stage is timed on the
contracts of all agents at once, as one shard, and divided by their number. Verifiers remember what
was used, so every check gets a fresh one, made before its clock starts.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts

from swarm.trust.contracts import (
    CONTRACT_BYTES,
    build_contracts,
    countersign,
    countersign_shard,
    seal_tick,
)
from swarm.trust.dispatch import Verifier
from swarm.trust.keys import Purpose, market_key, sign, simulation_keys, verify
from swarm.trust.merkle import verify_inclusion

SIZES = (100, 10_000)
RUN = bytes(range(32))
TICK = 7


def stages(agents: int, seed: int) -> dict[str, Callable[[], Callable[[], object]]]:
    """For each stage what prepares it; that returns what is timed."""
    market, keys = market_key(seed), simulation_keys(seed, 0, agents)
    rng = np.random.default_rng(seed)
    quantity_w = rng.integers(-1_000_000, 1_000_000, agents)
    reserve_w = rng.integers(0, 1_000, (agents, 4))
    numbers = np.arange(agents)

    def build() -> list[bytes]:
        return build_contracts(RUN, TICK, numbers, quantity_w, 40_000, reserve_w)

    contracts = build()
    seal, proofs = seal_tick(market, RUN, TICK, contracts)
    signed = countersign(keys, contracts)
    whole = countersign_shard(keys[0], contracts)
    publics = [key.public for key in keys]
    limits_w = np.tile([-2_000_000, 2_000_000], (agents, 1))

    def register(shard_key: bytes | None = None) -> Verifier:
        return Verifier(
            run=RUN,
            market=market.public,
            first=0,
            public_keys=publics,
            limits_w=limits_w,
            shard_key=shard_key,
        )

    def check(given: Any, shard_key: bytes | None) -> Callable[[], object]:
        gate = register(shard_key)

        def call() -> None:
            if gate.check(TICK, contracts, seal, proofs, given).any():
                raise AssertionError("a genuine contract was refused")

        return call

    def verify_signatures() -> None:
        for public, contract, given in zip(publics, contracts, signed, strict=True):
            verify(public, Purpose.COUNTERSIGNATURE, contract, given.signature)

    def verify_proofs() -> None:
        for contract, proof in zip(contracts, proofs, strict=True):
            verify_inclusion(seal.root, seal.leaves, proof.leaf, contract, proof.path)

    return {
        "derive keys": lambda: lambda: simulation_keys(seed, 0, agents),
        "register": lambda: register,
        "build": lambda: build,
        "seal and prove": lambda: lambda: seal_tick(market, RUN, TICK, contracts),
        "countersign": lambda: lambda: countersign(keys, contracts),
        "verify proofs": lambda: verify_proofs,
        "verify signatures": lambda: verify_signatures,
        "check, per agent": lambda: check(signed, None),
        "check, per shard": lambda: check(whole, keys[0].public),
    }


def microseconds(prepare: Callable[[], Callable[[], object]], repetitions: int) -> list[float]:
    """CPU time of each repetition."""
    times = []
    for _ in range(repetitions):
        call = prepare()
        start = time.process_time()
        call()
        times.append((time.process_time() - start) * 1e6)
    return times


def measure(agents: int, seed: int, repetitions: int) -> dict[str, Any]:
    """Microseconds per agent of every stage, and the bytes that travel."""
    row: dict[str, Any] = {"agents": agents}
    for name, prepare in stages(agents, seed).items():
        times = [us / agents for us in microseconds(prepare, repetitions)]
        row[name] = {"median": statistics.median(times), "min": min(times), "max": max(times)}
    row["bytes"] = {
        "contract": CONTRACT_BYTES,
        "proof": 32 * (agents - 1).bit_length(),
        "countersignature": len(sign(market_key(seed), Purpose.SEAL, b"")) + 32,
    }
    return row


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
@click.option("--quick", is_flag=True, help="The small size only.")
@click.option("--seed", default=0, show_default=True, help="Of keys and quantities.")
@click.option("--repetitions", default=5, show_default=True, type=click.IntRange(min=3))
def main(json_file: Path | None, quick: bool, seed: int, repetitions: int) -> None:
    """Measure, print, and keep the figures."""
    machine = facts(
        seed=seed,
        repetitions=repetitions,
    )
    rows = [measure(size, seed, repetitions) for size in (SIZES[:1] if quick else SIZES)]
    click.echo("  ".join(f"{name} {value}" for name, value in machine.items()))
    click.echo("microseconds of CPU per agent; median (min-max)")
    for row in rows:
        click.echo(f"{row['agents']:,} agents; bytes of each: {row['bytes']}")
        for name, us in row.items():
            if isinstance(us, dict) and "median" in us:
                spread = f"({us['min']:.2f}-{us['max']:.2f})"
                click.echo(f"  {name:<18} {us['median']:>8.2f} {spread}")
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
