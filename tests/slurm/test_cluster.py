"""Sweeps on a real SLURM: submitted from a shell that closes, preempted, put back into the queue, continued."""

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from cluster import PATIENCE, arguments, await_end, await_state, log, queue, script, why_not
from wandb_records import read_run

from crosslocate.config.app import conf_dir

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

FATES = ["undisturbed", "preempted", "outranked", "failing"]


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def equal(first, second):
    first, second = weights(first), weights(second)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def record(folder):
    return json.loads((folder / "run.json").read_text())


def rows(table):
    """Lines of a status by the number of the job."""
    return {int(line.split()[0]): line for line in table.splitlines() if line[:1].isdigit()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("slurm")


@pytest.fixture(scope="module")
def submitted(tiny_dataset, folder):
    """Three sweeps that run side by side: of single processes, of two processes, and over two nodes."""
    whole_node = f"hydra.launcher.cpus_per_task={os.cpu_count()}"
    shared = ["trainer=ddp_cpu", "dataset.batch_size=1"]
    two = [*shared, "trainer.devices=2", "name=undisturbed,preempted"]
    two_nodes = [*shared, "trainer.devices=1", "trainer.num_nodes=2", "name=undisturbed"]
    sweeps = {"single": [f"name={','.join(FATES)}", whole_node], "two": two, "two_nodes": two_nodes}
    with ThreadPoolExecutor() as pool:
        outputs = pool.map(
            lambda s: script("submit", *arguments(tiny_dataset, folder, s, *sweeps[s]), cwd=folder), sweeps
        )
        printed = dict(zip(sweeps, outputs, strict=True))
    for process in waiting_processes(folder / "two"):
        os.kill(process, signal.SIGKILL)
    return printed


@pytest.fixture(scope="module")
def single(submitted, folder):
    await_end(folder / "single")
    return folder / "single"


@pytest.fixture(scope="module")
def two(submitted, folder):
    await_end(folder / "two")
    return folder / "two"


def test_submitting_names_the_folder_and_every_job(submitted, folder):
    output = submitted["single"]
    assert output.splitlines()[0] == str(folder / "single")
    assert [line.split()[-1] for line in rows(output).values()] == [f"name={fate}" for fate in FATES]
    assert len({line.split()[1] for line in rows(output).values()}) == len(FATES)


def test_a_sweep_has_one_folder_and_every_job_one_of_its_own(single, two):
    for sweep, jobs in ((single, FATES), (two, FATES[:2])):
        folders = sorted(p.name for p in sweep.iterdir() if p.name[0] != "." and p.is_dir())
        assert folders == [str(number) for number in range(len(jobs))]
    assert not (single.parent / "outputs").exists()


@pytest.mark.parametrize("fate", ["preempted", "outranked"])
def test_a_job_that_lost_its_place_continues_and_ends_with_the_weights_of_an_undisturbed_one(single, fate):
    undisturbed, disturbed = single / "0", single / str(FATES.index(fate))
    assert equal(undisturbed, disturbed)
    assert record(disturbed)["objective"] == record(undisturbed)["objective"]


@pytest.mark.parametrize("fate", ["preempted", "outranked"])
def test_a_job_that_lost_its_place_is_one_run_of_two_sessions(single, fate):
    content = record(single / str(FATES.index(fate)))
    assert content["status"] == "finished"
    assert [session["status"] for session in content["sessions"]] == ["stopped", "finished"]
    assert content["sessions"][0]["reason"] == "preempted"
    assert [(s["from_step"], s["to_step"]) for s in content["sessions"]] == [(0, 9), (9, 12)]
    assert content["slurm"]["restarts"] == 1


@pytest.mark.parametrize("fate", ["preempted", "outranked"])
def test_a_job_that_lost_its_place_is_one_wandb_run(single, fate):
    folder = single / str(FATES.index(fate))
    files = list(folder.glob("wandb/**/*.wandb"))
    assert len(files) == 2
    assert {file.stem for file in files} == {f"run-{record(folder)['wandb']}"}


def test_an_undisturbed_job_is_one_session_and_one_wandb_run(single):
    assert len(record(single / "0")["sessions"]) == 1
    run = read_run(single / "0")
    assert run["exit_code"] == 0
    assert run["group"] == "single"


def test_a_failing_job_is_reported_and_the_others_finish(single):
    table = rows(script("status", str(single), cwd=single))
    assert "failed" in table[3]
    assert "query 3 is on the moon" in table[3]
    for number in range(3):
        assert "finished" in table[number]
        assert f"{record(single / str(number))['objective']['value']:.4f}" in table[number]


def test_two_tasks_that_lost_their_place_continue_together_and_need_nobody_who_waits(two):
    assert not waiting_processes(two)
    assert equal(two / "0", two / "1")
    first, second = record(two / "0"), record(two / "1")
    assert [session["status"] for session in second["sessions"]] == ["stopped", "finished"]
    assert first["world_size"] == second["world_size"] == 2
    assert first["objective"] == second["objective"]


def test_two_nodes_train_as_two_processes_of_one(two, folder):
    await_end(folder / "two_nodes")
    assert equal(two / "0", folder / "two_nodes" / "0")


def test_results_are_collected(single):
    output = script("collect", str(single), cwd=single)
    assert "single/3" in output
    assert "query 3 is on the moon" in output
    assert f"{100 * record(single / '0')['objective']['value']:.1f}" in output


@pytest.fixture
def held(tiny_dataset, tmp_path):
    """Submits a sweep of jobs that wait until they are released."""

    def submit(*more, options=()):
        hold = "+hydra.launcher.additional_parameters.hold=true"
        script("submit", *options, *arguments(tiny_dataset, tmp_path, "held", hold, *more), cwd=tmp_path)
        return tmp_path / "held"

    return submit


def test_files_that_change_after_submission_are_refused(held, tmp_path):
    extra = tmp_path / "extra" / "optimizer"
    extra.mkdir(parents=True)
    original = (conf_dir() / "optimizer" / "sgd.yaml").read_text()
    (extra / "mine.yaml").write_text(original)
    sweep = held("optimizer=mine", "name=undisturbed", options=["--config-dir", str(tmp_path / "extra")])
    (job,) = queue(sweep)
    assert "momentum: 0.9" in original
    (extra / "mine.yaml").write_text(original.replace("momentum: 0.9", "momentum: 0.5"))
    release(job)
    await_end(sweep)
    assert "error: " in log(sweep, 0)
    assert "hydra.sweep.dir" in log(sweep, 0)
    assert not list(sweep.glob("**/*.ckpt"))


def test_cancelled_jobs_save_and_do_not_come_back(held):
    sweep = held("name=sleeping,undisturbed")
    running, _waiting = queue(sweep)
    release(running)
    await_state(sweep, running, "RUNNING")
    await_text("asleep", sweep, 0)
    states = [line.split()[2] for line in rows(script("status", str(sweep), cwd=sweep)).values()]
    assert states == ["running", "pending"]
    assert script("cancel", str(sweep), "1", cwd=sweep) == "cancelled: 1\n"
    assert list(queue(sweep)) == [running]
    assert script("cancel", str(sweep), cwd=sweep) == "cancelled: 0\n"
    await_end(sweep)
    table = rows(script("status", str(sweep), cwd=sweep))
    assert "stopped" in table[0]
    assert "cancelled" in table[1]
    assert torch.load(sweep / "0" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 9
    assert script("cancel", str(sweep), cwd=sweep) == "cancelled: nothing\n"


@pytest.mark.slow
def test_a_job_whose_time_is_over_saves_and_continues(tiny_dataset, tmp_path):
    limits = ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=60"]
    script("submit", *arguments(tiny_dataset, tmp_path, "limited", "name=sleeping", *limits), cwd=tmp_path)
    await_end(tmp_path / "limited")
    sessions = record(tmp_path / "limited" / "0")["sessions"]
    assert [(s["status"], s["from_step"], s["to_step"]) for s in sessions] == [("stopped", 0, 9), ("finished", 9, 12)]
    assert sessions[0]["reason"] in ("timed out", "preempted")  # SLURM before 23.02 does not tell jobs when they end


def test_a_submission_that_fails_says_why(tiny_dataset, tmp_path):
    wrong = arguments(tiny_dataset, tmp_path, "wrong", "name=undisturbed", "seed=-1")
    output = script("submit", *wrong, cwd=tmp_path, code=1)
    assert "seed=-1 is not allowed" in output
    output = script("status", str(tmp_path), cwd=tmp_path, code=1)
    assert "sweep.json" in output


def release(job):
    subprocess.run(["scontrol", "release", job], check=True)


def await_text(text, sweep, job):
    """Wait until a job has printed something."""
    until = time.monotonic() + PATIENCE
    while text not in log(sweep, job):
        assert time.monotonic() < until
        time.sleep(0.2)


def waiting_processes(sweep: Path) -> list[int]:
    """Processes that a submission left behind."""
    return [
        int(file.parent.name)
        for file in Path("/proc").glob("[0-9]*/cmdline")
        if (words := _words(file)) and "crosslocate.train" in words and any(str(sweep) in word for word in words)
    ]


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split("\0")
    except OSError:
        return []
