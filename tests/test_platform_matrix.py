"""However a training is started, on however many processes, disturbed or not: the same figures, one folder a job."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
import torch
from running import finish, overrides, start

DISTURBANCE = """
import json, os, signal
from pathlib import Path
import pytorch_lightning as pl

class Disturbance(pl.Callback):
    def __init__(self, name, step):
        self.name, self.step = name, step

    def on_train_batch_end(self, trainer, *_):
        if self.name == "disturbed" and trainer.global_step == self.step and trainer.is_global_zero:
            record = json.loads((Path(trainer.default_root_dir) / "run.json").read_text())
            if len(record["sessions"]) == 1:
                os.kill(os.getpid(), signal.SIGUSR2)
"""
PROCESSES = (1, 2)
STARTS = ("single", "sweep", "launcher")
FATES = ("undisturbed", "disturbed")
STEP = 9
"""Batch after which a run is disturbed: the 4th of 6 of its second epoch, in the middle of a round of 2."""
BATCH = 2
"""Triplets of a batch of all processes."""
PATIENCE = 900.0
"""Seconds that a command may take."""


def command(data, folder, processes):
    trainer = ["trainer=cpu"] if processes == 1 else ["trainer=ddp_cpu", f"trainer.devices={processes}"]
    arguments = overrides(
        data, folder, *trainer, f"dataset.batch_size={BATCH // processes}", "test=false", "untrained=false",
        "backbone=squeezenet1_1", "optimizer.lr=1e-4", "~callbacks.pictures", "logger=none",
        f"+callbacks.disturbance={{_target_:disturbance.Disturbance,name:${{name}},step:{STEP}}}",
    )  # fmt: skip
    return [a for a in arguments if "backbone.widths" not in a]  # small's batch norm sees what one process has


def done(process, code=0):
    finish(process, code, PATIENCE)


def single(arguments, folder):
    """One run after the other, each from a command line of its own; the disturbed one is resumed."""
    folders = {fate: folder / str(number) for number, fate in enumerate(FATES)}
    first = {fate: [*arguments, f"name={fate}", f"hydra.run.dir={path}"] for fate, path in folders.items()}
    done(start("train", *first["undisturbed"], cwd=folder, path=folder))
    done(start("train", *first["disturbed"], cwd=folder, path=folder), 128 + signal.SIGUSR2)
    done(start("train", f"resume={folders['disturbed']}", cwd=folder, path=folder))


def sweep(arguments, folder):
    """Jobs of one process, which ends with the disturbed one; the same command line continues."""
    line = ["-m", *arguments, f"name={','.join(FATES)}", f"hydra.sweep.dir={folder}"]
    done(start("train", *line, cwd=folder, path=folder), 128 + signal.SIGUSR2)
    done(start("train", *line, cwd=folder, path=folder))


def launcher(arguments, folder):
    """Jobs in processes of their own; the disturbed one is started again by who launched it."""
    line = ["-m", "hydra/launcher=local", *arguments, f"name={','.join(FATES)}", f"hydra.sweep.dir={folder}"]
    done(start("train", *line, cwd=folder, path=folder))


@pytest.fixture(scope="module")
def runs(request, tiny_dataset, tmp_path_factory):
    """Folders of the runs that are looked at, by number of processes, way of starting, and fate."""
    looked_at = [item.callspec.params["cell"] for item in request.session.items if item.module is request.module]
    cells = dict.fromkeys([*((processes, "single") for processes in PROCESSES), *(cell[:2] for cell in looked_at)])
    folders = {cell: tmp_path_factory.mktemp(f"{cell[1]}_{cell[0]}") for cell in cells}
    ways = {"single": single, "sweep": sweep, "launcher": launcher}

    def run(cell):
        folder = folders[cell]
        (folder / "disturbance.py").write_text(DISTURBANCE)
        ways[cell[1]](command(tiny_dataset, folder, cell[0]), folder)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setenv("CROSSLOCATE_TRUSTED_TARGETS", "disturbance.")
        list(pool.map(run, folders))
    return {
        (*cell, fate): folder / str(number) for cell, folder in folders.items() for number, fate in enumerate(FATES)
    }


def figures(folder):
    """What every epoch of a run found, and the objective."""
    history = json.loads((folder / "history.json").read_text())["epochs"]
    record = json.loads((folder / "run.json").read_text())
    return [*history, record["objective"]]


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


CELLS = [
    pytest.param(cell, marks=[pytest.mark.slow] if cell[:2] in {(1, "sweep"), (1, "launcher"), (2, "sweep")} else [])
    for cell in product(PROCESSES, STARTS, FATES)
]
"""The fast suite has the single run, on one process and on two, and of sweeps the hardest: launched, on two."""


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(map(str, cell)))
def test_every_way_of_training_finds_the_same(runs, cell):
    one = runs[1, "single", "undisturbed"]
    reference, found = figures(one), figures(runs[cell])
    assert len(found) == len(reference) == 3
    assert found[-1] == reference[-1]
    for expected, measured in zip(reference[:-1], found[:-1], strict=True):
        assert measured == pytest.approx(expected, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(weights(runs[cell]), weights(one), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(map(str, cell)))
def test_as_many_processes_end_with_the_same_bits(runs, cell):
    reference, found = weights(runs[cell[0], "single", "undisturbed"]), weights(runs[cell])
    assert reference.keys() == found.keys()
    assert all(torch.equal(reference[name], found[name]) for name in reference)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(map(str, cell)))
def test_a_job_is_one_folder_and_one_record(runs, cell):
    folder = runs[cell]
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["world_size"] == cell[0]
    steps = [(0, 12)] if cell[2] == "undisturbed" else [(0, STEP), (STEP, 12)]
    assert [(session["from_step"], session["to_step"]) for session in record["sessions"]] == steps
    around = {
        path.name for path in folder.parent.iterdir() if path.is_dir() and path.name not in ("cache", "__pycache__")
    }
    assert around - {".submitit"} == {"0", "1"}
