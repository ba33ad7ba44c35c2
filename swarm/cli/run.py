"""`swarm run`: run a scenario and say what came of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swarm.cli.watched import told_options, watched, watched_options

if TYPE_CHECKING:
    from swarm.cli.log import JsonLog
    from swarm.cli.progress import RunProgress
    from swarm.cli.watch import Watch
    from swarm.results.run import Run


class _PerActor(click.ParamType):  # type: ignore[type-arg]
    """`auto` or a number above zero."""

    name = "auto|N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        if value == "auto" or isinstance(value, int):
            return value  # type: ignore[no-any-return]
        if not str(value).isdigit() or int(value) < 1:
            self.fail(f"{value!r} is neither 'auto' nor a number above 0", param, ctx)
        return int(value)


@click.command("run")
@click.option("--scenario", required=True, metavar="NAME|PATH", help="What to run.")
@click.option("--data", type=click.Path(path_type=Path), help="Real data the scenario reads.")
@click.option(
    "--engine",
    type=click.Choice(["ray", "inline"]),
    default="ray",
    show_default=True,
    help="Where agents run; the results are the same bytes.",
)
@click.option("--address", metavar="ADDRESS", help="A running Ray cluster, e.g. auto.")
@click.option("--agents", type=int, metavar="N", help="Scale the drawn fleets to N agents.")
@click.option("--replicate", is_flag=True, help="Let --agents repeat explicit lists of agents.")
@click.option(
    "--agents-per-actor",
    type=_PerActor(),
    default="auto",
    show_default=True,
    help="Agents that share one Ray actor.",
)
@click.option("--ticks", type=int, metavar="N", help="Length of the run in ticks.")
@click.option("--seed", type=int, metavar="N", help="Seed of everything random.")
@click.option(
    "--policy",
    metavar="NAME",
    help="trained, heuristic, random, or package.module:Class; by default trained where the "
    "policies that come with swarm were trained on such agents, else heuristic.",
)
@click.option(
    "--policies-from",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Trained policies from `swarm train` or a run with --learn.",
)
@click.option("--learn", is_flag=True, help="Let agents with trained policies go on learning.")
@click.option(
    "--share-policies",
    is_flag=True,
    help="With --learn: one policy for all agents of a kind, instead of one for each.",
)
@click.option("--set", "sets", multiple=True, metavar="FIELD=VALUE", help="Replace a field.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder that gets the run's folder.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path, resolve_path=True),
    metavar="FOLDER",
    help="Sign with keys made by `swarm keys` instead of ones derived from the seed.",
)
@click.option(
    "--shadow",
    is_flag=True,
    help="Decide everything and move nothing; the same as --set trust.shadow=true.",
)
@click.option(
    "--checkpoint-every",
    type=int,
    metavar="TICKS",
    help="Distance of checkpoints for `swarm resume`; by default as many as take less than 2 % of "
    "the run, 0: none.",
)
@watched_options
@told_options
def command(
    scenario: str,
    data: Path | None,
    engine: str,
    address: str | None,
    agents: int | None,
    replicate: bool,
    agents_per_actor: Any,
    ticks: int | None,
    seed: int | None,
    policy: str | None,
    policies_from: Path | None,
    learn: bool,
    share_policies: bool,
    sets: tuple[str, ...],
    out: Path,
    keys: Path | None,
    watch: bool,
    shadow: bool,
    checkpoint_every: int | None,
    log_format: str,
    as_json: bool,
    quiet: bool,
    **telemetry: Any,
) -> None:
    """Run a scenario.

    \b
    swarm run --scenario price_spike
    swarm run --scenario price_spike --agents 500 --seed 3 --set market.price_cap=20000
    """
    progress = shown(watch, log_format, quiet)
    from swarm.runtime.session import run

    if policy is not None and ":" in policy and "" not in sys.path:
        # A policy of the user's own is found where they stand, as with python -m.
        sys.path.insert(0, str(Path.cwd()))
    if shadow:
        sets = (*sets, "trust.shadow=true")
    with progress as told:
        done = run(
            scenario,
            ticks=ticks,
            seed=seed,
            agents=agents,
            replicate=replicate,
            sets=sets,
            data=data,
            engine=engine,  # type: ignore[arg-type]
            address=address,
            agents_per_actor=agents_per_actor,
            policy=policy,
            policies_from=policies_from,
            learn=learn,
            share_policies=share_policies,
            out=out,
            keys=keys,
            checkpoint_every=checkpoint_every,
            watched=watched(**telemetry),
            progress=told,
        )
    tell(done, as_json, quiet)


def shown(watch: bool, log_format: str, quiet: bool) -> Watch | RunProgress | JsonLog:
    """Who is told how a run goes, as the options of a command ask for."""
    if watch and quiet:
        raise click.UsageError("--watch shows the run and --quiet shows nothing: give one of them")
    if watch and log_format == "json":
        raise click.UsageError("--watch draws for people and --log-format json does not")
    from swarm.cli.log import JsonLog
    from swarm.cli.progress import RunProgress
    from swarm.cli.watch import Watch

    if log_format == "json":
        return JsonLog(quiet=quiet)
    return Watch() if watch else RunProgress(quiet=quiet)


def tell(done: Run, as_json: bool, quiet: bool) -> None:
    """Print what came of a run."""
    if as_json:
        whole = {
            **done.metrics,
            "timings": done.timings,
            "run_dir": str(done.run_dir),
            "digest": done.digest,
            "baseline": None if done.baseline is None else done.baseline.metrics,
        }
        click.echo(json.dumps(whole, sort_keys=True, allow_nan=False))
    elif not quiet:
        from swarm.cli.report import print_report

        print_report(done)
        click.echo(f"results: {done.run_dir}")
        click.echo(f"digest:  {done.digest}")
