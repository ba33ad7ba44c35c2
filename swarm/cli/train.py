"""`swarm train`: let the agents of a scenario learn, and keep their policies."""

from __future__ import annotations

import json
import os
import shlex
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from swarm.errors import UsageError

if TYPE_CHECKING:
    from swarm.runtime.train_options import Options
    from swarm.scenario.schema import Scenario

SETTINGS = ("data", "kinds", "learning", "share_policies", "worlds", "year")
"""Options that decide the weights; the others of that sort have places of their own."""
NOT_OF_THE_WEIGHTS = ("resume", "out", "engine", "jobs", "as_json", "quiet")


@click.command("train")
@click.option("--scenario", metavar="NAME|PATH", help="What to train on.")
@click.option("--episodes", type=int, metavar="N", help="Episodes in all.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, resolve_path=True),
    help="Real data the scenario reads.",
)
@click.option("--year", is_flag=True, help="Train on the days of a whole year of 8,760 hours.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with the training there.")
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path),
    help="Start from the policies there.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("trainings"),
    show_default=True,
    help="Folder that gets the training's folder.",
)
@click.option(
    "--engine",
    type=click.Choice(["inline", "ray"]),
    default="inline",
    show_default=True,
    help="Where the worlds run; the weights are the same bytes.",
)
@click.option("--jobs", type=int, metavar="N", help="Worlds at a time.  [default: CPUs]")
@click.option("--seed", type=int, metavar="N", help="Seed of everything random.")
@click.option(
    "--worlds",
    type=int,
    default=4,
    show_default=True,
    metavar="N",
    help="Worlds an episode runs side by side, each with its own day and seed.",
)
@click.option(
    "--every",
    type=int,
    default=10,
    show_default=True,
    metavar="M",
    help="Episodes between two checkpoints, each with a score.",
)
@click.option("--patience", type=int, metavar="P", help="End after P scores without a better one.")
@click.option("--kinds", metavar="NAMES", help="Kinds that learn: storage,ev.  [default: all]")
@click.option(
    "--share-policies/--own-policies",
    default=True,
    show_default=True,
    help="One policy for all agents of a kind, or one each.",
)
@click.option(
    "--learning",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Replace a hyperparameter, like storage.learning_rate=0.0005.",
)
@click.option("--set", "sets", multiple=True, metavar="FIELD=VALUE", help="Replace a field.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    scenario: str | None,
    resume: Path | None,
    out: Path,
    engine: str,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
    **_: Any,
) -> None:
    """Train the agents of a scenario.

    \b
    swarm train --scenario normal_day --episodes 200
    swarm train --resume trainings/20250618T120000Z-normal_day-s0-1a2b3c4d

    With --resume all is as it was; --episodes, --patience, --engine and --jobs may be others.
    """
    if scenario is None and resume is None:
        raise UsageError("--scenario NAME|PATH is needed, or --resume with a training's folder")
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: expected a number above 0")
    if engine == "ray" and jobs is not None:
        raise UsageError(f"--jobs {jobs} is for --engine inline; Ray places the worlds itself")
    from swarm.cli.train_progress import TrainProgress
    from swarm.runtime.train_options import check

    loaded, notes, options = _options(ctx, scenario, resume, out)
    check(options)
    from swarm.learning.team import Settings, changed
    from swarm.runtime.train import train
    from swarm.runtime.trainee import make_trainee

    settings = options.settings
    trainee = make_trainee(
        loaded,
        data=None if settings["data"] is None else Path(settings["data"]),
        year=settings["year"],
        worlds=settings["worlds"],
        kinds=tuple(settings["kinds"]),
        shared=settings["share_policies"],
        settings=changed(Settings(), settings["learning"]),
        start=None if options.start is None else options.start.policies,
        engine=engine,
        jobs=(jobs or os.cpu_count()) if engine == "inline" else None,
    )
    with closing(trainee), TrainProgress(quiet=quiet) as progress:
        for note in notes:
            progress.note(note)
        done = train(trainee, options, progress)
    if as_json:
        told = {name: str(v) if isinstance(v, Path) else v for name, v in vars(done).items()}
        click.echo(json.dumps(told, sort_keys=True, allow_nan=False))
    elif not quiet:
        early = ", stopped early" if done.stopped_early else ""
        click.echo(
            f"{done.episodes} episodes{early}; best score {done.score:.4g} "
            f"after {done.best_episode}"
        )
        click.echo(f"policies: {done.policies}  sha256 {done.sha256[:16]}")
        use = ["swarm", "run", "--scenario", scenario or loaded.name]
        use += ["--policies-from", str(done.policies)]
        click.echo(f"hint: {shlex.join(use)}")


def _options(
    ctx: click.Context, name: str | None, resume: Path | None, out: Path
) -> tuple[Scenario, tuple[str, ...], Options]:
    """The scenario, notes on it, and what to train: as given, or else as it was in `resume`."""
    from swarm.learning.files import load_policies
    from swarm.results.training import START
    from swarm.runtime.train_options import RESOLVED, Options, read_manifest
    from swarm.scenario.load import load_scenario, scenario_yaml

    asked = ctx.params
    given = {
        each for each in asked if ctx.get_parameter_source(each) is ParameterSource.COMMANDLINE
    }
    settings = {each: asked[each] for each in SETTINGS}
    settings["learning"] = list(asked["learning"])
    settings["data"] = None if asked["data"] is None else str(asked["data"])
    kinds = (asked["kinds"] or "").split(",")
    settings["kinds"] = sorted({kind.strip() for kind in kinds if kind.strip()})
    chosen = {each: asked[each] for each in ("episodes", "every", "patience")}
    begun = None if asked["start"] is None else load_policies(asked["start"])
    source, command_line = name, _command_line(ctx, given)
    if resume is not None:
        manifest = read_manifest(resume)
        identity = manifest["identity"]
        before = {**identity, **manifest, **identity["settings"]}
        settings |= {each: before[each] for each in SETTINGS if each not in given}
        chosen |= {each: before[each] for each in chosen if each not in given}
        source, command_line = name or str(resume / RESOLVED), manifest["command"]
        if "start" not in given and identity["start"] is not None:
            begun = load_policies(resume / START)
    if chosen["episodes"] is None:
        raise UsageError("--episodes N is needed: how many episodes to train")
    if settings["worlds"] < 1:
        raise UsageError(f"--worlds {settings['worlds']}: expected a number above 0")
    found = load_scenario(str(source), sets=asked["sets"], seed=asked["seed"])
    options = Options(
        scenario=found.scenario.name,
        seed=found.scenario.seed,
        resolved=scenario_yaml(found.scenario),
        settings=settings,
        out=out,
        resume=resume,
        start=begun,
        command=command_line,
        **chosen,
    )
    return found.scenario, found.notes, options


def _command_line(ctx: click.Context, given: set[str]) -> str:
    """The command that makes these policies again, without what does not decide the weights."""
    words = ["swarm", "train"]
    for option in ctx.command.params:
        name, value = option.name or "", ctx.params.get(option.name or "")
        if name not in given or name in NOT_OF_THE_WEIGHTS:
            continue
        if isinstance(value, bool):
            words.append(option.opts[0] if value else option.secondary_opts[0])
        else:
            values = value if isinstance(value, tuple) else (value,)
            words += [word for each in values for word in (option.opts[0], str(each))]
    return shlex.join(words)
