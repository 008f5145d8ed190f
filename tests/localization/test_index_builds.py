"""Whole builds of an index in processes of their own: several devices, kills, and the bytes that they leave."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from running import finish, start

from crosslocate.localization.building import build_index
from crosslocate.localization.index import read_database

SCRIPT = Path(__file__).parents[2] / "scripts" / "stress_extraction.py"


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 3])
def test_processes_on_one_machine_give_the_bytes_of_one(
    devices, depth_checkpoint, depth_retriever, tiny_dataset, tmp_path
):
    output = tmp_path / "several"
    said = finish(
        start(
            "index", f"checkpoint={depth_checkpoint}", f"output={output}", f"devices={devices}", "device=cpu",
            "threads=1", "workers=1", "batch_size=7", f"paths.outputs={tmp_path / 'outputs'}", cwd=tmp_path,
        )
    )  # fmt: skip
    assert "96 descriptors of 96 numbers" in said
    assert json.loads((output / "extraction.json").read_text())["written"] == 96
    database = read_database(tiny_dataset, "all")
    whole = build_index(
        depth_retriever, database, tmp_path / "one", split="all", checkpoint="", batch_size=7, workers=0
    )  # fmt: skip
    for path in (whole.path / "descriptors").iterdir():
        assert path.read_bytes() == (output / "descriptors" / path.name).read_bytes()


@pytest.mark.slow
def test_a_build_that_is_killed_again_and_again_gives_the_same_bytes(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("stress_extraction", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["stress_extraction"] = module
    spec.loader.exec_module(module)
    assert module.stress(tmp_path, kills=3, seed=0, processes=1, places=20) == []
    assert "264 views" in capsys.readouterr().out
