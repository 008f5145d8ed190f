"""What a job does at a signal, and how its process leaves afterwards."""

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from crosslocate.config import requeue
from crosslocate.errors import RunStopped
from crosslocate.lit.signals import SIGNALS, listening, reason, stronger


def test_a_signal_outside_of_training_stops_the_job_at_once():
    for signum in SIGNALS:
        with listening(), pytest.raises(RunStopped) as stopped:
            os.kill(os.getpid(), signum)
        assert stopped.value.signal == signum


def test_handlers_are_those_of_before_afterwards():
    before = [signal.getsignal(signum) for signum in SIGNALS]
    with listening():
        assert all(signal.getsignal(signum) not in before for signum in SIGNALS)
    assert [signal.getsignal(signum) for signum in SIGNALS] == before


def test_a_noted_signal_is_followed_when_nobody_did():
    with listening() as listener:
        listener.defer()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(RunStopped) as stopped:
            listener.act()
    assert stopped.value.signal == signal.SIGUSR2  # it asks for another start


def test_while_a_stopped_run_is_closed_only_another_interrupt_counts():
    with listening():
        with pytest.raises(RunStopped):
            os.kill(os.getpid(), signal.SIGTERM)
        for signum in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), signum)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_stop_is_not_an_error():
    assert not issubclass(RunStopped, Exception)


def test_of_two_signals_the_one_that_asks_for_another_start_counts():
    assert stronger(None, signal.SIGINT) == signal.SIGINT
    assert stronger(signal.SIGTERM, signal.SIGUSR2) == stronger(signal.SIGUSR2, signal.SIGTERM) == signal.SIGUSR2


def test_the_reason_is_the_time_only_when_it_is_over():
    end = {"SLURM_JOB_END_TIME": "10000"}
    assert reason(signal.SIGUSR2, end, 9900.0) == "timed out"
    assert reason(signal.SIGUSR2, end, 1000.0) == reason(signal.SIGUSR1, {}, 0.0) == "preempted"
    assert reason(signal.SIGINT, end, 9900.0) == "interrupted"
    assert reason(signal.SIGTERM, end, 9900.0) == "terminated"


def test_a_process_that_reads_images_outlives_signals_to_the_whole_job():
    with listening():
        child = os.fork()
        if child == 0:
            for signum in SIGNALS:
                os.kill(os.getpid(), signum)
            os._exit(7 if signal.alarm(0) else 8)  # it ends in a while if it was the run that asked it to
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A stand-in for SLURM's command, that notes its calls; what it says and its status are in ``said``, ``status``."""
    (tmp_path / "status").write_text("0")
    script = tmp_path / "scontrol"
    (tmp_path / "said").touch()
    answer = f"cat {tmp_path}/said\nread code < {tmp_path}/status\nexit $code\n"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{answer}')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    return tmp_path


def left(signum, text="preempted", folder=""):
    with pytest.raises(SystemExit) as left:
        requeue.leave(RunStopped(signum, text), folder)
    return left.value.code


def calls(folder):
    return (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_preempted_job_goes_back_into_the_queue(scontrol, signum):
    assert left(signum) == 128 + signum
    assert calls(scontrol) == ["requeue 42"]


def test_a_job_of_an_array_goes_back_as_that(scontrol, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "40")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    left(signal.SIGUSR2)
    assert calls(scontrol) == ["requeue 40_3"]


def job_state(state, preempted):
    """What ``scontrol show job`` says of a job."""
    return f"JobState={state} Reason=None\n   PreemptEligibleTime=2026-01-31T12:00:00 PreemptTime={preempted}\n"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_cancelled_does_not(scontrol, signum, capsys):
    (scontrol / "said").write_text(job_state("COMPLETING", "2026-01-31T12:01:00"))
    assert left(signum, "interrupted", "/some/run") == 128 + signum
    assert "requeue 42" not in calls(scontrol)
    assert "the run was interrupted; to go on: resume=/some/run" in capsys.readouterr().err


def test_a_job_that_is_ended_does_not(scontrol):
    (scontrol / "said").write_text(job_state("RUNNING", "None"))
    assert left(signal.SIGTERM) == 128 + signal.SIGTERM
    assert calls(scontrol) == ["show job 42"]


def test_a_job_that_is_ended_because_it_loses_its_place_goes_back(scontrol):
    (scontrol / "said").write_text(job_state("RUNNING", "2026-01-31T12:01:00"))
    assert left(signal.SIGTERM) == 128 + signal.SIGTERM
    assert calls(scontrol) == ["show job 42", "requeue 42"]


def test_that_a_job_cannot_go_back_is_said(scontrol, capsys):
    (scontrol / "status").write_text("3")
    assert left(signal.SIGUSR2) == 128 + signal.SIGUSR2
    assert "job 42 could not be put back into the queue" in capsys.readouterr().err


def test_other_processes_leave_the_queue_to_the_first(scontrol, monkeypatch):
    monkeypatch.setattr(requeue, "PATIENCE", 0.01)
    monkeypatch.setenv("SLURM_PROCID", "1")
    left(signal.SIGUSR2)
    assert calls(scontrol) == []


def test_submitit_is_handed_its_signal(monkeypatch):
    from submitit.core.job_environment import SignalHandler

    class Handler(SignalHandler):
        def __init__(self):
            self.seen = []

        def checkpoint_and_try_requeue(self, signum, frame=None):
            self.seen.append(signum)
            sys.exit(-1)

    Handler.__module__ = SignalHandler.__module__
    handler = Handler()
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    before = signal.signal(signal.SIGUSR2, handler.checkpoint_and_try_requeue)
    try:
        with listening(), pytest.raises(RunStopped) as stopped:
            os.kill(os.getpid(), signal.SIGUSR2)
        with pytest.raises(SystemExit) as left:
            requeue.leave(stopped.value)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert handler.seen == [signal.SIGUSR2]
    assert left.value.code == -1


def test_a_rank_ends_with_the_process_that_started_it(tmp_path):
    child = (
        "import os, time; from crosslocate.config.ranks import end_with_parent; end_with_parent();"
        f" open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    process = subprocess.Popen([sys.executable, "-c", parent], env={**os.environ, "LOCAL_RANK": "1"})
    pid = waited(lambda: (tmp_path / "pid").exists() and int((tmp_path / "pid").read_text() or 0))
    process.kill()
    process.wait()
    waited(lambda: not running(pid))


def waited(found, seconds=20.0):
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return result


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - it may be gone between a look and the reading
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
