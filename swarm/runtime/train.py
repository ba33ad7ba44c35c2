"""Training: episode after episode, scored, kept in checkpoints, and resumed to the same bytes.

What is trained is a `Trainee`; this module owns the order of things and the folder. A checkpoint is
the policies and the whole state after so many episodes. It takes the place of the one before by a
rename, so that a kill at any moment leaves a good one, and whatever was written after it is written
again, the same.
"""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from swarm.errors import UsageError
from swarm.learning.files import PolicySet, load_policies, load_state, save_policies, save_state
from swarm.results import training as files
from swarm.results.folder import new_run_folder, write_bytes, write_json
from swarm.runtime.train_options import MANIFEST, Options, check, manifest_of, recorded


class Trainee(Protocol):
    """What learns. All of it must be a function of its making, its state and the episode."""

    def episode(self, index: int) -> Mapping[str, float]:
        """Run episode `index`, counted from 0, and learn from it.

        Workers of its own must ignore SIGINT: on Ctrl-C the episode goes on to its end.

        Returns:
            Finite figures: "reward/storage" and "loss/storage" for each kind, "epsilon",
            "price_per_mwh", "agent_steps" and the like; "episode" and "score" are taken. One that
            there is not yet is left out.
        """

    def score(self) -> float:
        """How good the policies are on validation days, without exploration; more is better."""

    def policies(self) -> PolicySet:
        """The policies as they are now."""

    def state(self) -> dict[str, NDArray[Any]]:
        """All it takes to go on to the same bytes."""

    def load(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave; UsageError names an array that does not fit."""


class Told(Protocol):
    """Is told how a training goes."""

    def begin(self, folder: Path, done: int, episodes: int) -> None:
        """It begins, with so many episodes done before."""

    def episode(self, done: int, figures: Mapping[str, float], seconds: float) -> None:
        """One more is done, in so much wall-clock time."""

    def scored(self, done: int, score: float, best: bool) -> None:
        """The policies after `done` episodes have this score, the best one yet or not."""

    def note(self, text: str) -> None:
        """One line the user should know."""


class Silent:
    """Says nothing."""

    def begin(self, folder: Path, done: int, episodes: int) -> None:
        """Says nothing."""

    def episode(self, done: int, figures: Mapping[str, float], seconds: float) -> None:
        """Says nothing."""

    def scored(self, done: int, score: float, best: bool) -> None:
        """Says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""


@dataclass(frozen=True)
class Outcome:
    """What came of a training.

    Attributes:
        folder: of the training.
        policies: folder of the policies of the best score.
        sha256: of their arrays' file.
        episodes: done in all.
        score: the best.
        best_episode: episodes after which it was reached.
        stopped_early: `patience` ended it.
    """

    folder: Path
    policies: Path
    sha256: str
    episodes: int
    score: float
    best_episode: int
    stopped_early: bool


@dataclass(frozen=True)
class _Standing:
    """Where a training stands; with the learners' state, all of it."""

    episode: int = 0
    score: float | None = None
    best_episode: int | None = None
    stale: int = 0
    """Scores since the best."""

    def scored(self, score: float) -> _Standing:
        if self.score is None or score > self.score:
            return replace(self, score=score, best_episode=self.episode, stale=0)
        return replace(self, stale=self.stale + 1)


def train(trainee: Trainee, options: Options, told: Told | None = None) -> Outcome:
    """Train up to `options.episodes`, from the start or from the last checkpoint.

    Weights and metrics are the same bytes however often it was killed and resumed.

    Args:
        trainee: as it is made from the same options, untrained.
        options: what for and how long.
        told: is told how it goes.

    Raises:
        UsageError: see `check`; or a file of the folder is missing or damaged.
        RunError: a figure is not finite, or a file cannot be written.
        KeyboardInterrupt: Ctrl-C; the episode was ended and a checkpoint made. A second one leaves
            at once. The message has the command that goes on.
    """
    check(options)
    told = told or Silent()
    now = datetime.now(UTC)
    folder = options.resume
    if folder is None:
        all_of_it = options.resolved + json.dumps(options.identity(), sort_keys=True)
        folder = new_run_folder(options.out, options.scenario, options.seed, all_of_it, now)
    with files.claimed(folder):
        manifest = manifest_of(folder, options, now)
        with recorded(folder, manifest), _Interrupt(told) as interrupt:
            course = _Course(trainee, options, folder, manifest)
            told.begin(folder, course.standing.episode, options.episodes)
            course.run(told, interrupt)
            return course.outcome()


class _Course:
    """A training under way."""

    def __init__(
        self, trainee: Trainee, options: Options, folder: Path, manifest: dict[str, Any]
    ) -> None:
        self._trainee, self._options, self._folder = trainee, options, folder
        self._manifest = manifest
        self.standing = _Standing()
        self._rows: list[dict[str, float]] = []
        self._timings: list[dict[str, float]] = []
        if options.resume is not None:
            self._resume()
        manifest["done"] = self._kept = self.standing.episode

    @property
    def _spent(self) -> bool:
        """Patience is over."""
        patience = self._options.patience
        return patience is not None and self.standing.stale >= patience

    def run(self, told: Told, interrupt: _Interrupt) -> None:
        """All episodes that are left."""
        episodes, every = self._options.episodes, self._options.every
        events = files.events_in(self._folder / "tensorboard", self.standing.episode)
        try:
            while self.standing.episode < episodes and not self._spent:
                if interrupt.asked:
                    self._checkpoint()
                    raise KeyboardInterrupt
                self._episode(told, interrupt)
                done = self.standing.episode
                due = done % every == 0 or done == episodes
                if due:
                    self._score(told)
                if events is not None:
                    events.add(done, self._rows[-1])
                if due:
                    self._checkpoint()
        finally:
            if events is not None:
                events.close()
        self._manifest["status"] = "stopped early" if self._stopped_early else "finished"

    def _episode(self, told: Told, interrupt: _Interrupt) -> None:
        done = self.standing.episode + 1
        begin = time.perf_counter()
        try:
            figures = self._trainee.episode(done - 1)
        except Exception:
            if interrupt.asked:
                # A terminal sends Ctrl-C to all processes: workers may have ended on it.
                raise KeyboardInterrupt from None
            raise
        row = {name: float(value) for name, value in figures.items()}
        files.check_row(done, row)
        seconds = time.perf_counter() - begin
        timing = {"seconds": seconds}
        if "agent_steps" in row and seconds > 0:
            timing["agent_steps_per_second"] = row["agent_steps"] / seconds
        self._rows.append(row)
        self._timings.append(timing)
        self.standing = replace(self.standing, episode=done)
        told.episode(done, row, seconds)

    def _score(self, told: Told) -> None:
        done = self.standing.episode
        begin = time.perf_counter()
        score = float(self._trainee.score())
        files.check_row(done, {"score": score})
        self._rows[-1]["score"] = score
        self._timings[-1]["score_seconds"] = time.perf_counter() - begin
        self.standing = self.standing.scored(score)
        best = self.standing.best_episode == done
        if best:
            # Before the checkpoint: what a kill leaves between the two is written again.
            with files.replaced(self._folder, files.BEST) as folder:
                save_policies(folder, self._trainee.policies(), self._card(score))
        told.scored(done, score, best)

    def _checkpoint(self) -> None:
        if self._kept == self.standing.episode:
            return
        metrics = files.rows_bytes(self._rows)
        write_bytes(self._folder / files.METRICS, metrics)
        write_bytes(self._folder / files.TIMINGS, files.rows_bytes(self._timings))
        meta = {**asdict(self.standing), "metrics": hashlib.sha256(metrics).hexdigest()}
        with files.replaced(self._folder, files.LAST) as folder:
            save_policies(folder, self._trainee.policies(), self._card(self._rows[-1].get("score")))
            save_state(folder / files.STATE, self._trainee.state(), meta)
        self._kept = self.standing.episode
        self._manifest |= {"done": self._kept, "score": self.standing.score}
        # Syncs the training's folder too, and so the renames in it.
        write_json(self._folder / MANIFEST, self._manifest)

    def _card(self, score: float | None) -> dict[str, Any]:
        kept = {name: self._manifest[name] for name in ("command", "scenario", "identity")}
        return {**self._options.card, **kept, "episodes": self.standing.episode, "score": score}

    def _resume(self) -> None:
        folder = self._folder
        for name in (files.LAST, files.BEST):
            files.recover(folder, name)
        last = folder / files.LAST
        if not last.exists():
            # It was killed before its first checkpoint.
            return
        try:
            state, meta = load_state(last / files.STATE)
            load_policies(last)
            metrics = meta.pop("metrics", None)
            self.standing = _Standing(**meta)
            if self.standing.best_episode is not None:
                load_policies(folder / files.BEST)
            self._trainee.load(state)
        except (UsageError, TypeError) as error:
            raise UsageError(
                f"--resume {folder}: {error}\nremove {last} to go on from the checkpoint before "
                "it, where there is one, or else from the start"
            ) from None
        done = self.standing.episode
        path = folder / files.METRICS
        self._rows = files.read_rows(path, done)
        if hashlib.sha256(files.rows_bytes(self._rows)).hexdigest() != metrics:
            raise UsageError(f"--resume {path}: is damaged: its rows are not the checkpoint's")
        self._timings = files.read_rows(folder / files.TIMINGS, done)

    @property
    def _stopped_early(self) -> bool:
        return self._spent and self.standing.episode < self._options.episodes

    def outcome(self) -> Outcome:
        """What came of it; every training ends with a score, so there is a best."""
        standing, best = self.standing, self._folder / files.BEST
        assert standing.score is not None
        assert standing.best_episode is not None
        return Outcome(
            folder=self._folder,
            policies=best,
            sha256=load_policies(best).sha256,
            episodes=standing.episode,
            score=standing.score,
            best_episode=standing.best_episode,
            stopped_early=self._stopped_early,
        )


class _Interrupt:
    """Ctrl-C while the block lasts: the first asks to end, the second is a KeyboardInterrupt."""

    def __init__(self, told: Told) -> None:
        self.asked = False
        self._told = told
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._told.note("interrupted: ends after this episode; once more leaves at once")
