"""One process trains in a folder at a time."""

import os
import signal
import subprocess
import sys

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
    process.communicate()


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
