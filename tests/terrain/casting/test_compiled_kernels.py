"""Compiled kernels that are kept on disk: used while the sources are the same, and never after a change in any."""

import ast
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from crosslocate.terrain.casting import kernels
from crosslocate.terrain.casting.kernels import compiled
from crosslocate.terrain.casting.kernels.cells import cross_cell

FOLDER = Path(kernels.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
CELL = "np.array([3.0, 5.0, 4.0, 9.0], np.float32), 2, False, 0, 1e-7, 2.0, 9e3, 0.1, 0.2, 0.03, 0.02, 5.0"
RUN = f"""
import json
import numpy as np
from copied.cells import cross_cell
print(json.dumps([cross_cell({CELL}), sum(cross_cell.stats.cache_hits.values()), cross_cell.stats.cache_path]))
"""
WITHOUT_OPTION = """
from numba.core.registry import cpu_target
for cls in cpu_target.options.__mro__:
    if "_nrt" in vars(cls):
        del cls._nrt
"""
BEFORE, AFTER = "versine = 0.5 * s * t * ", "versine = 1.5 * s * t * "


@pytest.fixture
def copy(tmp_path):
    """The package under another name, in the folder of a test."""
    package = tmp_path / "copied"
    package.mkdir()
    for path in FOLDER.glob("*.py"):
        (package / path.name).write_text(path.read_text().replace(kernels.__name__, "copied"))
    return package


def run(copy, script=RUN, **environment):
    """Terrain in a cell according to a fresh process, whether it came from the disk, and where that is."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA")}
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=copy.parent, env=inherited | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found, kept, folder = json.loads(ran.stdout)
    return found, bool(kept), Path(folder)


def in_this_process():
    return list(cross_cell(*eval(f"({CELL})", {"np": np})))


def files(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nb*")}


def test_a_change_in_another_file_is_compiled_and_nothing_else(copy):
    first, kept, folder = run(copy)
    assert (first, kept, folder) == (in_this_process(), False, copy / "__pycache__")
    before = files(folder)
    assert {name.split("-")[0] for name in before} >= {"cells.cross_cell", "rays.arc"}
    for path in copy.glob("*.py"):
        os.utime(path)
    assert run(copy) == (first, True, folder)
    assert files(folder) == before
    callee = copy / "rays.py"
    source = callee.read_text()
    assert BEFORE in source
    callee.write_text(source.replace(BEFORE, AFTER))
    second, kept, _ = run(copy)
    assert not kept
    assert second[3] < first[3] - 0.5  # terrain 9 km away is 4 m below the plane at the camera, or 12 m
    assert run(copy) == (second, True, folder)


def test_where_the_package_may_not_be_written_code_is_kept_for_the_user(copy, tmp_path):
    (copy / "__pycache__").touch()  # no such folder can be made, whoever runs this
    places = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home" / "cache")}
    first, kept, folder = run(copy, **places)
    assert not kept
    assert folder.is_relative_to(tmp_path / "home")
    assert run(copy, **places) == (first, True, folder)


def test_the_folder_of_the_user_is_respected(copy, tmp_path):
    chosen = {"NUMBA_CACHE_DIR": str(tmp_path / "chosen")}
    first, kept, folder = run(copy, **chosen)
    assert not kept
    assert folder.is_relative_to(tmp_path / "chosen")
    assert run(copy, **chosen) == (first, True, folder)
    assert not list(copy.glob("__pycache__/*.nb*"))


def test_without_the_undocumented_option_kernels_are_compiled_all_the_same(copy):
    found, _, _ = run(copy, WITHOUT_OPTION + RUN + "assert '_nrt' not in cross_cell.targetoptions")
    assert found == in_this_process()


def test_kernels_that_allocate_nothing_do_not_count_references():
    assert cross_cell.targetoptions["_nrt"] is False
    assert "_nrt" not in import_module(f"{kernels.__name__}.level").cast_level.targetoptions


@pytest.mark.parametrize("name", MODULES)
def test_all_that_kernels_are_compiled_from_is_in_the_digest(name):
    """Names come from the package, from modules of which the digest is too, or from libraries."""
    covered = {f"{kernels.__name__}.{module}" for module in MODULES} | {module.__name__ for module in compiled.OUTSIDE}
    for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("crosslocate") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module.startswith("crosslocate"):
            assert {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} & covered, node.module
        else:
            assert not (isinstance(node, ast.ImportFrom) and node.level)


def test_the_digest_is_of_what_kernels_take_from_outside(monkeypatch):
    before = compiled.source_digest()
    assert before == compiled.DIGEST
    monkeypatch.setattr(compiled, "OUTSIDE", ())
    assert compiled.source_digest() != before


def test_every_kernel_has_the_cache_with_the_digest():
    found = 0
    for name in MODULES:
        for kernel in vars(import_module(f"{kernels.__name__}.{name}")).values():
            if isinstance(kernel, Dispatcher):
                found += 1
                assert isinstance(kernel._cache, compiled.KernelCache)
    assert found > 30
