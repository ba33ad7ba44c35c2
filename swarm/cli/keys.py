"""`swarm keys`: make a key for every agent of a scenario and for the market."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from swarm.errors import UsageError
from swarm.scenario.load import baseline_of, load_scenario


@click.command("keys")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--scenario", required=True, metavar="NAME|PATH", help="Whose agents get keys.")
@click.option("--data", type=click.Path(path_type=Path), help="Real data the scenario reads.")
@click.option("--agents", type=int, metavar="N", help="Scale the drawn fleets to N agents.")
@click.option("--replicate", is_flag=True, help="Let --agents repeat explicit lists of agents.")
@click.option("--seed", type=int, metavar="N", help="Seed of everything random but the keys.")
@click.option("--set", "sets", multiple=True, metavar="FIELD=VALUE", help="Replace a field.")
@click.option("--missing", is_flag=True, help="Keep the keys that are there, make the others.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def command(
    folder: Path,
    scenario: str,
    data: Path | None,
    agents: int | None,
    replicate: bool,
    seed: int | None,
    sets: tuple[str, ...],
    missing: bool,
    as_json: bool,
) -> None:
    """Write an Ed25519 key for every agent of a scenario, and for the market, into FOLDER.

    \b
    swarm keys keys --scenario price_spike
    swarm run --scenario price_spike --keys keys

    The files hold secrets: only you may read them (0600), and none is ever overwritten.
    """
    from swarm.trust.holder import MARKET
    from swarm.trust.keys import random_key, read_key_folder, write_key_folder

    names = [*_agents(scenario, data, agents, replicate, seed, sets), MARKET]
    kept = [name for name in names if missing and (folder / f"{name}.key").exists()]
    old = dict(zip(kept, read_key_folder(folder, kept), strict=True)) if kept else {}
    new = {name: random_key() for name in names if name not in old}
    write_key_folder(folder, new)
    market = (old | new)[MARKET].public.hex()
    if as_json:
        told = {"folder": str(folder), "written": len(new), "kept": len(old)}
        click.echo(json.dumps(told | {"market_public_key": market}, sort_keys=True))
        return
    keeping = f", {len(old):,} kept" if old else ""
    click.echo(f"{folder}: {len(new):,} keys written{keeping}; market's public key {market}")


def _agents(
    name: str,
    data: Path | None,
    agents: int | None,
    replicate: bool,
    seed: int | None,
    sets: Sequence[str],
) -> list[str]:
    """Ids of the agents of a scenario, and of its baseline where that has others."""
    from swarm.scenario.fleets import rosters
    from swarm.trust.holder import MARKET
    from swarm.world.world import build_world

    loaded = load_scenario(name, sets=sets, seed=seed, agents=agents, replicate=replicate)
    found: dict[str, None] = {}
    for each in (loaded.scenario, baseline_of(loaded.scenario)):
        if each is not None:
            complete = build_world(each, data).scenario
            found |= dict.fromkeys(name for roster in rosters(complete) for name in roster.ids)
    if MARKET in found:
        raise UsageError(f"agent {MARKET!r}: the market signs under that name, rename the agent")
    return list(found)
