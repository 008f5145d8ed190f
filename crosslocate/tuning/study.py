"""A study: its trials in Optuna's storage, shared by all processes that work on it."""

import fcntl
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from crosslocate.config.build import build
from crosslocate.data.locking import locked
from crosslocate.errors import ConfigError, CrossLocateError
from crosslocate.runs.continuation import change_table
from crosslocate.runs.fingerprint import config_differences, plain
from crosslocate.tuning.space import Space, Value

SETTINGS = "settings"
"""Attribute of the study that keeps how its trials are chosen."""
CONFIG = "config"
"""Attribute of the study that keeps the configuration its trials have in common."""
SQLITE_PATIENCE = 120.0
"""Seconds to wait for other processes that write to the same file; SQLite's own are 5."""
REASON = "reason"
"""Attribute of a trial that failed."""


@dataclass(frozen=True)
class Task:
    """One trial to be run by this process.

    Attributes:
        number: Of the trial, from 0.
        values: Its settings, by configuration key.
        folder: Folder of its run.
    """

    number: int
    values: Mapping[str, Value]
    folder: Path


class Trials:
    """Hands out the trials of a study, and notes what became of them.

    The settings of a trial are a function of the seed, its number and the trials before it, so that a study that was
    interrupted goes on as if it had not been. A trial belongs to the process that holds the lock in its folder; one
    whose process died is handed out again, to go on in that folder.

    Args:
        folder: Of the study; all processes that work on it must see it.
        name: Of the study.
        storage: Where Optuna keeps it: a URL, or a storage.
        space: What is tuned.
        sampler: Node of an Optuna sampler that takes a ``seed``.
        pruner: Node of an Optuna pruner.
        seed: Of the sampler.
        settings: How trials are chosen; must be the same whenever a study is continued.
        config: The configuration that the trials have in common; the same must be true of its fingerprint.

    Raises:
        ConfigError: The study was begun with other settings, or another configuration.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        storage: str | BaseStorage,
        space: Space,
        sampler: Any,
        pruner: Any,
        seed: int,
        settings: Mapping[str, Any],
        config: Any,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.space, self.seed = folder, space, seed
        self._sampler, self._lock = sampler, folder / "study.lock"
        self._held: dict[int, IO[str]] = {}
        self._judged: dict[int, int] = {}
        with locked(self._lock):
            self._storage = opened(storage)
            self.study: Study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                pruner=build(pruner),
                direction="maximize",
                load_if_exists=True,
            )
            self._require_same_settings(settings)
            self._require_same_config(plain(config))
        self._id = self._storage.get_study_id_from_name(name)

    def claim(self, total: int) -> Task | None:
        """A trial for this process: one that nobody runs any more, or one more up to ``total``."""
        with locked(self._lock):
            trials = self.study.get_trials()
            waiting = [trial.number for trial in trials if trial.state == TrialState.RUNNING]
            for number in waiting:
                if self._hold(number):
                    return self._task(trials[number])
            if len(trials) >= total:
                return None
            self.study.add_trial(self._next(trials))
            trial = self.study.get_trials()[-1]
            self._hold(trial.number)
            return self._task(trial)

    def report(self, number: int, values: Sequence[tuple[int, float]]) -> bool:
        """Note values of a trial by step, ascending; whether it should end, in view of the others, at one of them."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
        known = self._storage.get_trial(trial_id).intermediate_values
        open_step = max(known, default=0)  # noted, but perhaps not judged before this process began
        for step, value in values:
            if step <= self._judged.get(number, open_step - 1):
                continue
            if step not in known:
                self._storage.set_trial_intermediate_value(trial_id, step, value)
            self._judged[number] = step
            if self.study.pruner.prune(self.study, self._storage.get_trial(trial_id)):
                return True
        return False

    def complete(self, number: int, value: float) -> None:
        """Note what a finished trial gave."""
        self.study.tell(number, value)
        self._release(number)

    def prune(self, number: int) -> None:
        """Note that a trial was ended early; its value is its latest one."""
        self.study.tell(number, state=TrialState.PRUNED)
        self._release(number)

    def fail(self, number: int, reason: str) -> None:
        """Note that a trial failed, and why."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
        self._storage.set_trial_user_attr(trial_id, REASON, reason)
        self.study.tell(number, state=TrialState.FAIL)
        self._release(number)

    def trials(self) -> list[FrozenTrial]:
        """All trials, in their order."""
        return self.study.get_trials()

    def close(self) -> None:
        """Let others go on with the trials of this process."""
        for number in list(self._held):
            self._release(number)

    def _task(self, trial: FrozenTrial) -> Task:
        return Task(trial.number, trial.params, self._folder_of(trial.number))

    def _folder_of(self, number: int) -> Path:
        return self.folder / "trials" / str(number)

    def _next(self, trials: list[FrozenTrial]) -> FrozenTrial:
        distributions = {key: setting.distribution() for key, setting in self.space.items()}
        sampler = build(self._sampler, seed=_mixed(self.seed, len(trials)))
        return create_trial(
            state=TrialState.RUNNING, params=suggest(trials, distributions, sampler), distributions=distributions
        )

    def _hold(self, number: int) -> bool:
        """Take the lock of a trial; not if this process has it already, or another one."""
        if number in self._held:
            return False
        folder = self._folder_of(number)
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "owner.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._held[number] = file
        return True

    def _release(self, number: int) -> None:
        if (file := self._held.pop(number, None)) is not None:
            file.close()

    def _require_same_settings(self, settings: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(settings))
        before = self._noted(SETTINGS, now)
        for key, value in now.items():
            if before.get(key) != value:
                raise ConfigError(
                    key, value, f"{before.get(key)!r}, with which the study was begun", "Or another study"
                )

    def _require_same_config(self, config: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(config, default=str))
        if changes := config_differences(self._noted(CONFIG, now), now):
            raise ConfigError(
                "study",
                self.study.study_name,
                "a study of trainings of the same configuration",
                f"It was begun with other values:\n{change_table(changes)}\n"
                "Begin another study (study=...), or bring the values back",
            )

    def _noted(self, attribute: str, now: dict[str, Any]) -> dict[str, Any]:
        """What the study was begun with: ``now``, if this is its beginning."""
        noted: dict[str, Any] | None = self.study.user_attrs.get(attribute)
        if noted is None:
            self.study.set_user_attr(attribute, now)
        return now if noted is None else noted


def opened(storage: str | BaseStorage) -> BaseStorage:
    """A storage by its URL."""
    if isinstance(storage, str) and storage.startswith("sqlite"):
        patient = {"connect_args": {"timeout": SQLITE_PATIENCE}}
        storage = optuna.storages.RDBStorage(storage, engine_kwargs=patient)
    return optuna.storages.get_storage(storage)


@contextmanager
def explained_storage(storage: str) -> Iterator[None]:
    """Say in one line what is wrong with a storage that fails.

    Args:
        storage: Its URL.

    Raises:
        CrossLocateError: It failed; nothing of a URL's password is said.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        reason: Any = error if isinstance(error, SQLAlchemyError) else error.__cause__
        said = str(getattr(reason, "orig", None) or reason or error).strip().splitlines()[0]
        place = make_url(storage).render_as_string(hide_password=True)
        raise CrossLocateError(f"storage={place} failed: {said}; once it works, the same command goes on") from error


def suggest(trials: Sequence[FrozenTrial], distributions: Mapping[str, Any], sampler: Any) -> dict[str, Value]:
    """Settings of the next trial after some others; nothing is written anywhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(trials)
        return dict(study.ask(dict(distributions)).params)


def _mixed(seed: int, number: int) -> int:
    """A seed of its own for every trial."""
    import numpy as np

    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
