"""What makes a fingerprint another one, and what does not."""

import copy
import shutil
from collections.abc import Mapping

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register
from crosslocate.data.catalog import read_catalog
from crosslocate.runs.fingerprint import (
    ABSENT,
    IRRELEVANT,
    IRRELEVANT_TO,
    config_differences,
    config_fingerprint,
    data_parts,
    fingerprint_of_parts,
    plain,
    weights_fingerprint,
)


def composed(*overrides):
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", overrides=["experiment=demo", *overrides])


@pytest.fixture(scope="module")
def config():
    return composed()


def leaves(node, above=()):
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name)


def with_value(content, path, value):
    changed = copy.deepcopy(content)
    node = changed
    for name in path[:-1]:
        node = node[name]
    node[path[-1]] = value
    return changed


def is_irrelevant(path, content):
    key = ".".join(path)
    for name in path[:-1]:
        content = content[name]
    to_its_target = path[-1] in IRRELEVANT_TO.get(content.get("_target_"), ())
    return to_its_target or any(key == other or key.startswith(f"{other}.") for other in IRRELEVANT)


def test_every_value_counts_unless_it_is_irrelevant(config):
    content = plain(config)
    before = config_fingerprint(content)
    kinds = set()
    for path in leaves(content):
        other = with_value(content, path, "something else")
        irrelevant = is_irrelevant(path, content)
        expected = set() if irrelevant else {".".join(path)}
        if path == ("search", "_target_"):
            expected |= {"search.database_block", "search.query_block"}  # which may count with another search
        assert set(config_differences(content, other)) == expected
        assert (config_fingerprint(other) == before) == irrelevant, path
        kinds.add(irrelevant)
    assert kinds == {True, False}


def test_blocks_count_where_a_search_rounds_by_them(config):
    exact = composed("search.query_block=7", "search.database_block=9")
    assert config_fingerprint(exact) == config_fingerprint(config)
    rounded = composed("search=faiss")
    assert config_fingerprint(composed("search=faiss", "search.database_block=9")) != config_fingerprint(rounded)


def test_every_irrelevant_key_is_one_of_the_configuration():
    content = OmegaConf.create(plain(composed("name=x", "paths.run=x")))
    assert all(OmegaConf.select(content, key, default=ABSENT) is not ABSENT for key in IRRELEVANT)


def test_the_same_composition_has_the_same_fingerprint_wherever_it_writes(config, monkeypatch):
    monkeypatch.setenv("CROSSLOCATE_OUTPUTS", "/elsewhere")
    again = composed("paths.run=/somewhere", "name=other", "logger=wandb", "resume=x", "dataset.workers=7")
    assert config_fingerprint(again) == config_fingerprint(config) == config_fingerprint(plain(config))
    assert config_fingerprint(composed("optimizer.lr=1e-3")) != config_fingerprint(config)
    assert config_fingerprint(composed("trainer.max_epochs=3")) != config_fingerprint(config)


def test_differences_say_old_and_new_and_what_is_absent():
    old = {"a": {"b": 1, "c": [1, 2]}, "paths": {"run": "x"}, "d": {}}
    new = {"a": {"c": [1, 3], "e": None}, "paths": {"run": "y"}, "d": {}}
    assert config_differences(old, new) == {"a.b": (1, ABSENT), "a.c": ([1, 2], [1, 3]), "a.e": (ABSENT, None)}


def test_numbers_of_another_type_are_other_values():
    assert config_fingerprint({"limit": 1}) != config_fingerprint({"limit": 1.0})
    assert config_fingerprint({"limit": True}) != config_fingerprint({"limit": 1})


def test_data_are_known_by_their_rows_and_not_by_their_place(make_datamodule, tiny_dataset, tmp_path):
    moved = shutil.copytree(tiny_dataset, tmp_path / "moved")
    here, there = make_datamodule(), make_datamodule(root=moved)
    assert data_parts(here) == data_parts(there)
    assert set(data_parts(here)) == {
        f"{split}/{role}" for split in ("train", "val", "test") for role in ("query", "database")
    }
    rows = read_catalog(moved / "queries.parquet")
    keep = [k for k in range(len(rows)) if rows.name(k) != rows.split("val").name(0)]
    import pyarrow.parquet as pq

    table = pq.read_table(moved / "queries.parquet")
    pq.write_table(table.take(keep), moved / "queries.parquet")
    changed = data_parts(make_datamodule(root=moved))
    assert {name for name, value in data_parts(here).items() if changed[name] != value} == {"val/query"}


def test_a_rendered_data_set_is_known_by_its_manifest(make_datamodule, tiny_dataset, tmp_path):
    moved = shutil.copytree(tiny_dataset, tmp_path / "moved")
    before = fingerprint_of_parts(data_parts(make_datamodule(root=moved)))
    (moved / "manifest.json").write_text("{}")
    rendered = fingerprint_of_parts(data_parts(make_datamodule(root=moved)))
    (moved / "manifest.json").write_text('{"refraction": 0.13}')
    assert len({before, rendered, fingerprint_of_parts(data_parts(make_datamodule(root=moved)))}) == 3


def test_weights_are_known_to_the_last_bit():
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1], dtype=torch.int64)}
    before = weights_fingerprint(state)
    assert weights_fingerprint(dict(reversed(state.items()))) == before
    nearly = {**state, "a": torch.nextafter(state["a"], torch.tensor(9.0))}
    others = [
        nearly,
        {**state, "a": state["a"].reshape(3, 2)},
        {**state, "a": state["a"].half()},
        {"a": state["a"], "c": state["b"]},
    ]
    assert len({before, *(weights_fingerprint(other) for other in others)}) == 5
