"""Checkpoints from elsewhere: read without trust, refused by name."""

import copy
import pickle

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import call

from crosslocate import evaluate, index, localize, train
from crosslocate.config.targets import TRUSTED
from crosslocate.errors import CheckpointError, ConfigError
from crosslocate.lit.assembly import build_datamodule, build_module
from crosslocate.lit.device import take_device
from crosslocate.lit.restore import CONFIG_KEY, load_network, load_retriever, read_checkpoint, saved_config
from crosslocate.models.weights import load_strictly, read_weights

HOSTILE = {"_target_": "numpy.testing.measure", "code_str": "open('ran', 'w')", "times": 1}


@pytest.fixture(autouse=True)
def _nothing_trusted(monkeypatch, tmp_path):
    monkeypatch.delenv(TRUSTED, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def good(tiny_dataset):
    from hydra import compose, initialize_config_dir

    from crosslocate.config.app import conf_dir
    from crosslocate.config.schema import register

    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", overrides=[
            "dataset=custom", "dataset.size=[24,32]", "dataset.workers=0", "backbone=small", "backbone.widths=[8,16]",
            "modality=depth_to_depth", "network.shared=true", "name=tiny", "threads=1", "trainer=cpu", "logger=none",
            f"dataset.root={tiny_dataset}",
        ])  # fmt: skip
    module = build_module(config, build_datamodule(config), pretrained=False)
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    return checkpoint


def changed(good, tmp_path, change, name="checkpoints/last.ckpt"):
    content = copy.deepcopy(good)
    change(content)
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def hostile(content):
    content[CONFIG_KEY]["dataset"]["prepare"] = HOSTILE


def test_an_unchanged_checkpoint_is_restored(good, tmp_path):
    path = changed(good, tmp_path, lambda content: None)
    assert load_retriever(path, "cpu").fingerprint == load_retriever(path, "cpu").fingerprint


def test_a_fingerprint_covers_what_has_no_weights(good, tmp_path):
    """Equal tensors, other descriptors: pooling, normalisation, inputs. Equal descriptors: how it was trained."""

    def fingerprint(pooling="Spoc", **sections):
        def change(content):
            del content["state_dict"]["network.query.pooling.p"]
            node = {"_target_": f"crosslocate.models.pooling.{pooling}", "_partial_": True}
            content[CONFIG_KEY]["pooling"] = node
            for section, values in sections.items():
                content[CONFIG_KEY][section].update(values)

        return load_retriever(changed(good, tmp_path, change), "cpu").fingerprint

    plain = fingerprint()
    others = [
        fingerprint("Mac"),
        fingerprint(network={"normalize_before": True}),
        fingerprint(network={"normalize_after": False}),
        fingerprint(dataset={"match_fov": 60.0}),
        fingerprint(dataset={"database": {"_target_": "crosslocate.data.tensors.MetricDepth", "channels": 2}}),
    ]
    assert len({plain, *others}) == 1 + len(others)
    assert plain == fingerprint(network={"channels_last": False, "train_from": None}, backbone={"weights": "elsewhere"})


@pytest.mark.parametrize(("name", "number"), [("auto", 1), ("cuda", 1), ("cuda:2", 2)])
def test_a_gpu_that_is_taken_becomes_the_current_one(monkeypatch, name, number):
    current = [1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert take_device(name) == torch.device("cuda", number)
    assert current[-1] == number
    assert take_device("cpu") == torch.device("cpu")
    assert current[-1] == number
    with pytest.raises(ConfigError, match=r"device='cuda:3' .*cuda:0, cuda:1, cuda:2"):
        take_device("cuda:3")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "gpu"])
def test_devices_that_there_are_not_are_refused(good, tmp_path, monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=rf"device='{name}' is not allowed"):
        load_retriever(changed(good, tmp_path, lambda content: None), name)


@pytest.mark.parametrize("job", ["evaluate", "index", "localize", "train"])
def test_no_job_runs_what_a_checkpoint_names(good, tmp_path, job):
    path = changed(good, tmp_path, hostile)
    tasks = {"evaluate": evaluate, "index": index, "localize": localize, "train": train}
    more = {"localize": ["photo=p.jpg"], "train": ["name=x"]}.get(job, [])
    source = f"{'resume' if job == 'train' else 'checkpoint'}={path}"
    with pytest.raises(CheckpointError, match=r"last\.ckpt.*dataset\.prepare\._target_='numpy\.testing\.measure'"):
        call(tasks[job].main, job, [source, *more, f"paths.run={tmp_path / 'other'}", f"paths.cache={tmp_path}"])
    assert not (tmp_path / "ran").exists()


def test_initial_weights_run_nothing(good, tmp_path):
    """Of a checkpoint that a run begins with, the weights are read and nothing else."""
    path = changed(good, tmp_path, hostile)
    content = read_checkpoint(path)
    config = saved_config(good, path)
    network = build_module(config, build_datamodule(config), pretrained=False).network
    load_network(network, content, path)
    assert read_weights(path)
    assert not (tmp_path / "ran").exists()


def test_trusted_code_is_called(good, tmp_path, monkeypatch):
    path = changed(good, tmp_path, hostile)
    monkeypatch.setenv(TRUSTED, "numpy.testing.measure")
    assert saved_config(read_checkpoint(path), path).dataset.prepare.times == 1


def test_an_evaluation_removes_no_folder_that_a_checkpoint_names(good, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    path = changed(good, tmp_path, lambda content: content[CONFIG_KEY]["evaluation"].update(directory=str(kept)))
    arguments = [f"checkpoint={path}", "splits=[val]", "trainer=cpu", "trainer.enable_progress_bar=false"]
    call(evaluate.main, "evaluate", [*arguments, f"paths.run={tmp_path / 'e'}", f"paths.cache={tmp_path}"])
    assert kept.is_dir()
    assert not (tmp_path / "e" / "descriptors").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update({CONFIG_KEY: 7}),
        lambda c: c.update({CONFIG_KEY: "a: [b"}),
        lambda c: c.update({CONFIG_KEY: {1: {2: 3}}}),
        lambda c: c.update({CONFIG_KEY: []}),
        lambda c: c.update({CONFIG_KEY: {}}),
        lambda c: c[CONFIG_KEY].update(seed="${oops"),
        lambda c: c[CONFIG_KEY].update(seed="${nothing.there}"),
        lambda c: c[CONFIG_KEY].update(seed=[1]),
        lambda c: c[CONFIG_KEY].update(seed=torch.zeros(2)),
        lambda c: c[CONFIG_KEY].update(modality=3),
        lambda c: c[CONFIG_KEY].update(network={"shared": 1}),
        lambda c: c[CONFIG_KEY]["backbone"].update(widths="many"),
        lambda c: c[CONFIG_KEY]["backbone"].update(widths=[-1, 2]),
        lambda c: c[CONFIG_KEY]["dataset"].update(size=["a", "b"]),
        lambda c: c[CONFIG_KEY].update(dataset={"_target_": "torch.optim.SGD", "_partial_": True}),
        lambda c: c[CONFIG_KEY].pop("evaluation"),
        lambda c: c[CONFIG_KEY].update(evaluation={"numbers": [], "distances": []}),
        lambda c: c[CONFIG_KEY].pop("trainer"),
        lambda c: c.update(state_dict=3),
        lambda c: c.update(state_dict={}),
        lambda c: c["state_dict"].update({next(iter(c["state_dict"])): "text"}),
        lambda c: c["state_dict"].update({5: torch.zeros(2)}),
    ],
)
def test_a_broken_configuration_is_one_error_that_names_the_file(good, tmp_path, change):
    path = changed(good, tmp_path, change)
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        call(evaluate.main, "evaluate", [f"checkpoint={path}", f"paths.run={tmp_path / 'e'}", "trainer=cpu"])


def test_resuming_another_version_says_what_is_missing(good, tmp_path):
    path = changed(good, tmp_path, lambda content: content[CONFIG_KEY].pop("mining"))
    with pytest.raises(CheckpointError, match=r"last\.ckpt: its configuration has no mining; is it of another version"):
        call(train.main, "train", [f"resume={path}", "name=x", f"paths.run={tmp_path / 'e'}"])


class Odd:
    """Pickled as a call that torch admits, with arguments that it does not expect."""

    def __init__(self, function, arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (torch._utils._rebuild_tensor_v2, (1, 2)),
        (torch._utils._rebuild_parameter, (3, True, None)),
        (torch.device, (1, 2, 3)),
        (torch.Size, (4,)),
    ],
)
def test_odd_pickles_are_one_error(tmp_path, function, arguments):
    torch.save({"state_dict": Odd(function, arguments)}, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=r"odd\.pt"):
        read_weights(tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=r"odd\.pt"):
        read_checkpoint(tmp_path / "odd.pt")


def test_tensors_that_cannot_be_copied_are_refused():
    layer = torch.nn.Linear(2, 2)
    state = {"weight": torch.zeros(2, 2).to_sparse_csr(), "bias": torch.zeros(2)}
    with pytest.raises(CheckpointError, match="file: its tensors cannot be taken over"):
        load_strictly(layer, state, "file")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_end_in_one_error(tmp_path, data):
    content = bytearray(pickle.dumps({"state_dict": {"a": [1, 2]}, CONFIG_KEY: {"a": 1}}, protocol=2))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "d.pt").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for read in (read_weights, read_checkpoint):
        with pytest.raises(CheckpointError, match=r"d\.pt"):
            read(tmp_path / "d.pt")
