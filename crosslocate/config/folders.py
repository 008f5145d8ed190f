"""Folders of runs: every run has one of its own, and a run that is resumed goes on in that which it began in."""

import itertools
import os
from datetime import datetime
from pathlib import Path

CHECKPOINTS = "checkpoints"
"""Folder of a run's checkpoints in the folder of the run."""
RESTARTS = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
"""Variables in which those who start processes count how often they have started this job before."""
INTERACTIVE_STEP = str(0xFFFFFFFA)
"""Number of the step that is the shell of ``salloc`` on clusters that open it on a node."""
_taken: dict[str, str] = {}


def unused_folder(wanted: str) -> str:
    """Make a folder that nobody else has: ``wanted``, or the first of ``<wanted>_2``, ``<wanted>_3``, ... that is free.

    Runs that start in the same second have the same wish. One process asks for the same folder again and again, and
    gets the same answer. Processes of one run that something else than this package started (torchrun, srun) each
    wish for another second: they share a folder that is named after what started them.

    Raises:
        SystemExit: It cannot be made; ends the process with a message, since Hydra would print a traceback.
    """
    if shares_folder():
        name = launch_name()
        return wanted if name is None else str(Path(wanted).with_name(name))
    if wanted not in _taken:
        path = Path(wanted)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _taken[wanted] = next(str(name) for name in _names(path) if _made(name))
        except OSError as error:
            reason = error.strerror or str(error)
            raise SystemExit(
                f"error: paths.outputs: the folder {path} of this run cannot be made ({reason}); "
                "give a folder to write to: paths.outputs=<folder>"
            ) from error
    return _taken[wanted]


def shares_folder() -> bool:
    """Whether this is one of several processes of a run that something else than this package started."""
    return _in_step() or int(os.environ.get("WORLD_SIZE") or 1) > 1


def launch_name() -> str | None:
    """What processes of a run can name its folder after: their step of a SLURM job, or what torchrun they are of.

    It stays the same when they are started again: by SLURM from its queue, by torchrun after a failure. None where
    somebody else started them.

    Raises:
        SystemExit: torchrun started them on several machines, and they have nothing in common.
    """
    known = os.environ
    if _in_step():
        return _step()
    if "TORCHELASTIC_RUN_ID" not in known:
        return None
    if known["WORLD_SIZE"] == known.get("LOCAL_WORLD_SIZE"):
        return f"{datetime.fromtimestamp(_began(os.getppid())):%Y-%m-%d_%H-%M-%S}_{os.getppid()}"
    if known["TORCHELASTIC_RUN_ID"] == "none":
        raise SystemExit(
            "error: hydra.run.dir: the processes of this run, on several machines, need one name for its folder; "
            "give hydra.run.dir=<folder>, or torchrun --rdzv-id=<name>"
        )
    return f"torchrun_{known['TORCHELASTIC_RUN_ID']}"


def _in_step() -> bool:
    """Whether this is one of several processes that ``srun`` started."""
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS") or os.environ.get("SLURM_NTASKS") or 1
    return int(tasks) > 1 and _step() is not None


def _step() -> str | None:
    """Name of the step of a SLURM job that this process is of; None for no step, and for a shell to type into."""
    job, step = (os.environ.get(name) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    if not job or not step or step == INTERACTIVE_STEP:
        return None
    if "SLURM_PTY_PORT" in os.environ and os.isatty(0):  # jobs that are submitted there inherit the variable
        return None
    return f"slurm_{job}_{step}"


def _began(process: int) -> float:
    """When a process of this machine began: seconds since 1970, the same whoever asks; 0 where nothing tells."""
    try:
        since_boot = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, StopIteration):
        return 0.0
    return int(boot.split()[1]) + since_boot / os.sysconf("SC_CLK_TCK")


def _names(path: Path) -> itertools.chain[Path]:
    return itertools.chain([path], (path.with_name(f"{path.name}_{number}") for number in itertools.count(2)))


def _made(path: Path) -> bool:
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


def resumed_folder(resume: str) -> Path | None:
    """Folder of the run that ``resume`` means: itself, or that in whose ``checkpoints`` the file lies; else None."""
    path = Path(resume).expanduser()
    if path.is_dir():
        return path if can_go_on(path) else None
    folder = path.absolute().parent
    return folder.parent if path.is_file() and folder.name == CHECKPOINTS else None


def run_folder(resume: str | None, fresh: str) -> str:
    """Folder of a run: that of the run that is resumed, else an unused one; nothing is written where none is found.

    A run that is a step of a SLURM job has one that is named after it: it finds it again when SLURM puts the job back
    into its queue.
    """
    folder = resumed_folder(resume) if resume else None
    if folder is not None:
        return str(folder)
    step = _step()
    return unused_folder(fresh) if step is None else str(Path(fresh).with_name(step))


def run_record(resume: str | None) -> str:
    """Where Hydra keeps the command line: that of a resume must not replace the one that began the run."""
    return ".hydra_resumed" if resume else ".hydra"


def restarted() -> bool:
    """Whether somebody, SLURM from its queue or torchrun after a failure, has started this job before."""
    return any(int(os.environ.get(count) or 0) > 0 for count in RESTARTS)


def may_continue() -> bool:
    """Whether this job may find an earlier start of itself: one of a sweep, or one that was put back into a queue."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if restarted():
        return True
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def has_checkpoint(folder: str | Path) -> bool:
    """Whether a run has left a checkpoint in a folder."""
    return any((Path(folder) / CHECKPOINTS).glob("*.ckpt"))


def can_go_on(folder: str | Path) -> bool:
    """Whether a run has left a checkpoint to go on from in a folder."""
    return any((Path(folder) / CHECKPOINTS / f"{name}.ckpt").is_file() for name in ("last", "previous"))
