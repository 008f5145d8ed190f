"""What is tuned: read from configuration, refused, and turned into overrides."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register
from crosslocate.config.tune_schema import validate_tune
from crosslocate.errors import ConfigError
from crosslocate.tuning.space import Choice, Range, as_overrides, quoted, read_space
from crosslocate.tuning.trainings import composed as training
from crosslocate.tuning.trainings import extremes, group_in_wandb

NODES = {
    "optimizer.lr": {"low": 1e-5, "high": 0.1, "log": True},
    "mining.negatives": {"low": 1, "high": 9, "step": 2},
    "pooling": {"choices": ["gem", "mac", "columns"]},
    "network.descriptor_size": {"choices": [None, 64]},
}


def test_ranges_and_choices_are_read():
    space = read_space(NODES)
    assert space["optimizer.lr"] == Range(1e-5, 0.1, log=True)
    assert space["mining.negatives"] == Range(1, 9, step=2)
    assert space["pooling"] == Choice(("gem", "mac", "columns"))


@pytest.mark.parametrize(
    ("node", "where", "allowed"),
    [
        ({}, "space", "at least one key"),
        ({"a": 3}, "space.a", "{low: ..., high: ...}"),
        ({"a": {"low": 1}}, "space.a", "{low: ..., high: ...}"),
        ({"a": {"low": 1, "high": 2, "base": 2}}, "space.a", "{low: ..., high: ...}"),
        ({"a": {"low": 2, "high": 2}}, "space.a.low", "below high=2"),
        ({"a": {"low": "1e-3", "high": 2}}, "space.a.low", "a number"),
        ({"a": {"low": 0, "high": float("inf")}}, "space.a.high", "a number"),
        ({"a": {"low": True, "high": 2}}, "space.a.low", "a number"),
        ({"a": {"low": 0.0, "high": 2, "log": True}}, "space.a.log", "low above 0"),
        ({"a": {"low": 0.1, "high": 2, "log": True, "step": 0.1}}, "space.a.log", "without a step"),
        ({"a": {"low": 0.1, "high": 2, "step": 0}}, "space.a.step", "above 0"),
        ({"a": {"low": 1, "high": 9, "step": 0.5}}, "space.a.step", "a whole number"),
        ({"a": {"low": 1, "high": 9, "step": 3}}, "space.a.step", "a part of 8"),
        ({"a": {"low": 0.1, "high": 1, "step": 0.4}}, "space.a.step", "a part of 0.9"),
        ({"a": {"choices": []}}, "space.a.choices", "a list"),
        ({"a": {"choices": "gem"}}, "space.a.choices", "a list"),
        ({"a": {"choices": [[1, 2]]}}, "space.a.choices", "a list of texts"),
        ({"a": {"choices": ["gem", "gem"]}}, "space.a.choices", "without repetitions"),
    ],
)
def test_what_describes_nothing_is_refused(node, where, allowed):
    with pytest.raises(ConfigError) as caught:
        read_space(node)
    assert caught.value.key == where
    assert allowed in caught.value.allowed


def test_values_survive_the_command_line():
    values = {"a.b": 1.2345678901234567e-05, "c": 3, "d": None, "e": True, "group": "mac", "size": "[24,32]"}
    parsed = OverridesParser.create().parse_overrides(as_overrides(values))
    read = {override.key_or_group: override.value() for override in parsed}
    assert read == {**values, "size": [24, 32]}


def test_a_step_may_be_a_part_of_what_floats_cannot_tell():
    assert read_space({"a": {"low": 0.1, "high": 0.7, "step": 0.2}})["a"] == Range(0.1, 0.7, step=0.2)


@pytest.mark.parametrize(
    "text", ["it's", "a=b", "x(1)", "a,b", "a b", "[1]", "\\", "a\\b", "a\\'b\\", '"a"', "#1", "null"]
)
def test_any_text_survives_the_command_line(text):
    assert OverridesParser.create().parse_override(f"name={quoted(text)}").value() == text


def test_every_end_and_choice_is_checked():
    space = read_space(NODES)
    seen = list(extremes(space))
    assert len(seen) == 3
    for key, setting in space.items():
        assert {values[key] for values in seen} == set(setting.ends)


@pytest.fixture
def composed():
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield lambda *overrides: compose("tune", overrides=["study=s", "storage=unused", "paths.run=run", *overrides])


@pytest.mark.parametrize(
    "option", sorted(path.stem for path in (conf_dir() / "space").glob("*.yaml") if path.stem != "own")
)
def test_presets_are_settings_that_a_training_accepts(composed, option):
    fixed = {"demo": 'fixed=["experiment=demo"]'}.get(option, "fixed=[]")
    validate_tune(composed(f"space={option}", fixed))


def test_a_space_of_ones_own_is_given_on_the_command_line(composed):
    cfg = composed("space=own", "+space={mining.margin: {low: 0.1, high: 1}, pooling: {choices: [gem, mac]}}")
    validate_tune(cfg)
    assert read_space(cfg.space) == {"mining.margin": Range(0.1, 1), "pooling": Choice(("gem", "mac"))}


@pytest.mark.parametrize("group", ["sampler", "pruner"])
def test_samplers_and_pruners_are_built(composed, group):
    from crosslocate.config.build import build

    options = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    assert options
    for option in options:
        build(composed(f"{group}={option}")[group], **({"seed": 1} if group == "sampler" else {}))


@pytest.mark.parametrize(
    ("override", "key", "said"),
    [
        ("trials=0", "trials", "at least 1"),
        ("jobs=0", "jobs", "at least 1"),
        ("seed=-1", "seed", "at least 0"),
        ("failures=0", "failures", "at least 1"),
        ("study=a/b", "study", "a name for a folder"),
        ("study='a?b'", "study", "a name for a folder"),
        ("study=''", "study", "a name for a folder"),
        ('fixed=["hydra.run.dir=x"]', "fixed", "none of hydra"),
        ('fixed=["resume=x"]', "fixed", "key=value"),
        ('fixed=["backbone=resnet19"]', "space", "resnet18"),
        ('fixed=["+paths.run=x"]', "fixed", "key=value"),
        ("space=own", "space", "at least one key"),
        ("space=own & +space={name:{choices:[a,b]}}", "space", "none of hydra"),
        ("space=own & +space={resume:{choices:[a,b]}}", "space", "none of hydra"),
        ("space=own & +space={reproduce:{choices:[a,b]}}", "space", "none of hydra"),
        ("space=own & +space={hydra.job.name:{choices:[a,b]}}", "space", "none of hydra"),
        ("space=own & +space={hydra/launcher:{choices:[local,slurm]}}", "space", "none of hydra"),
        ("space=own & +space={paths.cache:{choices:[a,b]}}", "space", "none of hydra"),
        ('space=own & +space={seed:{low:0,high:9}} & fixed=["seed=1"]', "fixed", "the space does not vary"),
        ("space=own & +space={optimizer.momentum:{low:-1,high:1}}", "space", "momentum"),
        ("space=own & +space={backbone:{choices:[resnet18,resnet19]}}", "space", "resnet19"),
        ("space=own & +space={optimizer.weight_decay:{low:-1,high:1}}", "space", "optimizer.weight_decay=-1"),
    ],
)
def test_a_study_is_refused_before_its_first_trial(composed, override, key, said):
    with pytest.raises(ConfigError) as caught:
        validate_tune(composed(*override.split(" & ")))
    assert caught.value.key == key
    assert said in str(caught.value)


def test_what_begins_like_a_key_of_the_study_is_not_one(composed):
    validate_tune(composed('fixed=["experiment=demo","paths.cache=x"]'))


@pytest.mark.parametrize(
    ("overrides", "group"),
    [
        (["logger=wandb"], ["logger.wandb.group='it\\'s'"]),
        (["logger=several"], ["logger.wandb.group='it\\'s'"]),
        (["logger=wandb", "logger.wandb.group=mine"], []),
        (["logger=csv"], []),
        (["logger=none"], []),
    ],
)
def test_the_runs_of_a_study_are_one_group(composed, overrides, group):
    assert group_in_wandb(training(overrides), "it's") == group
    if group:
        assert training([*overrides, *group]).logger.wandb.group == "it's"
