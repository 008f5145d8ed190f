"""Several processes that fill one store, with a work of numbers instead of a network; and who gets which share."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from crosslocate.errors import ConfigError, RunStopped, StoreError
from crosslocate.lit.signals import listening
from crosslocate.localization.processes import Crew, Worker, in_processes
from crosslocate.localization.shares import devices_of, launched_shard, local_number, threads_of
from crosslocate.retrieval.grid import WHOLE, Shard, unfinished
from crosslocate.retrieval.store import DescriptorStore

ROWS, BATCH = 23, 4
LONG = 90
"""Seconds that a process sleeps that is to be stopped: many for a busy machine, and fewer than `PATIENCE`."""


def work(config, shard, device, opened, *, visible):
    """Fill a share of a store; the process of the last share fails in the way that ``end`` says."""
    assert not visible
    path = Path(config["path"])
    store = DescriptorStore.create(path, ROWS, 2, batch=BATCH, exist_ok=True)
    opened(path)
    for rows in unfinished(store, BATCH, shard):
        store.write(rows, np.repeat(np.array(rows)[:, None], 2, 1) * 1.5)
    if config["end"] != "none":
        if shard.number == 0:
            sleep_long(path)
        ENDS[config["end"]]()
    return shard.number, device


def sleep_long(path):
    """Until it is asked to end; leaves a file where nobody does."""
    time.sleep(LONG)
    path.with_name("went_on").touch()


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def refused():
    raise StoreError("the disk is full")


def broken():
    raise ZeroDivisionError("division by zero")


ENDS = {"killed": killed, "refused": refused, "broken": broken}


def test_processes_fill_a_store_together(tmp_path):
    opened = []
    config = {"path": str(tmp_path / "a"), "end": "none"}
    found = in_processes(work, config, WHOLE, ["cpu", "cpu:1"], opened.append)
    assert found == [(0, "cpu"), (1, "cpu:1")]
    assert opened == [tmp_path / "a"]
    store = DescriptorStore.open(tmp_path / "a", verify=True)
    store.require_complete()
    np.testing.assert_array_equal(store.descriptors[:, 1], np.arange(ROWS) * 1.5)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("killed", r"process 2 of 2: it was ended by SIGKILL, .*memory; what was embedded is kept"),
        ("refused", r"process 2 of 2: the disk is full"),
        pytest.param("broken", r"process 2 of 2: ZeroDivisionError: division by zero", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_fails_is_named_and_what_was_made_is_kept(tmp_path, end, message, capfd):
    with pytest.raises(StoreError, match=message):
        in_processes(work, {"path": str(tmp_path / "a"), "end": end}, WHOLE, ["cpu", "cpu"], lambda _: None)
    assert not (tmp_path / "went_on").exists()
    own = DescriptorStore.open(tmp_path / "a", verify=True).covered[BATCH : 2 * BATCH]
    assert own.all()


def test_processes_that_end_between_two_looks_are_missed_too():
    class Ended:
        exitcode = 3

        def is_alive(self):
            return False

    crew = Crew([Worker(Ended(), SimpleNamespace(poll=lambda: False), Shard(k, 2)) for k in range(2)], None)
    assert len(list(crew.looks())) == 1
    assert str(crew.lost.shard) == "1 of 2"
    assert crew.lost.end.startswith("it ended with status 3;")


def sleeping(config, shard, device, opened, *, visible):
    DescriptorStore.create(config["path"], ROWS, 2, batch=BATCH, exist_ok=True)
    opened(Path(config["path"]))
    sleep_long(Path(config["path"]))


def test_a_signal_stops_all_processes(tmp_path):
    def interrupt(_):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()

    with listening(), pytest.raises(RunStopped, match="terminated"):
        in_processes(sleeping, {"path": str(tmp_path / "a")}, WHOLE, ["cpu", "cpu"], interrupt)
    assert not (tmp_path / "went_on").exists()


PARENT = """
import multiprocessing, sys
from crosslocate.localization.processes import in_processes
from crosslocate.retrieval.grid import WHOLE
from test_index_processes import sleeping

def opened(_):
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)

if __name__ == "__main__":
    in_processes(sleeping, {"path": sys.argv[1]}, WHOLE, ["cpu", "cpu"], opened)
"""


def test_processes_end_with_their_parent_however_it_ends(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "a")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        children = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(children) == 2
    end = time.monotonic() + LONG * 2 / 3
    while any(map(lives, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(lives, children))


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("environment", "shard", "local"),
    [
        ({}, WHOLE, 0),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Shard(3, 4), 1),
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "2"}, Shard(5, 8), 2),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, WHOLE, 0),  # the script of a job, of which there is one
        ({"RANK": "0", "WORLD_SIZE": "1", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, Shard(1, 2), 0),
    ],
)
def test_launchers_say_which_share(environment, shard, local):
    assert launched_shard(environment) == shard
    assert local_number(environment) == local


@pytest.mark.parametrize(
    ("device", "devices", "launched", "local", "gpus", "expected"),
    [
        ("auto", 1, WHOLE, 0, 0, ["cpu"]),
        ("auto", "auto", WHOLE, 0, 0, ["cpu"]),
        ("auto", 3, WHOLE, 0, 0, ["cpu"] * 3),
        ("auto", 1, WHOLE, 0, 4, ["cuda:0"]),
        ("cuda", "auto", WHOLE, 0, 2, ["cuda:0", "cuda:1"]),
        ("cpu", 2, WHOLE, 0, 2, ["cpu"] * 2),
        ("cuda:3", 1, WHOLE, 0, 4, ["cuda:3"]),
        ("auto", "auto", Shard(5, 8), 1, 4, ["cuda:1"]),  # a task for each GPU, which sees all of them
        ("auto", "auto", Shard(5, 8), 1, 1, ["cuda:0"]),  # and one that sees its own alone
        ("auto", 2, Shard(1, 4), 1, 4, ["cuda:2", "cuda:3"]),
    ],
)
def test_every_process_has_a_device(device, devices, launched, local, gpus, expected):
    assert devices_of(device, devices, launched, local, gpus) == expected


@pytest.mark.parametrize(
    ("device", "devices", "gpus", "message"),
    [
        ("auto", 3, 2, "devices=3 .* at most 2"),
        ("cuda", 1, 0, "device='cuda' .* finds no GPU"),
        ("cuda:1", 2, 2, "device='cuda:1' .* cuda, cpu or auto with devices=2"),
    ],
)
def test_devices_that_there_are_not(device, devices, gpus, message):
    with pytest.raises(ConfigError, match=message):
        devices_of(device, devices, WHOLE, 0, gpus)


def test_processes_share_the_cores_where_they_compute_there():
    assert threads_of(None, 3, 8, "cpu") == 2
    assert threads_of(None, 9, 8, "cpu") == 1
    assert threads_of(None, 3, 8, "cuda:0") is threads_of(None, 1, 8, "cpu") is None
    assert threads_of(5, 3, 8, "cpu") == 5
