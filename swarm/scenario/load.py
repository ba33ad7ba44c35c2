"""Finding a scenario, applying what the command line changes in it, and validating the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from swarm.errors import UsageError, nearest
from swarm.scenario.check import check
from swarm.scenario.events import Islanding, PriceSpike
from swarm.scenario.json_schema import json_schema
from swarm.scenario.overrides import apply_sets
from swarm.scenario.problems import Problem, converted, problems_of
from swarm.scenario.scale import cut, scale
from swarm.scenario.schema import Scenario
from swarm.scenario.yaml_reader import BASED_INT, FLOAT, NodePath, read_document

__all__ = ["Loaded", "available", "json_schema", "load_scenario", "scenario_yaml"]

MAX_PROBLEMS_TOLD = 10


@dataclass(frozen=True)
class Loaded:
    """A valid scenario, the file it came from, and what the user should know about it."""

    scenario: Scenario
    path: Path
    notes: tuple[str, ...]


def builtin_folder() -> Path:
    """The built-in scenarios: in the package after an install, beside it in a source checkout."""
    packaged = Path(__file__).parent / "builtin"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "scenarios"


def available() -> dict[str, Path]:
    """The built-in scenarios' files by name, sorted by name."""
    return {path.stem: path for path in sorted(builtin_folder().glob("*.yaml"))}


def find(name_or_path: str) -> Path:
    """The file of a scenario: a built-in by its name, anything with a slash or .yaml by path.

    Raises UsageError for an unknown name; whether a path exists shows when it is read.
    """
    if "/" in name_or_path or "\\" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path)
    known = available()
    if name_or_path not in known:
        hint, names = nearest(name_or_path, known), ", ".join(known) or "none"
        raise UsageError(
            f"unknown scenario {name_or_path!r}{hint if 'mean' in hint else ''}; built-in: {names}"
            "; a file of your own is given with its path, like ./mine.yaml"
        )
    return known[name_or_path]


def load_scenario(
    name_or_path: str,
    *,
    sets: Sequence[str] = (),
    seed: int | None = None,
    ticks: int | None = None,
    agents: int | None = None,
    replicate: bool = False,
) -> Loaded:
    """Read, change and validate a scenario.

    `sets` are `path=value` texts; `seed` and `ticks` replace the file's, events that start
    after a shorter run are left out; `agents` scales the fleets to that many in their mix, which
    for explicit lists takes `replicate`. The order is sets, seed, ticks, agents. Raises UsageError
    with up to ten problems, each with its file and line or the argument that caused it.
    """
    path = find(name_or_path)
    document = read_document(path)
    data = deepcopy(document.data)
    origins = apply_sets(data, sets)
    if seed is not None:
        data["seed"] = seed
        origins[("seed",)] = f"--seed {seed}"
    scenario, problems = validate(data)
    if problems or scenario is None:
        lines = {at: line for at, (line, _) in document.positions.items()}
        in_file = validate(document.data) if origins else (None, problems)
        raise UsageError(_told(problems, str(path), lines, origins, in_file))
    notes: list[str] = []
    if ticks is not None:
        scenario, notes = cut(scenario, ticks)
    if agents is not None:
        scenario, more = scale(scenario, agents, replicate)
        notes += more
        for problem in check(scenario):  # names of copies may be taken, or grow too long
            raise UsageError(f"--agents {agents}: {problem}")
    elif replicate:
        raise UsageError("--replicate repeats explicit lists for --agents N; give that too")
    for event_type, name in ((PriceSpike, "outside"), (Islanding, "grid")):
        if getattr(scenario, name) is None:
            notes += [
                f"events[{index}] ({event.type}) has no effect: the scenario has no {name!r}"
                for index, event in enumerate(scenario.events)
                if isinstance(event, event_type)
            ]
    return Loaded(scenario, path, tuple(notes))


def validate(data: Mapping[str, Any]) -> tuple[Scenario | None, list[Problem]]:
    """The scenario in `data` (None where the schema refuses it), and what is wrong with it."""
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        return None, problems_of(error, Scenario, data)
    except OverflowError:  # an event's day so far that no calendar has it
        return None, [Problem(("events",), "an event starts outside the run: its day is too far")]
    return scenario, [*converted(data, scenario), *check(scenario)]


def baseline_of(scenario: Scenario) -> Scenario | None:
    """The scenario to compare with, None where there is none.

    Raises:
        UsageError: where a field of `baseline.set` does not exist or its value is not valid.
    """
    if scenario.baseline is None:
        return None
    data = {**scenario.model_dump(mode="json"), "baseline": None}
    try:
        origins = apply_sets(data, scenario.baseline.set)
    except UsageError as error:
        told = str(error).replace("--set ", "", 1)
        raise UsageError(f"scenario {scenario.name!r}: baseline.set: {told}") from None
    found, problems = validate(data)
    if problems or found is None:
        lines = [f"scenario {scenario.name!r}: baseline.set: {text}" for text in origins.values()]
        raise UsageError("; ".join(lines).replace("--set ", "") + f": {problems[0]}")
    return found


def scenario_yaml(scenario: Scenario) -> str:
    """The scenario with all its fields as YAML, which `load_scenario` reads to an equal one."""
    text: str = yaml.dump(
        scenario.model_dump(mode="json"),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Writes no anchors, and quotes text that YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Every value is written out."""
        return True


# PyYAML quotes what YAML 1.1 would not read as text; the core schema of 1.2 has more numbers.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", BASED_INT, ["0"])


def _told(
    problems: Sequence[Problem],
    file: str,
    lines: Mapping[NodePath, int],
    origins: Mapping[NodePath, str],
    in_file: tuple[Scenario | None, Sequence[Problem]],
) -> str:
    """The message for `problems`, each with where it comes from.

    `in_file` is what validation makes of the file without the command line's `origins`: a
    problem that is also there is the file's own. Any other comes from the arguments about the
    same field or its parents or children; from all of them where none is and the file is valid.
    """
    told = []
    for problem in problems[:MAX_PROBLEMS_TOLD]:
        causes: list[str] = []
        if problem not in in_file[1]:
            causes = [text for at, text in origins.items() if _related(at, problem.path)]
            if not causes and in_file[0] is not None:
                causes = list(origins.values())
        if causes:
            told.append(f"{', '.join(causes)}: {problem}")
        else:
            at = problem.path
            while at and at not in lines:
                at = at[:-1]
            told.append(f"{file}:{lines.get(at, 1)}: {problem}")
    if len(problems) > MAX_PROBLEMS_TOLD:
        told.append(f"... and {len(problems) - MAX_PROBLEMS_TOLD} more")
    return "\n".join(told)


def _related(one: NodePath, other: NodePath) -> bool:
    """Whether one path is the other or leads to it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]
