"""Studies of formulas instead of trainings: order, pruning, failures, interruption, several processes."""

import multiprocessing
import sqlite3
import threading

import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from crosslocate.errors import ConfigError, CrossLocateError
from crosslocate.tuning.loop import run_trials
from crosslocate.tuning.process import Outcome
from crosslocate.tuning.space import read_space
from crosslocate.tuning.study import REASON, SQLITE_PATIENCE, Trials, explained_storage, opened
from crosslocate.tuning.summary import importances, summarize, write_table

SPACE = read_space({"x": {"low": 0.0, "high": 1.0}, "kind": {"choices": ["a", "b"]}})
SAMPLER = {"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 3, "constant_liar": True}
STORAGES = {}
"""One a study, by its folder: they are faster than files, which one test is about."""
PRUNER = {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 2}
EPOCHS = 4


class HaltedError(KeyboardInterrupt):
    pass


class Curve:
    """A trial that measures a formula of its settings, one value at a look, or all at once."""

    stopped = ()
    """What was done to trials at work, in its order."""

    def __init__(self, task, slot, *, pace=1, fails=(), interrupt=None):
        self.task, self.pace, self.fails, self.interrupt = task, pace, fails, interrupt
        self.seen = 0

    def goal(self):
        return (1 - (self.task.values["x"] - 0.3) ** 2) * (1.0 if self.task.values["kind"] == "a" else 0.9)

    def values(self):
        self.seen = min(EPOCHS, self.seen + self.pace)
        if self.interrupt == (self.task.number, self.seen):
            raise HaltedError
        return [(step, self.goal() * step / EPOCHS) for step in range(1, self.seen + 1)]

    def outcome(self):
        if self.task.number in self.fails:
            return Outcome(None, "no memory")
        return Outcome(self.goal()) if self.seen == EPOCHS else None

    def ask(self):
        Curve.stopped = (*Curve.stopped, ("asked", self.task.number))

    def end(self, reason=None):
        Curve.stopped = (*Curve.stopped, ("ended", self.task.number, reason))


def trials_in(folder, **changes):
    arguments = {
        "name": "study", "storage": STORAGES.setdefault(folder, InMemoryStorage()), "space": SPACE, "sampler": SAMPLER,
        "pruner": PRUNER, "seed": 3, "settings": {"fixed": ["a=1"], "seed": 3},
        "config": {"optimizer": {"lr": 0.1}, "name": "x"},
    }  # fmt: skip
    return Trials(folder, **{**arguments, **changes})


def run(folder, total=10, jobs=1, failures=3, **how):
    trials = trials_in(folder)
    run_trials(trials, lambda task, slot: Curve(task, slot, **how), total, jobs, failures, lambda *_: None, pause=0.0)
    return found(trials)


def found(trials):
    return [(t.number, t.state.name, t.params, t.values, t.intermediate_values) for t in trials.trials()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"))


def test_a_study_learns_and_prunes(undisturbed):
    states = [state for _, state, *_ in undisturbed]
    assert states[:2] == ["COMPLETE", "COMPLETE"]
    assert "PRUNED" in states
    assert len({trial[2]["x"] for trial in undisturbed}) == 10


@pytest.mark.parametrize("pace", [2, EPOCHS])
def test_when_trials_are_looked_at_changes_nothing(undisturbed, tmp_path, pace):
    assert run(tmp_path, pace=pace) == undisturbed


@pytest.mark.parametrize(("number", "step"), [(0, 1), (3, 2), (6, 1), (9, 1)])
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(undisturbed, tmp_path, number, step):
    Curve.stopped = ()
    with pytest.raises(HaltedError):
        run(tmp_path, interrupt=(number, step))
    assert Curve.stopped[-2:] == (("asked", number), ("ended", number, None))  # saved itself, and left open
    assert [t.state for t in trials_in(tmp_path).trials()][-1] == TrialState.RUNNING
    assert run(tmp_path) == undisturbed


def test_a_value_that_was_noted_but_not_judged_is_judged_later(undisturbed, tmp_path):
    pruned = next(trial for trial in undisturbed if trial[1] == "PRUNED")
    run(tmp_path, total=pruned[0])
    trials = trials_in(tmp_path)
    task = trials.claim(10)
    id_ = trials._storage.get_trial_id_from_study_id_trial_number(trials._id, task.number)
    for step, value in pruned[4].items():
        trials._storage.set_trial_intermediate_value(id_, step, value)
    trials.close()
    assert run(tmp_path) == undisturbed


def test_a_study_can_be_given_more_trials(undisturbed, tmp_path):
    run(tmp_path, total=4)
    assert run(tmp_path, total=10) == undisturbed


def test_failed_trials_are_noted_with_their_reason_and_others_go_on(tmp_path):
    run(tmp_path, total=5, fails=(1, 2))
    trials = trials_in(tmp_path).trials()
    assert [t.state.name == "FAIL" for t in trials] == [False, True, True, False, False]
    assert trials[1].user_attrs[REASON] == "no memory"


def test_trials_at_once_are_all_asked_before_one_is_waited_for(tmp_path):
    Curve.stopped = ()
    with pytest.raises(HaltedError):
        run(tmp_path, jobs=3, interrupt=(2, 1))
    assert [what for what, *_ in Curve.stopped] == ["asked"] * 3 + ["ended"] * 3


def test_failures_in_succession_end_a_study_that_goes_on_later(tmp_path):
    with pytest.raises(CrossLocateError, match="3 trials failed one after the other; the last one: no memory"):
        run(tmp_path, fails=(0, 1, 3, 4, 5, 7))
    states = [t.state.name for t in trials_in(tmp_path).trials()]
    assert states == ["FAIL", "FAIL", "COMPLETE", "FAIL", "FAIL", "FAIL"]
    assert len(run(tmp_path, total=7)) == 7


def test_another_configuration_is_another_study(tmp_path):
    trials_in(tmp_path)
    trials_in(tmp_path, config={"optimizer": {"lr": 0.1}, "name": "y"})  # names change nothing
    with pytest.raises(ConfigError, match=r"study='study' is not allowed(?s:.*)optimizer.lr: 0.1 -> 0.2"):
        trials_in(tmp_path, config={"optimizer": {"lr": 0.2}, "name": "x"})


def test_other_settings_are_another_study(tmp_path):
    trials_in(tmp_path)
    with pytest.raises(ConfigError, match=r"fixed=\['a=2'\] is not allowed; allowed: \['a=1'\], with which"):
        trials_in(tmp_path, settings={"fixed": ["a=2"], "seed": 3})


def test_trials_at_once_are_different_ones(tmp_path):
    run(tmp_path, total=9, jobs=3)
    trials = trials_in(tmp_path).trials()
    assert len(trials) == 9
    assert len({t.params["x"] for t in trials}) == 9
    assert all(t.state.is_finished() for t in trials)


def claim_and_hold(folder, pipe):
    trials = trials_in(folder, storage=f"sqlite:///{folder}/study.db")
    pipe.send(trials.claim(2).number)
    pipe.recv()


def test_a_trial_belongs_to_one_process_until_that_dies(tmp_path):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    other = context.Process(target=claim_and_hold, args=(tmp_path, there))
    other.start()
    assert here.recv() == 0
    trials = trials_in(tmp_path, storage=f"sqlite:///{tmp_path}/study.db")
    assert trials.claim(2).number == 1
    assert trials.claim(2) is None
    other.kill()
    other.join()
    assert trials.claim(2).number == 0


@pytest.fixture
def write_lock(tmp_path):
    """Holds the lock of a study's database, as somebody does who writes."""
    trials_in(tmp_path, storage=f"sqlite:///{tmp_path}/study.db").close()
    connection = sqlite3.connect(tmp_path / "study.db", isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    yield connection
    connection.close()


def test_a_database_that_another_process_writes_to_is_waited_for(tmp_path, write_lock):
    threading.Timer(0.5, write_lock.close).start()
    assert trials_in(tmp_path, storage=f"sqlite:///{tmp_path}/study.db").claim(1).number == 0


def test_a_database_is_waited_for_longer_than_usual(tmp_path):
    with opened(f"sqlite:///{tmp_path}/study.db")._backend.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == SQLITE_PATIENCE * 1000 > 60_000


@pytest.mark.usefixtures("write_lock")
def test_a_storage_that_fails_says_so_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("crosslocate.tuning.study.SQLITE_PATIENCE", 0.1)
    storage = f"sqlite:///{tmp_path}/study.db"
    with pytest.raises(CrossLocateError) as caught, explained_storage(storage):
        trials_in(tmp_path, storage=storage)
    assert str(caught.value).startswith(f"storage={storage} failed: database is locked; ")


def test_a_storage_is_named_without_its_password():
    with pytest.raises(CrossLocateError) as caught, explained_storage("postgresql://me:secret@host/db"):
        raise StorageInternalError("gone")
    assert str(caught.value).startswith("storage=postgresql://me:***@host/db failed: gone; ")


def test_the_summary_is_a_table_a_picture_and_a_command(undisturbed, tmp_path, capsys):
    run(tmp_path)
    trials = trials_in(tmp_path)
    best = max((t for t in undisturbed if t[1] == "COMPLETE"), key=lambda t: t[3][0])
    assert summarize(tmp_path, trials.study, ["experiment=demo"], "val/recall") == best[3][0]
    command = capsys.readouterr().out
    assert command.startswith(f"python -m crosslocate.train experiment=demo x={best[2]['x']!r} kind={best[2]['kind']}")
    lines = (tmp_path / "study.csv").read_text().splitlines()
    assert lines[0] == "trial,state,value,epochs,seconds,x,kind,reason"
    assert len(lines) == 11
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")
    assert set(importances(trials.study)) == {"x", "kind"}


def test_a_study_without_a_finished_trial_says_why(tmp_path):
    run(tmp_path, total=2, fails=(0, 1))
    with pytest.raises(CrossLocateError, match="no trial finished; the last one: no memory"):
        summarize(tmp_path, trials_in(tmp_path).study, [], "val/recall")


def test_reasons_are_in_the_table(tmp_path):
    run(tmp_path, total=2, fails=(1,))
    write_table(tmp_path / "t.csv", trials_in(tmp_path).trials())
    assert (tmp_path / "t.csv").read_text().splitlines()[2].endswith(",no memory")
