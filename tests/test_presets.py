"""Every preset trains: two batches of each experiment, and of the first and last job of each sweep, on tiny data."""

import json
import math

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from reference_layout import build_reference
from running import call

from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register
from crosslocate.train import main

QUICK = [
    "debug=fast", "dataset.workers=0", "dataset.extraction_batch_size=12", "threads=1", "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false", "untrained=false", "test=false", "backbone.weights=none", "name=preset",
    "dataset.batch_size=4",
]  # fmt: skip
QUERIES = 12
"""Of the training split of either set."""
SMALLER = {"pooling=netvlad": ["pooling.clusters=4", "pooling.projection=8"]}
"""What the images of the tiny sets are too small for."""
OWN_DATA = ["dataset=custom", "dataset.size=[24,32]"]
KINDS = ("segments", "silhouettes", "depth")


def presets(group):
    return sorted(str(p.relative_to(conf_dir() / group).with_suffix("")) for p in (conf_dir() / group).rglob("*.yaml"))


EXPERIMENTS = [name for name in presets("experiment") if name != "crosslocate/defaults"]


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    return build_reference(tmp_path_factory.mktemp("reference"))


def data_of(overrides, tiny_dataset, installation):
    """Where a job's data are: the tiny set in this platform's layout, or in CrossLocate's where the job names a set."""
    if any(o.startswith(("experiment=crosslocate/", "dataset=")) for o in overrides):
        return [
            f"paths.datasets={installation / 'datasets'}", f"paths.metas={installation / 'datasets_meta'}",
            "dataset.size=[24,32]",
        ]  # fmt: skip
    return [*OWN_DATA, f"dataset.root={tiny_dataset}"]


def two_batches(overrides, folder, tiny_dataset, installation):
    """Train as a job's overrides say; the folder of the run."""
    arguments = [f"paths.run={folder / 'run'}", f"paths.cache={folder.parent / 'cache'}"]
    arguments += [smaller for override in overrides for smaller in SMALLER.get(override, [])]
    call(main, "train", [*data_of(overrides, tiny_dataset, installation), *QUICK, *overrides, *arguments])
    results = json.loads((folder / "run" / "results.json").read_text())
    assert [entry["epoch"] for entry in results["history"]] == [0]
    sizes = [int(o.partition("=")[2]) for o in overrides if o.startswith("dataset.batch_size=")]
    assert results["history"][0]["step"] == min(2, math.ceil(QUERIES / (sizes or [4])[-1]))
    assert next(iter(results["objective"].values())) >= 0.0  # a recall, or a sum of them


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_trains(experiment, tiny_dataset, installation, tmp_path):
    overrides = [f"experiment={experiment}"]
    if experiment.startswith("crosslocate/"):
        overrides.append("dataset=sparse_" + experiment.removeprefix("crosslocate/").removeprefix("photo_to_"))
    two_batches(overrides, tmp_path, tiny_dataset, installation)


def jobs_of(sweep):
    """Overrides of every job of a sweep."""
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=[f"sweep={sweep}", "paths.run=run"], return_hydra_config=True)
    params = [f"{key}={value}" for key, value in cfg.hydra.sweeper.params.items()]
    (jobs,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(params), max_batch_size=None)
    return jobs


def ends(jobs):
    """The first and the last job: between them, values differ and nothing else."""
    return [(0, jobs[0]), (len(jobs) - 1, jobs[-1])]


JOBS = [(sweep, number, job) for sweep in presets("sweep") for number, job in ends(jobs_of(sweep))]


@pytest.mark.parametrize(("sweep", "job"), [(s, j) for s, _, j in JOBS], ids=[f"{s}-{n}" for s, n, _ in JOBS])
def test_a_job_of_a_sweep_trains(sweep, job, tiny_dataset, installation, tmp_path):
    two_batches([f"sweep={sweep}", *job], tmp_path, tiny_dataset, installation)
