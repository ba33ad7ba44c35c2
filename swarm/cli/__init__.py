"""The `swarm` command. Commands are imported when they are called, so that --help is quick."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from swarm import __version__
from swarm.errors import SwarmError

COMMANDS = {
    "run": ("swarm.cli.run", "Run a scenario."),
    "resume": ("swarm.cli.resume", "Go on with a run that was stopped."),
    "compare": ("swarm.cli.compare", "Compare policies on the same seeds and days."),
    "train": ("swarm.cli.train", "Let the agents of a scenario learn."),
    "list": ("swarm.cli.list_", "List the built-in scenarios."),
    "validate": ("swarm.cli.validate", "Check a scenario without running it."),
    "schema": ("swarm.cli.schema", "Print the JSON Schema of a scenario, for editors."),
    "show": ("swarm.cli.show", "Show what a past run was and gave."),
    "report": ("swarm.cli.report", "Make one page with plots of a run, or of several."),
    "query": ("swarm.cli.query", "Ask a run's tables by SQL."),
    "digest": ("swarm.cli.digest", "Print one SHA-256 over a run's result tables."),
    "keys": ("swarm.cli.keys", "Make keys with which a scenario's agents and its market sign."),
    "audit": ("swarm.cli.audit", "Verify a run's audit log, or show one decision from it."),
    "doctor": ("swarm.cli.doctor", "Check this machine, and say how to mend what is missing."),
}
INTERRUPTED = 130


class _Lazy(click.Group):
    """A group that knows its commands by name and imports them when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            from swarm.errors import nearest

            ctx.fail(f"No such command {args[0]!r}.{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="swarm")
def group() -> None:
    """Simulate a swarm of electricity-market agents on Ray.

    Start with: swarm run --scenario price_spike
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Exit codes: 0 good, 1 a check that was asked for failed, 2 usage, 3 runtime, 130 Ctrl-C.
    """
    try:
        code = group.main(arguments, prog_name="swarm", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt) as stop:
        # click wraps the interrupt that the run raised; its words are in the cause.
        said = str(stop.__cause__ or stop)
        click.echo(f"interrupted: {said}" if said else "interrupted", err=True)
        sys.exit(INTERRUPTED)
    except SwarmError as error:
        if not error.told:
            click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away; that is not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
