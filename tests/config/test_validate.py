"""Bad values are refused before any data is touched, with the key, the value and what is allowed."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from crosslocate.config.app import conf_dir
from crosslocate.config.rehearsal import rehearse
from crosslocate.config.schema import register
from crosslocate.config.validate import validate_train
from crosslocate.errors import ConfigError


def composed(*overrides):
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", overrides=["paths.run=run", "name=test", *overrides])


def test_the_default_is_valid():
    validate_train(composed())


REFUSED = [
    ("seed=-1", "seed", "-1", "at least 0"),
    ("threads=0", "threads", "0", "at least 1"),
    ("optimizer.lr=0", "optimizer.lr", "0.0", "above 0"),
    ("optimizer.lr=-1e-3", "optimizer.lr", "-0.001", "above 0"),
    ("optimizer.lr=nan", "optimizer.lr", "nan", "above 0"),
    ("optimizer.weight_decay=-1", "optimizer.weight_decay", "-1.0", "at least 0"),
    ("network.descriptor_size=0", "network.descriptor_size", "0", "at least 1"),
    ("mining.queries_per_round=0", "mining.queries_per_round", "0", "at least 1"),
    ("mining.queries_together=0", "mining.queries_together", "0", "at least 1"),
    ("mining.negatives=0", "mining.negatives", "0", "loss=triplet"),
    ("mining.negatives=-1", "mining.negatives", "-1", "at least 0"),
    ("mining.local_negatives=11", "mining.local_negatives", "11", "mining.negatives=10"),
    ("mining.sampled_negatives=9", "mining.sampled_negatives", "9", "mining.negatives=10"),
    ("mining/refresh=memory trainer=ddp trainer.num_nodes=2", "trainer.num_nodes", "2", "1 with mining/refresh=memory"),
    ("evaluation.threshold=open", "evaluation.threshold", "'open'", "inclusive, strict"),
    ("evaluation.success_distance=-1", "evaluation.success_distance", "-1", "at least 0"),
    ("trainer.accelerator=tpu", "trainer.accelerator", "'tpu'", "auto, cpu, gpu"),
    ("trainer.strategy=fsdp", "trainer.strategy", "'fsdp'", "auto, ddp"),
    ("trainer.precision=8", "trainer.precision", "'8'", "32-true, bf16-mixed"),
    ("trainer.devices=2", "trainer.strategy", "'auto'", "ddp"),
    ("optimizer.scale_lr=cube", "optimizer.scale_lr", "'cube'", "none, linear, sqrt"),
    ("trainer.max_epochs=0", "trainer.max_epochs", "0", "at least 1"),
    ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch", "0", "at least 1"),
    ("trainer.gradient_clip_val=0", "trainer.gradient_clip_val", "0.0", "above 0"),
    ("trainer.num_nodes=0", "trainer.num_nodes", "0", "at least 1"),
    ("trainer.devices=0", "trainer.devices", "0", "-1 or auto for all"),
    ("trainer.devices=-2", "trainer.devices", "-2", "-1 or auto for all"),
    ("trainer.devices=many", "trainer.devices", "'many'", "-1 or auto for all"),
    ("trainer.devices=[-1]", "trainer.devices", "[-1]", "a list of their numbers"),
    ("trainer.max_steps=-5", "trainer.max_steps", "-5", "-1: no limit"),
    ("trainer.limit_train_batches=0", "trainer.limit_train_batches", "0", "a share up to 1.0"),
    ("trainer.limit_train_batches=1.5", "trainer.limit_train_batches", "1.5", "a share up to 1.0"),
    ("dataset.size=[96]", "dataset.size", "[96]", "[height, width]"),
    ("dataset.size=[0,128]", "dataset.size", "[0, 128]", "each at least 1"),
    ("dataset.size=96", "dataset.size", "96", "[height, width]"),
    ("dataset.match_fov=-60", "dataset.match_fov", "-60", "between 0 and 180"),
    ("dataset.match_fov=180", "dataset.match_fov", "180", "between 0 and 180"),
    ("dataset.workers=-1", "dataset.workers", "-1", "at least 0"),
    ("dataset.batch_size=0", "dataset.batch_size", "0", "at least 1"),
    ("dataset.extraction_batch_size=0", "dataset.extraction_batch_size", "0", "at least 1"),
    ("augmentation.mirror.share=1.5", "dataset.mirror.share", "1.5", "from 0 to 1"),
    ("pooling.p=0", "pooling.p", "0", "above 0"),
    ("loss.margin=-0.1", "loss.margin", "-0.1", "at least 0"),
    ("loss.distance=manhattan", "loss.distance", "'manhattan'", "squared_euclidean, cosine"),
    ("evaluation.heading=181", "evaluation.heading", "181", "0 to 180"),
    ("evaluation.dtype=int8", "evaluation.dtype", "'int8'", "float32, float16"),
    ("callbacks.last.every_n_steps=0", "callbacks.last.every_n_steps", "0", "at least 1"),
    # Combinations
    ("dataset.positive_distance=3000", "dataset.positive_distance", "3000", "dataset.negative_distance=2000.0"),
    ("mining.queries_together=251", "mining.queries_together", "251", "mining.queries_per_round=250"),
    ("trainer=ddp_cpu trainer.sync_batchnorm=true", "trainer.sync_batchnorm", "True", "trainer.accelerator=cpu"),
    ("trainer=cpu trainer.precision=16-mixed", "trainer.precision", "'16-mixed'", "bf16-mixed"),
    ("trainer.check_val_every_n_epoch=21", "trainer.check_val_every_n_epoch", "21", "trainer.max_epochs=20"),
    ("resume=a initial_weights=b", "initial_weights", "'b'", "resume=a"),
    ("scheduler=cosine scheduler.warmup_steps=-1", "scheduler.warmup_steps", "-1", "at least 0"),
    ("scheduler=cosine scheduler.final_fraction=2", "scheduler.final_fraction", "2", "from 0 to 1"),
    ("loss=infonce loss.temperature=0", "loss.temperature", "0", "above 0"),
]
"""Refused by the rules: nothing is imported for them."""
REHEARSED = [
    ("loss.margin='0.1x'", "loss.margin", "'0.1x'", "number"),
    ("+loss.margins=1", "loss.margins", "1", "margin, distance"),
    ("pooling.learnable=3", "pooling.learnable", "3", "true or false"),
    ("backbone.weights=7", "backbone.weights", "7", "a text, or null"),
    ("search.database_block=0", "search.database_block", "0", "at least 1"),
    ("search.database_block=1.5", "search.database_block", "1.5", "an integer"),
    ("evaluation.numbers=[]", "evaluation.numbers", "[]", "one or more"),
    ("evaluation.numbers=[5,1]", "evaluation.numbers", "[5, 1]", "ascending"),
    ("evaluation.numbers=1", "evaluation.numbers", "1", "a list"),
    ("evaluation.distances=[-20]", "evaluation.distances", "[-20]", "at least 0"),
    ("evaluation.splits=[test]", "evaluation.splits", "['test']", "val"),
    ("evaluation.objective=val/recall@2_20m", "evaluation.objective", "'val/recall@2_20m'", "val/recall@1_20m"),
    ("callbacks.pictures.batches=first", "callbacks.pictures.batches", "'first'", "a list of epochs"),
    ("callbacks.best.save_top_k=-3", "callbacks.best._target_", "'pytorch", "save_top_k"),
    ("optimizer.factory.betas=[2,2]", "optimizer.factory", "{", "Invalid beta"),
    ("optimizer.factory.betas=[0.9]", "optimizer.factory.betas", "[0.9]", "a list of 2"),
    ("dataset.negative_rule=5", "dataset.negative_rule", "5", "NegativeRule"),
    (
        "loss._target_=crosslocate.models.losses.Tripel",
        "loss._target_",
        "'crosslocate.models.losses.Tripel'",
        "imported",
    ),
]
"""Refused by the classes themselves."""


def said(check, overrides):
    with pytest.raises(ConfigError) as caught:
        check(composed("dataset=custom", "dataset.root=/nowhere", "dataset.size=[24,32]", *overrides.split()))
    return str(caught.value)


@pytest.mark.parametrize(("override", "key", "value", "allowed"), REFUSED, ids=[r[0] for r in REFUSED])
def test_a_bad_value_is_refused_with_key_value_and_choice(override, key, value, allowed):
    message = said(validate_train, override)
    assert f"{key}={value}" in message
    assert allowed in message


@pytest.mark.parametrize(("override", "key", "value", "allowed"), REHEARSED, ids=[r[0] for r in REHEARSED])
def test_what_a_class_refuses_is_refused_before_there_are_data(override, key, value, allowed):
    def check(cfg):
        validate_train(cfg)
        rehearse(cfg)

    message = said(check, override)
    assert f"{key}={value}" in message
    assert allowed in message


def test_a_rehearsal_leaves_nothing(tmp_path):
    rehearse(composed(f"paths.run={tmp_path / 'run'}", f"paths.cache={tmp_path / 'cache'}", "experiment=demo"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("optimizer.lr=fast", "optimizer.lr"),
        ("trainer.max_epochs=many", "trainer.max_epochs"),
        ("network.shared=perhaps", "network.shared"),
        ("optimizer.learning_rate=1", "learning_rate"),
        ("mining.negative=3", "negative"),
        ("backbone=resnet19", "resnet18"),  # the options that exist are listed
        ("modality=dpeth", "depth"),
    ],
)
def test_a_wrong_type_key_or_option_is_refused_at_composition(override, named):
    with pytest.raises(HydraException, match=named):
        composed(override)
