"""The report of a run, a training or several runs: one page that needs no network.

The page is a function of the folder and the version of swarm and plotly alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from swarm.errors import UsageError
from swarm.results import report_grid, report_panels, report_trust
from swarm.results.folder import write_text
from swarm.results.page import bullets, document, glance, plot, table
from swarm.results.report_figures import by_group, kinds_table
from swarm.results.report_lines import MOST_POINTS
from swarm.results.report_merit import merit
from swarm.results.report_panels import Panel
from swarm.results.report_read import Ticks, events_of, read_ticks, registry_of
from swarm.results.report_training import curves, read_training
from swarm.results.run import FINISHED, Run, read_run
from swarm.results.summary import summary_rows
from swarm.results.training import METRICS

GENERATOR = "swarm report"
ZOOM = (
    "On a wide screen drag in a plot to enlarge a part of it, and click twice to go back; click on "
    "a name of a legend to hide its line."
)
MOST_EVENTS = 500
"""Events whose mark is in a page."""


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: of the page.
        html: all of it.
        shown: names of the panels that have a plot or a table.
        hidden: name of each other panel -> why.
    """

    title: str
    html: str
    shown: tuple[str, ...]
    hidden: Mapping[str, str]


def report(folder: Path, ticks: Sequence[int] = ()) -> Page:
    """The page of a run, or of a training.

    Args:
        folder: of a run, finished or not, or of a training.
        ticks: whose merit order must be in the page.

    Raises:
        UsageError: it is neither, or a file in it is damaged; or it has no such tick.
    """
    if (folder / METRICS).is_file():
        if ticks:
            raise UsageError(f"--tick {ticks[0]}: {folder} is a training, which has no ticks")
        return _of_training(folder)
    run = read_run(folder, unfinished=True)
    try:
        return _of_run(run, ticks)
    except KeyError as error:
        raise UsageError(f"{folder}: damaged: metrics.json has no {error}") from None


def _of_run(run: Run, ticks: Sequence[int]) -> Page:
    manifest, finished = run.manifest, run.manifest["status"] == FINISHED
    read = read_ticks(run)
    panels: list[Panel] = []
    if read is None:
        if ticks:
            raise UsageError(f"--tick {ticks[0]}: {run.run_dir} holds no ticks")
    else:
        for tick in ticks:
            if not 0 <= tick < len(read.tick):
                raise UsageError(f"--tick {tick}: no such tick; expected 0 to {len(read.tick) - 1}")
        panels = _panels(read, ticks)
    if read is None or not finished:
        panels.append(report_trust.contracts(run.metrics))
    title = f"{manifest.get('scenario')}, seed {manifest.get('seed')}"
    links = [("kinds", "Kinds of agents"), ("figures", "Key figures")] if finished else []
    parts = [f"<h1>{escape(title)}</h1>", bullets(_facts(run, read)), contents(panels, links)]
    if finished:
        parts += ["<h2>At a glance</h2>", glance(summary_rows(run.metrics, run.timings))]
    parts += sections(panels)
    if finished:
        header, rows = kinds_table(run.metrics)
        parts += ['<h2 id="kinds">Kinds of agents</h2>', table(header, rows)]
        parts += ['<h2 id="figures">Key figures and what they mean</h2>']
        for group, figures in by_group(run.metrics):
            parts.append(f"<h3>{escape(group)}</h3>")
            parts.append(table(("figure", "value", "meaning"), figures, stacked=True))
    return made_page(title, parts, panels)


def _panels(read: Ticks, ticks: Sequence[int]) -> list[Panel]:
    kinds, capacity_mwh = registry_of(read.run)
    events = events_of(read.run, MOST_EVENTS)
    alarms = [int(event["tick"]) for event in events if event["step"] == "detection"]
    panels: list[Panel | None] = [
        report_panels.price(read),
        merit(read, kinds, alarms, ticks),
        report_panels.dispatch(read),
        report_grid.frequency(read, events),
        report_grid.disturbed(read, events),
        report_grid.voltage(read),
        report_panels.batteries(read, capacity_mwh),
        report_panels.profits(read),
        report_panels.emissions(read),
        report_trust.lessons(read),
        report_trust.negotiation(read),
    ]
    if read.run.metrics:
        panels.append(report_trust.contracts(read.run.metrics))
    return [panel for panel in panels if panel is not None]


def _facts(run: Run, read: Ticks | None) -> list[str]:
    """What one must know to read the page, one sentence each."""
    manifest, status = run.manifest, run.manifest["status"]
    lines = []
    if status != FINISHED:
        said = f": {manifest['error']}" if manifest.get("error") else ""
        lines.append(
            f"This run did not finish (status {status}){said}. The page shows what it had written "
            "until then; key figures are made when a run ends."
        )
    if read is None:
        lines.append("It ended before it wrote a tick: tables are written in parts of many ticks.")
    else:
        last = len(read.tick)
        lines.append(
            f"{last:,} ticks of {read.clock.minutes} min from {read.clock.words(0)} to "
            f"{read.clock.words(last)}, local time at the UTC offset of the start."
        )
        if last > MOST_POINTS:
            lines.append(
                f"Lines of more than {MOST_POINTS:,} points are thinned: the least and the highest "
                "value of each stretch stay, so no peak is lost. Areas are means."
            )
    followed = manifest.get("policies", {}).get("by_kind", {})
    if followed:
        listed = ", ".join(f"{kind} {policy}" for kind, policy in sorted(followed.items()))
        lines.append(f"Policies: {listed}.")
    versions = manifest.get("versions", {})
    made = [f"grid-swarm {versions['grid-swarm']}"] if "grid-swarm" in versions else []
    made += [f"commit {manifest['commit'][:12]}"] if manifest.get("commit") else []
    if run.digest and status == FINISHED:
        made.append(f"digest {run.digest[:16]}")
    if made:
        lines.append(f"Made by {', '.join(made)}.")
    return [*lines, *(f"Note: {note}" for note in manifest.get("notes", []))]


def _of_training(folder: Path) -> Page:
    manifest, rows = read_training(folder)
    title = f"Training on {manifest.get('scenario')}"
    status = manifest.get("status")
    count = f"{len(rows):,} episode{'' if len(rows) == 1 else 's'}"
    lines = [f"{count}; status {status}."]
    if manifest.get("score") is not None:
        lines.append(f"Best score {manifest['score']:.6g}.")
    if manifest.get("command"):
        lines.append(f"Command: {manifest['command']}")
    panels = curves(rows)
    parts = [f"<h1>{escape(title)}</h1>", bullets(lines), contents(panels)]
    parts += sections(panels)
    return made_page(title, parts, panels)


def contents(panels: Sequence[Panel], more: Sequence[tuple[str, str]] = ()) -> str:
    """Links to the panels and to further parts, each an id with its heading."""
    links = [(f"{panel.name}-part", panel.title) for panel in panels if not panel.empty]
    links += more
    listed = " &middot; ".join(f'<a href="#{name}">{escape(title)}</a>' for name, title in links)
    return f"<nav><p>{listed}</p></nav>\n<p>{ZOOM}</p>"


def sections(panels: Sequence[Panel]) -> list[str]:
    """The panels as HTML, and at the end why others are missing."""
    parts = []
    for panel in (panel for panel in panels if not panel.empty):
        parts.append(f'<h2 id="{panel.name}-part">{escape(panel.title)}</h2>')
        parts.append(f"<p>{escape(panel.reading)}</p>")
        drawn = ""
        if panel.figure is not None:
            drawn = plot(panel.name, panel.figure, f"{panel.title}. {panel.reading}")
        parts.append(panel.before + drawn + panel.after)
    if missing := [f"{panel.title}: {panel.reading}" for panel in panels if panel.empty]:
        parts += ["<h2>Not shown</h2>", bullets(missing)]
    return parts


def made_page(title: str, parts: Sequence[str], panels: Sequence[Panel]) -> Page:
    """The parts as a page."""
    hidden = {panel.name: panel.reading for panel in panels if panel.empty}
    shown = tuple(panel.name for panel in panels if not panel.empty)
    return Page(title, document(title, "\n".join(parts), GENERATOR), shown, hidden)


def write_page(path: Path, page: Page, *, force: bool = False) -> None:
    """Write a report; what is derived may be made anew, nothing else is written over.

    Args:
        path: of the file; its folder is there.
        page: the report.
        force: also take the place of a file that is no report of swarm.

    Raises:
        UsageError: the folder is missing, or a file that is no report is there.
        RunError: it cannot be written.
    """
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"--out {path}: is a folder; expected the name of a file")
    if path.exists() and not force and not _is_report(path):
        raise UsageError(
            f"--out {path}: is there and no report; give another name, or --force to replace it"
        )
    write_text(path, page.html)


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return f'<meta name="generator" content="{GENERATOR}">'.encode() in file.read(400)
    except OSError:
        return False
