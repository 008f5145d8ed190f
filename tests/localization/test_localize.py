"""The entry points on a tiny data set with untrained networks; where the branches are one, equal depth is found."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from tiny_checkpoint import compose_config

from crosslocate.config.localize_schema import validate_index, validate_localize
from crosslocate.data.catalog import read_catalog, write_catalog
from crosslocate.errors import CheckpointError, ConfigError, DataError, StoreError
from crosslocate.index import index
from crosslocate.localize import _searcher, localize


@pytest.fixture
def configure(tmp_path):
    """Composes and validates a config whose cache and output lie in tmp_path; returns it."""

    def configure(name, *overrides):
        rules = {"localize": validate_localize, "index": validate_index}
        cfg = compose_config(
            name, [f"paths.cache={tmp_path}/cache", f"paths.run={tmp_path}/run", "workers=0", "threads=1", *overrides]
        )
        rules[name](cfg)
        return cfg

    return configure


@pytest.fixture
def known_dataset(tiny_dataset, tmp_path):
    """The tiny data set with a query that is view p0005_h120 itself: its true place and heading are known."""
    root = shutil.copytree(tiny_dataset, tmp_path / "known")
    database = read_catalog(root / "database.parquet")
    row = database.names(range(len(database))).index("p0005_h120")
    view = database.table.slice(row, 1).drop(["file_row"])
    columns = {name: view[name].to_pylist() for name in view.column_names} | {"name": ["same"]}
    write_catalog(root / "queries.parquet", columns, "queries", {"depth": "queries/depth/{name}.exr"})
    shutil.copy(root / "database/depth/p0005_h120.exr", root / "queries/depth/same.exr")
    return root


def test_the_known_place_of_a_query_is_found(configure, depth_checkpoint, known_dataset, tmp_path, capsys):
    cfg = configure(
        "localize",
        "photo=same",
        f"checkpoint={depth_checkpoint}",
        f"root={known_dataset}",
        "top=3",
        "views=20",
        "temperature=1e-6",
    )
    answer = localize(cfg)
    assert answer.best.view == "p0005_h120"
    assert answer.best.descriptor_distance == pytest.approx(0.0, abs=1e-3)
    assert answer.best.from_truth == 0.0
    assert math.degrees(answer.best.heading_error) < 45.0
    assert (answer.searched, answer.retrieved, len(answer.candidates)) == (96, 20, 3)
    content = json.loads((tmp_path / "run" / "answer.json").read_text())
    assert content["candidates"][0]["view"] == "p0005_h120"
    assert content["photo"]["truth"]["heading_deg"] == pytest.approx(120.0)
    assert (tmp_path / "run" / "answer.png").stat().st_size > 20_000
    assert "p0005_h120" in capsys.readouterr().out


def test_a_photograph_from_a_file_is_answered_from_a_given_index(
    configure, photo_checkpoint, tiny_dataset, tmp_path, capsys
):
    folder = index(configure("index", f"checkpoint={photo_checkpoint}", "split=test", f"output={tmp_path}/index"))
    photo = shutil.copy(tiny_dataset / "queries/photo/p0006_q00.jpg", tmp_path / "holiday.jpg")
    answer = localize(configure("localize", f"photo={photo}", f"checkpoint={photo_checkpoint}", f"index={folder}"))
    assert answer.photo.truth is None
    assert answer.photo.fov_source == "assumed"
    assert "photo_fov" in capsys.readouterr().err
    assert {candidate.place for candidate in answer.candidates} == {6, 7}  # a database smaller than `top` and `views`
    assert answer.searched == answer.retrieved == 24
    assert sum(candidate.share for candidate in answer.candidates) <= 1.0


@pytest.mark.parametrize(
    ("overrides", "device"), [([], "cuda:1"), (["search.device=cpu"], "cpu"), (["search=ivf_flat"], None)]
)
def test_a_search_that_may_choose_takes_the_device_of_the_network(configure, overrides, device):
    node = configure("localize", "photo=a", "checkpoint=b", *overrides).search
    searcher = _searcher(node, "cuda:1")
    assert getattr(searcher, "device", None) == (device and torch.device(device))
    assert "device" not in node or node.device in ("auto", "cpu")  # the configuration stays as it is


def test_the_index_is_built_once(configure, depth_checkpoint, tiny_dataset, tmp_path):
    overrides = [f"checkpoint={depth_checkpoint}", "split=val"]
    first, second = index(configure("index", *overrides)), index(configure("index", *overrides))
    assert first == second
    localize(configure("localize", "photo=p0004_q00", *overrides))
    assert list((tmp_path / "cache" / "index").iterdir()) == [first]


def test_only_views_of_a_region_and_a_range_of_altitudes_are_answers(
    configure, depth_checkpoint, tiny_dataset, tmp_path, capsys
):
    database = read_catalog(tiny_dataset / "database.parquet").split("val")
    row = int(np.argmax(database.elevation))
    box = [database.longitude[row] - 1e-4, database.latitude[row] - 1e-4]
    box += [database.longitude[row] + 1e-4, database.latitude[row] + 1e-4]
    chosen = np.abs(database.longitude - database.longitude[row]) < 1e-4
    chosen &= np.abs(database.latitude - database.latitude[row]) < 1e-4
    common = ["photo=p0004_q00", f"checkpoint={depth_checkpoint}", "split=val"]
    answer = localize(configure("localize", *common, f"region=[{','.join(map(str, box))}]", "altitude=[0,9000]"))
    assert answer.searched == chosen.sum() < len(database)
    assert {candidate.place for candidate in answer.candidates} == set(database.place[chosen].tolist())
    content = json.loads((tmp_path / "run" / "answer.json").read_text())
    assert content["selection"] == {"region_deg": pytest.approx(box), "altitude_m": [0.0, 9000.0]}
    assert content["search"] is None
    assert "altitude 0 to 9000 m" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"altitude=\[8000\.0, 9000\.0\].*with views of"):
        localize(configure("localize", *common, "altitude=[8000,9000]"))


def test_what_is_wrong_is_said_before_an_index_is_built(configure, depth_checkpoint, photo_checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint .*nowhere"):
        localize(configure("localize", "photo=x.jpg", f"checkpoint={tmp_path}/nowhere"))
    with pytest.raises(DataError, match=r"photo=x\.jpg: there is no such file.*p0000_q00"):
        localize(configure("localize", "photo=x.jpg", f"checkpoint={photo_checkpoint}"))
    (tmp_path / "text.jpg").write_text("text")
    with pytest.raises(DataError, match=r"text\.jpg"):
        localize(configure("localize", f"photo={tmp_path}/text.jpg", f"checkpoint={photo_checkpoint}"))
    with pytest.raises(StoreError, match=r"no index in .*elsewhere"):
        localize(
            configure("localize", "photo=p0000_q00", f"checkpoint={depth_checkpoint}", f"index={tmp_path}/elsewhere")
        )
    assert not (tmp_path / "cache").exists()


def test_a_checkpoint_of_another_architecture_is_refused(configure, depth_checkpoint, tmp_path):
    content = torch.load(depth_checkpoint, weights_only=True)
    content["crosslocate_config"]["backbone"]["widths"] = [8, 24]
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"other\.ckpt"):
        index(configure("index", f"checkpoint={tmp_path}/other.ckpt"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("photo_fov=180", r"photo_fov=180.0 .* between 0 and 180"),
        ("top=0", r"top=0 .* at least 1"),
        ("views=4", r"views=4 .* at least 5"),
        ("temperature=0", r"temperature=0.0 .* above 0"),
        ("place_radius=-1", r"place_radius=-1.0 .* from 0"),
        ("place_heading=181", r"place_heading=181.0 .* to 180"),
        ("batch_size=0", r"batch_size=0 .* at least 1"),
        ("threads=0", r"threads=0 .* at least 1"),
        ("region=[7,46,8]", r"region=\[7\.0, 46\.0, 8\.0\] .*west, south, east, north"),
        ("region=[7,47,8,46]", r"region=.* south up to north"),
        ("region=[7,46,181,47]", r"region=.* -180 to 180"),
        ("altitude=[2000,1000]", r"altitude=\[2000\.0, 1000\.0\] .*lowest, highest"),
    ],
)
def test_values_that_cannot_work_name_key_value_and_what_is_allowed(configure, override, message):
    with pytest.raises(ConfigError, match=message):
        configure("localize", "photo=a", "checkpoint=b", override)


@pytest.mark.parametrize(("name", "missing"), [("index", "checkpoint"), ("localize", "photo")])
def test_required_values_are_asked_for(configure, name, missing):
    with pytest.raises(ConfigError, match=rf"{missing}=None .* Add {missing}="):
        configure(name)
