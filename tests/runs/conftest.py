"""One small training that all tests of records start from; copy its folder to change it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from running import call, overrides

from crosslocate import train
from crosslocate.lit.module import RetrievalModule


@contextmanager
def failing(step: int) -> Iterator[None]:
    """Within, a training fails when it has ``step`` steps behind it, and that is expected."""
    original = RetrievalModule.training_step

    def training_step(self, *arguments):
        if self.global_step == step:
            raise RuntimeError("the roof leaks")
        return original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RetrievalModule, "training_step", training_step)
        with pytest.raises(RuntimeError, match="the roof leaks"):
            yield


@pytest.fixture(scope="session")
def failing_at() -> Callable[[int], AbstractContextManager[None]]:
    """`failing`."""
    return failing


@pytest.fixture(scope="session")
def run_job(tiny_dataset, tmp_path_factory):
    """Runs job 0 of a sweep in this process, in a folder; more overrides and another data set may be given."""
    cache = tmp_path_factory.mktemp("job")

    def run(folder: Path, *more: str, root: Path = tiny_dataset) -> float:
        sweep = ["hydra.mode=MULTIRUN", "hydra.job.num=0", f"hydra.sweep.dir={folder.parent}", f"paths.run={folder}"]
        short = ["untrained=false", "test=false", "name=job", "callbacks.last.every_n_steps=1"]
        return call(train.main, "train", overrides(root, cache, *sweep, *short, *more))

    return run


@pytest.fixture(scope="session")
def finished_job(run_job, tmp_path_factory) -> Path:
    """Folder of a finished job; treat it as read-only."""
    folder = tmp_path_factory.mktemp("sweep") / "0"
    run_job(folder)
    return folder


@pytest.fixture
def job(finished_job, tmp_path) -> Path:
    """A copy of the finished job's folder that a test may change."""
    return Path(shutil.copytree(finished_job, tmp_path / "sweep" / "0"))
