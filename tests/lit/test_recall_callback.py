import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import recall_run
import torch
from pyproj import Geod

from crosslocate.errors import ConfigError, StoreError
from crosslocate.retrieval.chance import DrawnChance
from crosslocate.retrieval.results import find


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recall")
    recall_run.write_catalogs(folder)
    return folder


@pytest.fixture(scope="module")
def outcome(root):
    return recall_run.evaluate(root, 1)


def brute_force_recall(data, split, number, distance, heading):
    """Loops over all pairs, from descriptors to the share of queries."""
    geod, hits = Geod(ellps="WGS84"), 0
    queries, database = getattr(data, split).queries, getattr(data, split).database
    views = recall_run.descriptors("database", split, len(database)).numpy().astype(float)
    for q, descriptor in enumerate(recall_run.descriptors("queries", split, len(queries)).numpy().astype(float)):
        ranked = sorted(range(len(database)), key=lambda d: (np.square(views[d] - descriptor).sum(), d))
        for d in ranked[:number]:
            at = queries.longitude[q], queries.latitude[q], database.longitude[d], database.latitude[d]
            turn = np.degrees(queries.yaw[q] - database.yaw[d]) % 360
            if geod.inv(*at)[2] <= distance and (heading is None or min(turn, 360 - turn) <= heading):
                hits += 1
                break
    return hits / len(queries)


def test_recalls_against_loops(root, outcome):
    data = recall_run.Data(root)
    for split, results in outcome["results"].items():
        for record in results["recalls"]:
            expected = brute_force_recall(data, split, record["number"], record["distance_m"], record["heading_deg"])
            assert record["recall"] == pytest.approx(expected), record
            name = f"{split}/recall@{record['number']}_{record['distance_m']:g}m" + (
                "_30deg" if record["heading_deg"] else ""
            )
            assert outcome["logged"][name] == pytest.approx(expected, abs=1e-6)
    shares = {record["recall"] for record in outcome["results"]["val"]["recalls"]}
    assert len(shares) > 4, "the example tells good from bad"


def test_matches_of_every_split_against_loops(root, outcome):
    data, geod = recall_run.Data(root), Geod(ellps="WGS84")
    assert set(outcome["matches"]) == set(outcome["results"]) == {"train", "val", "test"}
    for split, found in outcome["matches"].items():
        queries, database = getattr(data, split).queries, getattr(data, split).database
        views = recall_run.descriptors("database", split, len(database)).numpy().astype(float)
        successes = 0
        for q, descriptor in enumerate(recall_run.descriptors("queries", split, len(queries)).numpy().astype(float)):
            ranked = sorted(range(len(database)), key=lambda d: (np.square(views[d] - descriptor).sum(), d))[:10]
            assert found["neighbours"][q] == ranked
            for d, metres, turn in zip(ranked, found["metres"][q], found["heading"][q], strict=True):
                at = queries.longitude[q], queries.latitude[q], database.longitude[d], database.latitude[d]
                assert metres == pytest.approx(geod.inv(*at)[2], abs=1e-6)
                apart = (queries.yaw[q] - database.yaw[d]) % (2 * np.pi)
                assert turn == pytest.approx(min(apart, 2 * np.pi - apart))
            success = found["metres"][q][0] <= 400 and found["heading"][q][0] <= np.radians(30)
            assert found["localized"][q] == success
            successes += success
        assert outcome["results"][split]["successes"]["queries"] == successes


def test_chance_and_median_are_logged(outcome):
    logged = outcome["logged"]
    assert logged["val/median_error_m"] == pytest.approx(outcome["results"]["val"]["median_error_m"])
    assert 0 < logged["val/chance@1_500m_30deg"] < logged["val/chance@1_500m"] < logged["val/chance@5_500m"] < 1
    assert not [name for name in logged if not name.startswith(("train/", "val/", "test/"))]


def without_search(values):
    """Results or logged figures, but for what an approximate search says of itself."""
    if isinstance(values, dict):
        return {name: without_search(v) for name, v in values.items() if name.rpartition("/")[2][:6] != "search"}
    return values


def test_a_search_by_index_is_reported_and_its_files_are_removed(root, outcome):
    found = recall_run.evaluate(root, 1, "index")
    assert without_search(found["results"]) == outcome["results"]
    assert without_search(found["logged"]) == outcome["logged"]
    assert found["matches"] == outcome["matches"]
    for results in found["results"].values():
        assert results["search"]["found"]["1"] == 1.0
    assert found["logged"]["val/search_found@1"] == found["logged"]["val/search_found@10"] == 1.0
    assert not (root / "descriptors_1").exists()


@pytest.mark.parametrize("searcher", ["exact", pytest.param("index", marks=pytest.mark.slow)])
def test_two_processes_give_the_numbers_of_one(root, outcome, searcher):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    common |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, recall_run.__file__, str(root), "2", searcher]
    ranks = [
        subprocess.Popen(command, env=common | {"LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE) for rank in (0, 1)
    ]
    errors = [process.communicate(timeout=120)[1].decode() for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], "\n\n".join(errors)
    for rank in (0, 1):
        other = json.loads((root / f"outcome_{rank}.json").read_text())
        assert other["rank"] == rank
        assert without_search(other["results"]) == outcome["results"]
        assert without_search(other["logged"]) == outcome["logged"]
        assert all(("search" in results) == (searcher == "index") for results in other["results"].values())
        assert other["matches"] == outcome["matches"]
    assert not (root / "descriptors_2").exists()


def test_a_view_without_descriptor_is_named(root, tmp_path):
    trainer = recall_run.make_trainer(tmp_path, recall_run.recall_callback(tmp_path / "d"))
    with pytest.raises(StoreError, match=r"val_database lacks 1 of 25 descriptors: rows 13 \(database_13\)"):
        trainer.validate(recall_run.Module(), datamodule=recall_run.Data(root, skip=13), verbose=False)


def test_history_follows_the_training_and_its_checkpoints(root, tmp_path):
    callback = recall_run.recall_callback(tmp_path / "d")
    trainer = recall_run.make_trainer(tmp_path, callback, max_epochs=2, num_sanity_val_steps=2)
    trainer.fit(recall_run.Module(), datamodule=recall_run.Data(root))
    assert [(entry["epoch"], entry["step"]) for entry in callback.history] == [(0, 2), (1, 4)]
    assert callback.history[1]["val/recall@5_100m"] == callback.results["val"]["curve"]["lines"][1]["recall"][2] > 0
    assert not (tmp_path / "d").exists()
    trainer.save_checkpoint(tmp_path / "c.ckpt")
    torch.load(tmp_path / "c.ckpt", weights_only=True)

    resumed = recall_run.recall_callback(tmp_path / "d")
    trainer = recall_run.make_trainer(tmp_path, resumed, max_epochs=3)
    trainer.fit(recall_run.Module(), datamodule=recall_run.Data(root), ckpt_path=tmp_path / "c.ckpt")
    assert resumed.history[:2] == callback.history
    assert [entry["epoch"] for entry in resumed.history] == [0, 1, 2]


def test_history_of_several_splits_and_what_listeners_say(root, tmp_path):
    callback = recall_run.recall_callback(
        tmp_path / "d", splits=["train", "val"], objective="val/recall_sum_100m", chance=DrawnChance(3, 0)
    )
    heard = []

    def listener(trainer, module, split, queries, database):
        heard.append((split, len(queries), len(database)))
        return {f"{split}/loss": 0.5}

    callback.listeners.append(listener)
    trainer = recall_run.make_trainer(tmp_path, callback, max_epochs=1)
    trainer.fit(recall_run.Module(), datamodule=recall_run.Data(root))
    (entry,) = callback.history
    assert heard == [("train", 5, 9), ("val", 7, 25)]
    assert entry["val/loss"] == entry["train/loss"] == 0.5
    for split in ("train", "val"):
        recalls = [entry[f"{split}/recall@{number}_100m"] for number in (1, 5, 30)]
        assert entry[f"{split}/recall_sum_100m"] == pytest.approx(sum(recalls))
        assert recalls[0] == find(callback.results[split], 1, 100, None)["recall"]
        assert callback.results[split]["chance_by"] == {"kind": "drawn", "draws": 3, "seed": 0}
    assert float(trainer.callback_metrics["val/recall_sum_100m"]) == pytest.approx(entry["val/recall_sum_100m"])


@pytest.mark.parametrize("splits", [["train"], ["val", "val"], ["val", "all"], []])
def test_splits_that_cannot_be_measured_are_refused(splits):
    with pytest.raises(ConfigError, match=r"evaluation\.splits="):
        recall_run.recall_callback(Path(), splits=splits)


def test_limited_batches_are_not_measured(root, tmp_path):
    callback = recall_run.recall_callback(tmp_path / "d")
    trainer = recall_run.make_trainer(tmp_path, callback, limit_val_batches=1)
    with pytest.warns(UserWarning, match="limited to 1, and recall needs them all"):
        trainer.validate(recall_run.Module(), datamodule=recall_run.Data(root), verbose=False)
    assert callback.results == {}


def test_half_precision_store_gives_the_same_answer_here(root, tmp_path, outcome):
    callback = recall_run.recall_callback(tmp_path / "d", dtype="float16")
    trainer = recall_run.make_trainer(tmp_path, callback)
    trainer.validate(recall_run.Module(), datamodule=recall_run.Data(root), verbose=False)
    assert callback.results["val"] == outcome["results"]["val"]


def test_an_objective_that_is_not_counted_is_refused():
    with pytest.raises(ConfigError, match=r"evaluation\.objective='val/recall@2_20m'.*one of val/recall@1_20m"):
        recall_run.recall_callback(Path(), objective="val/recall@2_20m")
