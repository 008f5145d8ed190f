"""A checkpoint's configuration calls what conf/ calls, and nothing else."""

import json

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from crosslocate.config.app import conf_dir
from crosslocate.config.build import build
from crosslocate.config.schema import register
from crosslocate.config.targets import TRUSTED, own_targets, require_trusted
from crosslocate.errors import CheckpointError, ConfigError
from crosslocate.lit.restore import CONFIG_KEY, saved_config

HOSTILE = {"_target_": "numpy.testing.measure", "code_str": "raise SystemExit", "times": 1}


@pytest.fixture(autouse=True)
def _nothing_trusted(monkeypatch):
    monkeypatch.delenv(TRUSTED, raising=False)


def targets_of(node):
    if isinstance(node, dict):
        yield from ([node["_target_"]] if "_target_" in node else [])
        for value in node.values():
            yield from targets_of(value)
    if isinstance(node, list):
        for value in node:
            yield from targets_of(value)


def options_of_runs():
    """train.yaml and the options of all groups that Hydra names as those of a run."""
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        choices = compose("train", return_hydra_config=True).hydra.runtime.choices
    groups = {name.partition("@")[0].split("/")[0] for name in choices} - {"hydra"}
    return [conf_dir() / "train.yaml", *(path for name in groups for path in (conf_dir() / name).rglob("*.yaml"))]


def test_every_target_of_conf_is_admitted_and_no_other():
    read = {target for path in options_of_runs() for target in targets_of(yaml.safe_load(path.read_text()))}
    assert len(read) > 50
    assert own_targets() == read
    assert all(t.startswith(("crosslocate.", "pytorch_lightning.", "torch.optim.")) for t in read)
    for target in read:
        require_trusted({"any": [{"_target_": target}]}, "file")


def test_parts_of_other_jobs_are_not_admitted():
    """What only renders, converts or tunes: its targets are in conf/ too."""
    every = {t for path in conf_dir().rglob("*.yaml") for t in targets_of(yaml.safe_load(path.read_text()))}
    others = every - own_targets()
    assert {name.split(".")[1] for name in others} >= {"terrain", "pruners", "samplers"}
    for target in others:
        with pytest.raises(CheckpointError):
            require_trusted({"any": [{"_target_": target}]}, "file")


@pytest.mark.parametrize("experiment", ["demo", "demo_depth", "crosslocate/photo_to_depth"])
@pytest.mark.parametrize("logger", ["all", "none"])
def test_whole_configurations_pass(experiment, logger):
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", overrides=[f"experiment={experiment}", f"logger={logger}"])
    require_trusted(OmegaConf.to_container(config), "file")


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"dataset": {"prepare": HOSTILE}}, "dataset.prepare._target_='numpy.testing.measure'"),
        ({"a": [{"b": [1, {"c": HOSTILE}]}]}, "a.0.b.1.c._target_="),
        ({"a": ({"_target_": "torch.load", "_partial_": True},)}, "a.0._target_='torch.load'"),
        ({"_target_": "crosslocate.formats.conversion.write_catalogs"}, "_target_="),
        ({"_target_": "crosslocate.terrain.elevation.dem.read_dem"}, "_target_="),
        ({"_target_": "torch.optim.lr_scheduler.LambdaLR"}, "_target_="),
        ({"name": "torch.optim.SGD", "_target_": "${name}"}, "_target_="),
        ({"_target_": "${oc.env:CROSSLOCATE_CACHE,torch.load}"}, "_target_="),
        ({"_target_": ["torch.optim.SGD"]}, "_target_="),
        ({"_target_": {"_target_": "torch.optim.SGD"}}, "_target_="),
        ({"_target_": None}, "_target_=None"),
        ({"_target_": "torch.optim.SGD\n"}, "_target_="),
        ({"a": "${oc.create:'{_target_: os.system}'}"}, 'a="${oc.create'),
        ({"a": "x ${oc.decode:${b}}"}, r"a='${oc.decode:}'"),
        ({"a": "${oc.env:HOME}"}, "a='${oc.env:HOME}'"),
        ({"a": "${oc.env:CROSSLOCATE_CACHE,${oc.env:HOME}}"}, "a='${oc.env:HOME}'"),
        ({"a": "${oc.${b}:HOME}", "b": "env"}, "a='${oc."),
        ({"a": "${unused_folder:/tmp/x}"}, "a='${unused_folder:/tmp/x}'"),
        ({"a": "${unused_folder:${b}}"}, "a='${unused_folder:}'"),
        ({"a": ["${oops"]}, "a.0='${oops' is no interpolation"),
    ],
)
def test_anything_else_is_refused_by_key(config, key):
    with pytest.raises(CheckpointError) as error:
        require_trusted(config, "best.ckpt")
    assert str(error.value).startswith("best.ckpt: ")
    assert key in str(error.value)


def test_the_way_out_names_the_target(monkeypatch):
    config = {"callbacks": {"mine": {"_target_": "mypackage.parts.Mine"}}, "root": "${oc.env:MY_DATA}/x"}
    with pytest.raises(CheckpointError, match=f"{TRUSTED}="):
        require_trusted(config, "file")
    for trusted in ("mypackage.parts.Mine, oc.env:MY_DATA", "mypackage.,oc.env:MY_DATA"):
        monkeypatch.setenv(TRUSTED, trusted)
        require_trusted(config, "file")
    for trusted in ("mypackage,oc.env:MY_DATA", "mypackage.parts.Min,oc.env:MY_DATA", "other.", ""):
        monkeypatch.setenv(TRUSTED, trusted)
        with pytest.raises(CheckpointError, match=r"mypackage\.parts\.Mine"):
            require_trusted(config, "file")


@pytest.mark.parametrize(
    "text", ["${paths.run}/checkpoints", "${oc.env:CROSSLOCATE_CACHE,cache}", "\\${plain", "$5", ""]
)
def test_texts_that_conf_has_too_pass(text):
    require_trusted({"a": text, "b": [text, 1, 2.5, None, True]}, "file")


LEAVES = st.one_of(st.none(), st.integers(), st.text(max_size=5))
NODES = st.recursive(
    LEAVES, lambda more: st.lists(more, max_size=3) | st.dictionaries(st.text("ab._", max_size=3), more, max_size=3)
)


@given(NODES, st.lists(st.integers(0, 1), max_size=5), NODES)
def test_a_target_is_found_however_deep_it_is(beside, path, below):
    node = {**HOSTILE, "more": below}
    for step in path:
        node = [beside, node] if step else {"a": beside, "b": node}
    with pytest.raises(CheckpointError):
        require_trusted(node, "file")


@pytest.mark.parametrize(
    "config",
    [
        {"loss": {"margin": "\\${CALL}"}},
        {"d": "$", "loss": {"margin": "${d}{CALL}"}},
        {"d": "$", "loss": {"margin": [{"a": ["${d}{CALL}"]}]}},
        {"d": "$", "loss": {"more": {"${d}{CALL}": 1}}},
        {"loss": {"margin": "${oc.env:CROSSLOCATE_CACHE,'\\${CALL}'}"}},
    ],
)
def test_nothing_is_called_that_is_hidden_until_interpolations_are_resolved(config, tmp_path, monkeypatch):
    monkeypatch.delenv("CROSSLOCATE_CACHE", raising=False)
    made = tmp_path / "made"
    text = json.dumps(config).replace("CALL", f"oc.create:{{_target_:os.makedirs,name:{made}}}")
    config = json.loads(text)
    config["loss"]["_target_"] = "crosslocate.models.losses.TripletLoss"
    with pytest.raises((CheckpointError, ConfigError), match=r"oc\.create"):
        build(saved_config({CONFIG_KEY: config}, tmp_path / "a.ckpt").loss)
    assert not made.exists()
