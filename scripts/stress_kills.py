"""Kills trainings at every phase and restarts them: python scripts/stress_kills.py [--kills 50] [--seed 0] [--ranks 1].

A training of seconds on tiny scenes is first run undisturbed. Then runs of the same command line are ended by SIGKILL,
SIGTERM, SIGUSR2 and SIGINT, at random moments and within aimed phases (start-up, mining, extraction, training,
validation, writing of checkpoints, final evaluation), several times each, and started again in their folder, as a
cluster would, until they finish. After every kill all checkpoints must be readable, the exit status must be the
signal's, and no process of the run may be left; of every finished run, weights, optimizer, history, log and recalls
must be those of the undisturbed one. Prints a Markdown table and ends with status 1 if anything was not so. Linux only;
needs a checkout, whose tests draw the scenes.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

CHECKOUT = Path(__file__).resolve().parents[1]
AIM = "STRESS_AIM"
"""Variable that tells a training where to end itself: ``phase:count:signal:rank``."""
SIGNALS = ("SIGKILL", "SIGTERM", "SIGUSR2", "SIGINT")
PHASES = {
    "start-up": 1, "mining": 4, "extraction": 14, "training": 8, "validation": 9, "checkpoint": 10,
    "evaluation": 7, "random": 0,
}  # fmt: skip
"""Phases, and how often one is passed in a training, or in what is left of one."""
KILLS_A_RUN = 8
LIMIT = 300.0
"""Seconds after which a training is taken to hang."""
TRAINING = [
    "experiment=demo", "dataset=custom", "dataset.size=[24,32]", "dataset.batch_size=2", "dataset.workers=0",
    "dataset.extraction_batch_size=5", "mining=crosslocate", "mining.queries_per_round=4", "mining.negatives=3",
    "mining.sampled_negatives=4", "mining/strategy=semihard", "mining.margin=0.1", "loss=triplet",
    "network.descriptor_size=16", "backbone.widths=[8,16]", "augmentation=strong", "scheduler=cosine",
    "scheduler.warmup_steps=3", "optimizer.lr=0.01", "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=1",
    "trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1", "evaluation.numbers=[1,5,100]", "logger=csv",
    "threads=1", "untrained=false", "~callbacks.pictures", "+callbacks.aim={_target_:stress_kills.EndsItself}",
]  # fmt: skip


class EndsItself(pl.Callback):
    """Sends its process a signal in the phase, and the n-th time that it passes there, that `AIM` tells."""

    def setup(self, trainer: pl.Trainer, _: pl.LightningModule, stage: str) -> None:
        """Look up the aim, and put it where no hook leads."""
        phase, count, name, rank = (os.environ.get(AIM) or "none:0:SIGTERM:0").split(":")
        self._phase = phase if int(rank) == trainer.global_rank else "none"
        self._left, self._signal = getattr(self, "_left", int(count)), signal.Signals[name]
        if stage == "fit":
            self._pass("start-up")
            self._wrap()

    def on_train_batch_start(self, *_: Any) -> None:
        """Training."""
        self._pass("training")

    def on_validation_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Validation, in training or after it."""
        self._pass("validation" if trainer.state.fn == "fit" else "evaluation")

    def on_test_batch_start(self, *_: Any) -> None:
        """Evaluation after training."""
        self._pass("evaluation")

    def _wrap(self) -> None:
        from crosslocate.lit import checkpoint
        from crosslocate.mining.extraction import RoundExtractor
        from crosslocate.mining.per_query import PerQueryMiner

        for owner, name, phase in (
            (RoundExtractor, "_encode", "extraction"),
            (PerQueryMiner, "mine", "mining"),
            (checkpoint, "keep_previous", "checkpoint"),
            (checkpoint, "sync_folder", "checkpoint"),
        ):
            setattr(owner, name, self._passing(getattr(owner, name), phase))
        checkpoint.torch.save = self._torn(checkpoint.torch.save)

    def _passing(self, function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        def passing(*arguments: Any) -> Any:
            self._pass(phase)
            return function(*arguments)

        return passing

    def _torn(self, save: Callable[..., Any]) -> Callable[..., Any]:
        """``torch.save`` that passes the phase when half of the file is written."""

        def torn(content: Any, file: Any) -> None:
            half = save(content, file), file.tell() // 2
            file.flush()
            os.truncate(file.fileno(), half[1])
            self._pass("checkpoint")
            file.seek(0)
            save(content, file)

        return torn

    def _pass(self, phase: str) -> None:
        if phase == self._phase:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._signal)


@dataclass
class Findings:
    """What was done, and what was wrong.

    Attributes:
        kills: By phase and signal.
        faults: One line each.
        runs: Finished and compared.
    """

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    runs: int = 0

    def table(self) -> str:
        """Kills by phase and signal, in Markdown."""
        rows = [f"| phase | {' | '.join(SIGNALS)} |", "|---" * (len(SIGNALS) + 1) + "|"]
        rows += [f"| {p} | {' | '.join(str(self.kills[p, s]) for s in SIGNALS)} |" for p in PHASES]
        return "\n".join(rows)


@dataclass(frozen=True)
class Trial:
    """Where trainings run, and with how many processes."""

    folder: Path
    ranks: int

    def start(self, run: Path, restarts: int, aim: str = "") -> "subprocess.Popen[bytes]":
        """Start the training of a run, again if it was started before."""
        arguments = [
            *TRAINING, f"dataset.root={self.folder / 'scenes'}", f"paths.cache={self.folder / 'cache'}",
            f"hydra.run.dir={run}", f"trainer={'ddp_cpu' if self.ranks > 1 else 'cpu'}",
            f"trainer.devices={self.ranks}", "trainer.precision=32-true",
        ]  # fmt: skip
        environment = {
            **os.environ, "SLURM_RESTART_COUNT": str(restarts), "CROSSLOCATE_TRUSTED_TARGETS": "stress_kills.",
            "PYTHONPATH": f"{Path(__file__).parent}:{CHECKOUT}", "OMP_NUM_THREADS": "1", AIM: aim,
        }  # fmt: skip
        with (self.folder / f"{run.name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "crosslocate.train", *arguments], env=environment, cwd=self.folder, stdout=log,
                stderr=log,
            )  # fmt: skip


def ended(process: "subprocess.Popen[bytes]", seconds: float = LIMIT) -> int | None:
    """Exit status; None of a process that had to be killed because it hung."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def kill_once(
    trial: Trial, run: Path, restarts: int, aim: tuple[str, str], draw: random.Random, seconds: float
) -> int | None:
    """One start of a run that is ended on the way, in a phase and by a signal; its exit status."""
    phase, name = aim
    rank = draw.randrange(trial.ranks) if phase in ("mining", "extraction", "training") else 0
    count = draw.randint(1, max(1, PHASES[phase]))
    process = trial.start(run, restarts, "" if phase == "random" else f"{phase}:{count}:{name}:{rank}")
    if phase == "random":
        try:
            process.wait(draw.uniform(0.0, seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.Signals[name])
    return ended(process)


def faults_after_kill(run: Path, phase: str, name: str, status: int | None) -> list[str]:
    """What is wrong after a kill."""
    from crosslocate.errors import CheckpointError
    from crosslocate.lit.restore import read_checkpoint
    from crosslocate.runs.record import read_record

    number = signal.Signals[name]
    found = [] if status is not None else [f"hung for {LIMIT:g} s"]
    early = (1,) if phase == "random" else ()  # Ctrl-C while modules are imported
    if status is not None and status not in (-number, 128 + number, *early):
        found.append(f"exit status {status}")
    try:
        for path in sorted((run / "checkpoints").glob("*.ckpt")):
            read_checkpoint(path)
        read_record(run)
    except CheckpointError as error:
        found.append(str(error))
    if not waited(lambda: not processes_of(run), 10.0):
        found.append(f"processes left: {processes_of(run)}")
    return found


def processes_of(run: Path) -> list[int]:
    """Processes whose command line names a run's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"hydra.run.dir={run}".encode() in words:
            found.append(int(path.parent.name))
    return found


def waited(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def outcome(run: Path) -> dict[str, Any]:
    """What must not depend on kills."""
    import torch

    from crosslocate.lit.csv import read_log

    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    results = json.loads((run / "results.json").read_text())
    losses = [(row["step"], row["train/loss_step"]) for row in read_log(run / "metrics") if "train/loss_step" in row]
    moments = state["optimizer_states"][0]["state"]
    return {
        "weights": {name: tensor.numpy().tobytes() for name, tensor in state["state_dict"].items()},
        "optimizer": {f"{k}.{n}": t.numpy().tobytes() for k, values in moments.items() for n, t in values.items()},
        "history": json.loads((run / "history.json").read_text())["epochs"],
        "log": losses,
        "results": {key: results[key] for key in ("objective", "history")},
    }


def differences(run: Path, reference: dict[str, Any]) -> list[str]:
    """Names of what a finished run has otherwise than the undisturbed one."""
    try:
        found = outcome(run)
    except (OSError, KeyError, ValueError) as error:
        return [f"cannot be compared: {error!r}"]
    return [f"other {name}" for name, value in reference.items() if found[name] != value]


def torment(
    trial: Trial, run: Path, findings: Findings, aims: list[tuple[str, str]], draw: random.Random, seconds: float
) -> list[tuple[str, str]]:
    """Kill a run by all of these aims, then let it finish; what it finished before is given back."""
    for restarts, aim in enumerate(aims):
        status = kill_once(trial, run, restarts, aim, draw, seconds)
        if status == 0:
            return aims[restarts:]
        findings.kills[aim] += 1
        wrong = faults_after_kill(run, *aim, status)
        findings.faults += [f"{run.name}, {', '.join(aim)}: {fault}" for fault in wrong]
        print(f"{run.name}: {', '.join(aim)}: {status} {'; '.join(wrong)}", flush=True)
    if (status := ended(trial.start(run, len(aims)))) != 0:
        findings.faults.append(f"{run.name}: did not finish, status {status}")
    return []


def shuffled_aims(draw: random.Random) -> list[tuple[str, str]]:
    """All phases with all signals."""
    aims = list(product(PHASES, SIGNALS))
    draw.shuffle(aims)
    return aims


def undisturbed(trial: Trial) -> tuple[dict[str, Any], float]:
    """Outcome of a training that nobody disturbs, and the seconds that it takes."""
    begin = time.monotonic()
    run = trial.folder / "undisturbed"
    if (status := ended(trial.start(run, 0))) != 0:
        raise SystemExit(f"the undisturbed training ended with status {status}: see {trial.folder}/undisturbed.log")
    return outcome(run), time.monotonic() - begin


def stress(folder: Path, kills: int, seed: int, ranks: int) -> Findings:
    """Kill trainings until there were so many kills, and compare each in the end."""
    sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]
    from tiny_scenes import build_dataset  # type: ignore[import-not-found]

    trial, draw, findings = Trial(folder, ranks), random.Random(seed), Findings()
    build_dataset(folder / "scenes")
    reference, seconds = undisturbed(trial)
    deck: list[tuple[str, str]] = []
    while (left := kills - findings.kills.total()) > 0:
        run = folder / f"run_{findings.runs}"
        deck = deck if len(deck) >= KILLS_A_RUN else deck + shuffled_aims(draw)
        count = min(left, KILLS_A_RUN)
        aims = sorted(deck[:count], key=lambda aim: aim[0] == "evaluation")  # nothing else comes after it
        deck = deck[count:] + torment(trial, run, findings, aims, draw, seconds)
        findings.runs += 1
        other = differences(run, reference)
        findings.faults += [f"{run.name}: {text}" for text in other]
        print(f"{run.name}: {'; '.join(other) or 'as if undisturbed'}", flush=True)
    return findings


def main() -> None:
    """Read the command line, kill, and report."""
    parser = argparse.ArgumentParser(description="Kill trainings at every phase; none may lose anything.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="kept; a temporary one by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        findings = stress(folder, arguments.kills, arguments.seed, arguments.ranks)
    print(f"\n{findings.table()}\n\n{findings.kills.total()} kills, {findings.runs} runs finished and compared")
    print("\n".join(["faults:", *findings.faults]) if findings.faults else "no faults")
    sys.exit(bool(findings.faults))


if __name__ == "__main__":
    main()
