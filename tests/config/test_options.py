"""Every option of every config group composes, passes validation, and builds."""

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from crosslocate.config.app import conf_dir
from crosslocate.config.build import build
from crosslocate.config.rehearsal import rehearse
from crosslocate.config.schema import register
from crosslocate.config.validate import validate_train
from crosslocate.errors import ConfigError

BASES = {"base", "reference"}
OF_RENDERING = ("terrain", "survey", "viewpoints", "images", "container", "land_cover", "legend")
NOT_OF_TRAINING = ("tensor", "experiment", "sweep", "debug", "space", "sampler", "pruner", *OF_RENDERING)
GROUPS = sorted(p.name for p in conf_dir().iterdir() if p.is_dir() and p.name not in NOT_OF_TRAINING)


def options(group):
    return sorted(p.stem for p in (conf_dir() / group).glob("*.yaml") if p.stem not in BASES)


def named_sets():
    """CrossLocate's data sets, which differ in a few words; tests/formats/test_named_sets.py builds each of them."""
    return {p.stem for p in (conf_dir() / "dataset").glob("*.yaml") if "  - reference\n" in p.read_text()}


ONE_LIKE_ALL = named_sets() - {"sparse_depth"}
ALL = [(group, option) for group in GROUPS for option in options(group) if option not in ONE_LIKE_ALL]
MISSING = {option: ["dataset.root=/data"] for option in ("custom", "region")}


def composed(*arguments, name="train"):
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(name, overrides=["paths.run=run", *(["name=test"] if name == "train" else []), *arguments])


def test_the_groups_of_the_design_are_there():
    assert set(GROUPS) >= {
        "augmentation", "backbone", "callbacks", "dataset", "evaluation", "logger", "loss", "mining", "modality",
        "network", "optimizer", "paths", "pooling", "scheduler", "search", "trainer",
    }  # fmt: skip


@pytest.mark.parametrize(("group", "option"), ALL, ids=[f"{g}={o}" for g, o in ALL])
def test_option_composes_validates_and_builds(group, option, tmp_path):
    cfg = composed(f"{group}={option}", *MISSING.get(option, []), "backbone.weights=none", f"paths.run={tmp_path}")
    validate_train(cfg)
    rehearse(cfg)
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    node = cfg[group]
    if group == "trainer":
        if option in ("gpu", "ddp"):
            node.accelerator = "cpu"  # there may be no GPU here; everything else is built as it is
        build(node, default_root_dir=str(tmp_path), logger=False, enable_checkpointing=False)
    else:
        build(node)


@pytest.mark.parametrize("group", ["experiment", "sweep", "debug"])
def test_presets_compose_and_validate(group):
    names = options(group)
    assert names
    for name in names:
        cfg = composed(f"{group}={name}")
        validate_train(cfg)
        rehearse(cfg)


@pytest.mark.parametrize("option", options("tensor"))
@pytest.mark.parametrize("role", ["query", "database"])
def test_every_composition_fits_both_roles(option, role):
    composition = build(composed(f"tensor@modality.{role}={option}").modality[role])
    assert composition.channels >= 1
    assert composition.modalities


def test_build_names_key_and_target_of_what_cannot_be_built():
    cfg = OmegaConf.create({"loss": {"_target_": "crosslocate.models.losses.TripletLos", "margin": 0.1}})
    with pytest.raises(ConfigError, match=r"loss\._target_='crosslocate\.models\.losses\.TripletLos'"):
        build(cfg.loss)
    cfg = OmegaConf.create({"loss": {"_target_": "crosslocate.models.losses.TripletLoss", "margins": 0.1}})
    with pytest.raises(ConfigError, match="margins"):
        build(cfg.loss)


def test_build_passes_the_targets_own_error_on():
    cfg = OmegaConf.create(
        {"loss": {"_target_": "crosslocate.models.losses.TripletLoss", "margin": 0.1, "distance": "l1"}}
    )
    with pytest.raises(ConfigError, match=r"loss\.distance='l1'"):
        build(cfg.loss)


@pytest.mark.parametrize("storage", options("container"))
def test_every_way_to_keep_images_composes_and_builds(storage):
    built = build(composed(f"container={storage}", name="render").container)
    assert built.template("database", "depth", "exr").endswith(("{name}.exr", "live:database/depth/{name}"))
    assert built.parameters()["kind"] == storage


def test_no_value_of_a_job_has_the_name_of_a_group():
    """Hydra would take ``name=value`` on the command line for the choice of an option."""
    folders = {path.name for path in conf_dir().iterdir() if path.is_dir()} - {"hydra"}
    for job in conf_dir().glob("*.yaml"):
        values = yaml.safe_load(job.read_text())
        assert not folders & set(values), job.name
