"""One process trains in a folder at a time."""

import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from threading import Timer

import pytest

from crosslocate.errors import ConfigError
from crosslocate.runs import lock

HOLDER = """
import sys, time
from crosslocate.runs.lock import held
with held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of ``tmp_path`` until its standard input is closed."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_refused_and_told_who_is_there(holder, tmp_path):
    assert lock.is_running(tmp_path)
    refusal = rf"paths\.run=.*no other process trains.*process {holder.pid} on "
    with pytest.raises(ConfigError, match=refusal), lock.held(tmp_path):
        pass
    assert lock.holder(tmp_path)["pid"] == holder.pid
    holder.communicate("")
    assert not lock.is_running(tmp_path)
    with lock.held(tmp_path):
        assert lock.holder(tmp_path)["pid"] == os.getpid()


def test_a_killed_process_leaves_no_lock(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not lock.is_running(tmp_path)
    with lock.held(tmp_path):
        pass


@pytest.mark.parametrize("use", [lock.held, lambda folder: nullcontext(lock.require_free(folder))])
def test_a_job_that_was_started_again_waits_for_the_lock_of_a_machine_that_failed(
    holder, tmp_path, monkeypatch, capsys, use
):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    with pytest.raises(ConfigError, match=f"process {holder.pid} on"), use(tmp_path):
        pass
    assert "waiting" not in capsys.readouterr().err
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    Timer(0.5, holder.stdin.close).start()
    with use(tmp_path):
        assert holder.wait() == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"process {holder.pid} on" in said
    assert "waiting 300 s" in said


def test_it_does_not_wait_for_ever(holder, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    monkeypatch.setattr(lock, "LEASE", 0.2)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    with pytest.raises(ConfigError, match=f"process {holder.pid} on"), lock.held(tmp_path):
        pass


def test_asking_does_not_let_go_of_the_lock(tmp_path):
    ask = f"from crosslocate.runs.lock import is_running; print(is_running({str(tmp_path)!r}))"

    def asked():
        return subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()

    assert asked() == "False"
    with lock.held(tmp_path):
        assert lock.is_running(tmp_path)
        assert lock.holder(tmp_path)["pid"] == os.getpid()
        with pytest.raises(ConfigError, match=f"process {os.getpid()} on"), lock.held(tmp_path):
            pass
        child = os.fork()
        if child == 0:
            os._exit(0)  # closes its copies of all descriptors
        os.waitpid(child, 0)
        assert asked() == "True"
    assert asked() == "False"
