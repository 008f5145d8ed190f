"""The command lines, as a person starts them."""

import json
import subprocess
import sys

import pytest

ENTRY_POINTS = ["train", "tune", "evaluate", "index", "localize", "render", "convert", "check"]


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=120, check=False, cwd=cwd
    )


@pytest.mark.parametrize("name", ENTRY_POINTS)
@pytest.mark.parametrize("flag", ["--help", "--cfg=job"])
def test_help_and_config_answer_without_importing_torch(name, flag, tmp_path):
    script = (
        "import runpy, sys, json\n"
        f"sys.argv = ['crosslocate.{name}', '{flag}']\n"
        "try:\n"
        f"    runpy.run_module('crosslocate.{name}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "heavy = {'torch', 'pytorch_lightning', 'numba', 'matplotlib', 'cv2', 'pyarrow'} & set(sys.modules)\n"
        "print('HEAVY', json.dumps(sorted(heavy)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.rsplit("HEAVY", 1)[1]) == []
    assert ("paths:" in done.stdout) or ("Override anything" in done.stdout)


def test_a_bad_value_ends_with_a_message_and_no_traceback(tmp_path):
    done = run("crosslocate.train", "optimizer.lr=-1", cwd=tmp_path)
    assert done.returncode == 1
    assert "optimizer.lr=-1.0" in done.stderr
    assert "above 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_lists_the_ones_that_exist(tmp_path):
    done = run("crosslocate.train", "backbone=resnet19", cwd=tmp_path)
    assert done.returncode != 0
    assert "resnet18" in done.stderr
    assert "Traceback" not in done.stderr
