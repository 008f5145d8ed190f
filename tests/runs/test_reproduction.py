"""A recorded run is run again, and what differs is found."""

import json
import math
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import call

from crosslocate import train
from crosslocate.errors import CheckpointError, ConfigError, ReproductionError
from crosslocate.runs.record import RunRecord, read_record
from crosslocate.runs.reproduction import Comparison, compare, figures, require_reproduced


def reproduce(source, folder, *more):
    return call(train.main, "train", [f"reproduce={source}", f"paths.run={folder}", f"paths.cache={folder}", *more])


def changed(folder, **changes):
    record = read_record(folder)
    record["config"].update(changes)
    RunRecord(folder, record).write()


def test_the_same_run_is_the_same_to_the_last_bit(finished_job, tmp_path):
    again = tmp_path / "again"
    objective = reproduce(finished_job / "run.json", again, "logger=none")
    assert objective == read_record(finished_job)["objective"]["value"]
    report = json.loads((again / "reproduction.json").read_text())
    assert report["equal"]
    assert {"objective", "weights", "trained/val/recall@1_20m", "history/0/train/loss"} <= {
        figure["name"] for figure in report["figures"] if figure["equal"]
    }
    assert figures(again) == figures(finished_job)
    assert not (again / "metrics").exists()
    record = read_record(again)
    assert record["weights"] == read_record(finished_job)["weights"]
    assert record["config"]["reproduce"] == str(finished_job / "run.json")
    assert record["fingerprints"] == read_record(finished_job)["fingerprints"]


def test_another_seed_is_told_with_the_figures_it_changed(job, tmp_path):
    changed(job, seed=3)
    with pytest.raises(ReproductionError, match=r"figures are not reproduced.*relative difference.*reproduction\.json"):
        reproduce(job, tmp_path / "again")
    report = json.loads((tmp_path / "again" / "reproduction.json").read_text())
    figure = {one["name"]: one for one in report["figures"]}
    old, new = read_record(job)["weights"], read_record(tmp_path / "again")["weights"]
    assert (figure["weights"]["recorded"], figure["weights"]["found"], report["equal"]) == (old, new, False)
    loss = figure["history/0/train/loss"]
    expected = abs(loss["recorded"] - loss["found"]) / max(loss["recorded"], loss["found"])
    assert loss["relative_difference"] == pytest.approx(expected)
    different = {one["name"] for one in report["circumstances"] if not one["equal"]}
    assert "fingerprints/config" in different
    assert "fingerprints/data" not in different
    assert read_record(tmp_path / "again")["status"] == "finished"


def test_a_repetition_that_was_cut_short_goes_on_when_its_job_is_started_again(finished_job, failing_at, tmp_path):
    again = tmp_path / "sweep" / "0"
    sweep = ["hydra.mode=MULTIRUN", "hydra.job.num=0", f"hydra.sweep.dir={again.parent}"]
    with failing_at(9):
        reproduce(finished_job, again, *sweep)
    objective = reproduce(finished_job, again, *sweep)
    assert [(s["from_step"], s["to_step"]) for s in read_record(again)["sessions"]] == [(0, 9), (9, 12)]
    assert json.loads((again / "reproduction.json").read_text())["equal"]
    (again / "reproduction.json").unlink()
    assert reproduce(finished_job, again, *sweep) == objective
    assert len(read_record(again)["sessions"]) == 2
    assert (again / "reproduction.json").exists()


def test_one_figure_that_differs_is_found(finished_job, job):
    require_reproduced(finished_job, job)
    results = json.loads((job / "results.json").read_text())
    results["evaluations"]["val"]["trained"]["recalls"][0]["recall"] = 0.123
    (job / "results.json").write_text(json.dumps(results))
    with pytest.raises(ReproductionError, match=r": 1 of \d+ figures .*trained/val/recall@1_20m \(\S+ -> 0\.123\)"):
        require_reproduced(finished_job, job)


@pytest.mark.parametrize("override", ["seed=3", "optimizer.lr=1", "trainer.max_epochs=1", "backbone=resnet18"])
def test_nothing_but_places_and_devices_can_be_changed(finished_job, tmp_path, override):
    with pytest.raises(ConfigError, match=rf"{override.split('=')[0]}=.*nothing beside reproduce but paths, logger"):
        reproduce(finished_job, tmp_path / "again", override)


def test_only_a_finished_run_is_repeated(job, tmp_path):
    with pytest.raises(ConfigError, match=r"reproduce=.*folder of a finished run"):
        reproduce(tmp_path, tmp_path / "again")
    RunRecord(job, {**read_record(job), "status": "stopped"}).write()
    with pytest.raises(ConfigError, match=r"reproduce=.*a finished run.*is stopped"):
        reproduce(job, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_record_calls_nothing_but_what_our_configuration_calls(job, tmp_path):
    changed(job, loss={"_target_": "os.system", "command": f"touch {tmp_path / 'pwned'}"})
    with pytest.raises(CheckpointError, match=r"calls loss\._target_='os\.system'"):
        reproduce(job, tmp_path / "again")
    assert not (tmp_path / "pwned").exists()


def test_a_record_of_another_version_is_named(job, tmp_path):
    record = read_record(job)
    del record["config"]["dataset"]["mirror"]
    RunRecord(job, record).write()
    with pytest.raises(CheckpointError, match=r"another version"):
        reproduce(job, tmp_path / "again")


def test_figures_need_no_results(job):
    for name in ("results.json", "history.json"):
        (job / name).unlink()
    assert set(figures(job)) == {"objective", "weights"}
    shutil.rmtree(job)
    assert figures(job) == {"objective": None, "weights": None}


values = st.one_of(st.none(), st.text(max_size=3), st.floats(allow_nan=False, allow_infinity=False))


@given(st.dictionaries(st.text(max_size=2), values), st.dictionaries(st.text(max_size=2), values))
def test_every_value_of_either_run_is_compared(first, second):
    compared = {one.name: one for one in compare(first, second)}
    assert compared.keys() == first.keys() | second.keys()
    for name, one in compared.items():
        assert one.equal == (first.get(name) == second.get(name))
        if one.relative_difference is not None:
            assert 0 <= one.relative_difference <= 2 or math.isinf(one.recorded - one.found)
            assert (one.relative_difference == 0) >= one.equal


def test_relative_differences():
    assert Comparison("a", 2.0, 1.0).relative_difference == 0.5
    assert Comparison("a", 1, -1).relative_difference == 2
    assert Comparison("a", 0.0, 0.0).relative_difference == 0
    assert Comparison("a", "x", 1.0).relative_difference is None
    assert Comparison("a", None, 1.0).relative_difference is None
