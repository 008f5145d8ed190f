"""What a person can do when memory runs out: where it was, and which settings need less."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from crosslocate.config.folders import can_go_on
from crosslocate.config.settings import settings
from crosslocate.errors import CrossLocateError

_GPU = re.compile(r"CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED")
_HOST = re.compile(r"can't allocate memory|MemoryError|Unable to allocate|Cannot allocate memory")
_SHARED = re.compile(r"out of shared memory|Bus error|unable to (?:mmap|allocate shared|open shared)", re.IGNORECASE)
_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal|exited unexpectedly)")


class OutOfMemoryError(CrossLocateError):
    """Memory of the GPU, of the machine, or shared between processes, that did not suffice."""


@dataclass(frozen=True)
class Phase:
    """What a run was doing, by code that its stack then has.

    Attributes:
        name: For a person.
        files: Ends of paths of code that is in the stack during this phase alone.
        functions: Names of functions in them; none: any.
        keys: Settings that this phase needs less memory with.
    """

    name: str
    files: tuple[str, ...]
    functions: tuple[str, ...]
    keys: tuple[str, ...]


_BACKBONE = ("backbone", "network.train_from")
DECODING = Phase(
    "decoding of images",
    ("data/reader.py", "data/images.py", "data/cache.py", "data/storage.py"),
    (),
    ("dataset.workers", "dataset.batch_size", "dataset.extraction_batch_size", "dataset.size"),
)
PHASES = (
    DECODING,
    Phase(
        "mining extraction",
        ("mining/extraction.py",),
        (),
        ("dataset.extraction_batch_size", "mining.sampled_negatives", "trainer.precision", "dataset.size", "backbone"),
    ),
    Phase("mining", ("mining/callback.py",), ("plan",), ("mining.sampled_negatives", "mining.queries_per_round")),
    Phase(
        "search of neighbours",
        (
            "retrieval/search.py",
            "retrieval/proposals.py",
            "retrieval/upload.py",
            "retrieval/faiss_search.py",
            "retrieval/approximate.py",
            "retrieval/approximate_search.py",
            "retrieval/faiss_index.py",
        ),
        (),
        ("search.query_block", "search.database_block", "evaluation.dtype", "network.descriptor_size"),
    ),
    Phase(
        "validation",
        ("loops/evaluation_loop.py", "lit/evaluation.py", "lit/recall.py"),
        (),
        ("dataset.extraction_batch_size", "trainer.precision", "dataset.size", "backbone"),
    ),
    Phase(
        "training step",
        ("loops/training_epoch_loop.py", "loops/fit_loop.py"),
        (),
        ("dataset.batch_size", "mining.negatives", "trainer.precision", "dataset.size", *_BACKBONE),
    ),
    Phase("extraction", ("retrieval/extract.py",), (), ("batch_size", "precision", "trainer.precision", "workers")),
)
"""Those that another one can happen in come after it."""
ELSEWHERE = Phase("run", (), (), ("dataset.batch_size", "dataset.extraction_batch_size", "dataset.workers"))


@contextmanager
def explained_memory(config: Any) -> Iterator[None]:
    """Turn memory that runs out within into an error that says where it was and which settings help.

    Args:
        config: The job's configuration, for the values of the settings.

    Raises:
        OutOfMemoryError: From the original error.
    """
    try:
        yield
    except CrossLocateError:
        raise
    except (MemoryError, RuntimeError, OSError) as error:
        found = kind(error)
        if found is None:
            raise
        raise OutOfMemoryError(explanation(error, found, config)) from error


def kind(error: BaseException) -> str | None:
    """Which memory an error tells the lack of, as a clause; None for other errors."""
    text = f"{type(error).__name__}: {error}"
    if _SHARED.search(text):
        return "there is too little shared memory (/dev/shm) for the processes that read images"
    if _WORKER.search(text):
        return "a process that reads images was ended, which is what happens where the machine has too little memory"
    if _GPU.search(text):
        return "the GPU has too little memory"
    return "the machine has too little memory" if isinstance(error, MemoryError) or _HOST.search(text) else None


def explanation(error: BaseException, lack: str, config: Any) -> str:
    """One message for a person: what is lacking, during what, which settings decide it, and what was said."""
    phase = DECODING if _WORKER.search(str(error)) or "DataLoader worker process" in str(error) else phase_of(error)
    said = str(error).strip().rsplit("\n", 1)[-1] if "Original Traceback" in str(error) else first_line(error)
    return (
        f"{lack}, in: {phase.name}. What decides how much is needed: {', '.join(settings(config, phase.keys))}"
        f"{way_on(config)} ({said})"
    )


def way_on(config: Any) -> str:
    """How to go on, with other values, with a training that has a checkpoint; empty for all else."""
    folder = config.paths.run if "resume" in config else None
    return f". To go on from its last checkpoint: resume={folder} <key>=<value>" if folder and can_go_on(folder) else ""


def phase_of(error: BaseException) -> Phase:
    """What was being done when an error was raised, by the stack that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    for phase in PHASES:
        for frame in frames:
            file = frame.filename.replace("\\", "/")
            if file.endswith(phase.files) and (not phase.functions or frame.name in phase.functions):
                return phase
    return ELSEWHERE


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its type."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
