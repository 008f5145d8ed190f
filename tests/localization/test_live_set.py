"""A data set without image files is evaluated, indexed and searched with the same answers as one with files."""

import json

import numpy as np
import pytest
from live_pair import HEIGHT, WIDTH, world, write_files, write_live
from running import call, overrides
from synthetic_terrain import jacksboro
from tiny_checkpoint import DEPTH_TO_DEPTH, PHOTO_TO_DEPTH, save_checkpoint

from crosslocate.evaluate import main as evaluate
from crosslocate.index import main as index
from crosslocate.lit.restore import load_retriever
from crosslocate.localization.building import build_index
from crosslocate.localization.index import index_fingerprint, open_index, read_database
from crosslocate.localization.relief_map import find_terrain
from crosslocate.localize import main as localize
from crosslocate.train import main as train

SIZE = f"dataset.size=[{HEIGHT},{WIDTH}]"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return {"files": write_files(folder / "files", world()), "live": write_live(folder / "live", world())}


@pytest.fixture(scope="module")
def checkpoint(pair, tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt", pair["files"], DEPTH_TO_DEPTH)


@pytest.mark.parametrize("workers", [0, 2])
def test_descriptors_are_the_same_to_the_last_bit(workers, pair, checkpoint, tmp_path):
    retriever = load_retriever(checkpoint, "cpu")
    stores = {}
    for kind, root in pair.items():
        database = read_database(root, "all")
        built = build_index(
            retriever, database, tmp_path / kind, split="all", checkpoint="", batch_size=5, workers=workers
        )
        assert open_index(retriever, built.path).store.size == built.store.size
        stores[kind] = np.array(built.store.descriptors)
    assert np.abs(stores["live"]).max() > 0
    np.testing.assert_array_equal(stores["live"], stores["files"])


def test_an_index_belongs_to_what_its_views_were_rendered_from(pair, checkpoint, tmp_path):
    retriever = load_retriever(checkpoint, "cpu")
    same, other = write_live(tmp_path / "same", world()), write_live(tmp_path / "other", world(refraction=0.2))
    prints = [index_fingerprint(retriever, read_database(root, "all")) for root in (pair["live"], same, other)]
    assert prints[0] == prints[1] != prints[2]
    assert index_fingerprint(retriever, read_database(pair["files"], "all")) != prints[0]


def test_the_same_place_is_found_and_drawn(pair, checkpoint, tmp_path, capsys):
    answers = {}
    for kind, root in pair.items():
        common = [f"checkpoint={checkpoint}", f"root={root}", f"paths.cache={tmp_path}/cache", "threads=1"]
        call(index, "index", [*common, f"paths.run={tmp_path}/{kind}/index", "workers=0"])
        run = tmp_path / kind / "localize"
        call(localize, "localize", [*common, f"paths.run={run}", "photo=query4_0", "top=3", "workers=0"])
        answers[kind] = json.loads((run / "answer.json").read_text())
        assert (run / "answer.png").stat().st_size > 20_000
    assert answers["live"]["candidates"] == answers["files"]["candidates"]
    assert answers["live"]["candidates"][0]["view"] == "v4_0"
    assert answers["live"]["candidates"][0]["descriptor_distance"] == pytest.approx(0.0, abs=1e-3)
    assert "v4_0" in capsys.readouterr().out


def test_the_map_shows_the_terrain_of_the_set(pair):
    assert find_terrain(pair["live"], None).fingerprint() == jacksboro().fingerprint()
    assert find_terrain(pair["files"], None) is None


def test_photographs_are_embedded_and_recalls_are_the_same(pair, tmp_path):
    found = {}
    for kind, root in pair.items():
        saved = save_checkpoint(tmp_path / kind / "best.ckpt", pair["files"], PHOTO_TO_DEPTH)
        run = tmp_path / kind / "evaluation"
        changes = f"overrides=['dataset.root={root}','dataset.cache={tmp_path}/{kind}/cache']"
        arguments = [f"checkpoint={saved}", changes, f"paths.run={run}", "trainer=cpu", "splits=[train,test]"]
        call(evaluate, "evaluate", arguments)
        written = [*run.glob("matches_*.csv"), *(run / "pictures").rglob("*.png")]
        found[kind] = {path.name: path.read_bytes() for path in written}
    assert found["live"].keys() > {"matches_train.csv", "matches_test.csv"}
    assert found["live"] == found["files"]


def test_a_network_is_trained(pair, tmp_path):
    root = pair["live"]
    folder = tmp_path / "run"
    arguments = overrides(root, tmp_path, f"paths.run={folder}", SIZE, "trainer=cpu", "modality=depth", "name=live")
    call(train, "train", [*arguments, "dataset.positive_distance=50", "trainer.max_epochs=1", "threads=1"])
    assert json.loads((folder / "results.json").read_text())["history"]
    assert list((folder / "pictures").rglob("*.png"))
