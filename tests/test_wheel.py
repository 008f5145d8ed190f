"""The wheel holds the configuration and runs outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_every_config_file(unpacked):
    inside = {
        p.relative_to(unpacked / "crosslocate" / "conf") for p in (unpacked / "crosslocate" / "conf").rglob("*.yaml")
    }
    assert inside == {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    assert (unpacked / "crosslocate" / "py.typed").is_file()


def test_the_wheel_runs_elsewhere(unpacked, tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r}); import crosslocate, runpy; "
        f"assert crosslocate.__file__.startswith({str(unpacked)!r}); sys.argv = ['train', '--cfg', 'job']; "
        "runpy.run_module('crosslocate.train', run_name='__main__')"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "root: ${paths.cache}/sample" in done.stdout
