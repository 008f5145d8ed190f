"""Descriptors of database views as of the round in which each was extracted last, on disk and mapped into memory.

Whoever resumes a run goes back to a checkpoint, and the memory may be ahead of it. So before a round overwrites rows,
what they held is written to an undo log; going back to a round undoes those after it, the last one first.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import StoreError
from crosslocate.mining.descriptors import Rows
from crosslocate.mining.undo import UndoLog

HEADER, DESCRIPTORS, ROUNDS, UNDO = "header.json", "descriptors.bin", "rounds.bin", "undo"
NEVER = -1
"""Stands for the round of a row that was never extracted."""
KEPT_LOGS = 3
"""Rounds that can be undone. A state is saved before every round, and the one before the last is kept too: it lies
before the last round but one."""
BLOCK = 1 << 20


class DescriptorMemory:
    """A float16 matrix [rows, size], and the round (int32, from 0) in which every row was extracted last.

    One process writes; others of the machine see it at once.

    Args:
        folder: Of a memory that was made by `create`.

    Raises:
        StoreError: There is none, or its files do not fit.
    """

    def __init__(self, folder: Path) -> None:
        try:
            header = json.loads((folder / HEADER).read_text())
            shape = int(header["rows"]), int(header["size"])
            self.values = np.memmap(folder / DESCRIPTORS, np.float16, "r+", shape=shape)
            self.rounds = np.memmap(folder / ROUNDS, np.int32, "r+", shape=shape[:1])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{folder} holds no descriptor memory: {error}") from error
        self._undo = UndoLog(folder / UNDO)

    @classmethod
    def create(cls, folder: Path, rows: int, size: int) -> "DescriptorMemory":
        """An empty memory in the place of whatever is there.

        Raises:
            StoreError: There is no room; it is reserved now, so that a full disk does not end the run later.
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            with (folder / DESCRIPTORS).open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, 2 * rows * size)
            with (folder / ROUNDS).open("wb") as file:
                for start in range(0, rows, BLOCK):
                    file.write(np.full(min(BLOCK, rows - start), NEVER, np.int32).tobytes())
        except OSError as error:
            free, need = shutil.disk_usage(folder).free / 2**30, rows * (2 * size + 4) / 2**30
            shutil.rmtree(folder, ignore_errors=True)
            raise StoreError(f"no room for {need:.2f} GiB in {folder.parent} ({free:.2f} GiB free): {error}") from error
        (folder / HEADER).write_text(json.dumps({"rows": rows, "size": size}))
        return cls(folder)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which rows have a descriptor, shape [rows]."""
        found: NDArray[np.bool_] = np.asarray(self.rounds) != NEVER
        return found

    def put(self, index: int, rows: Rows, values: NDArray[np.floating]) -> None:
        """Overwrite rows in round ``index``; killed at any moment, it can be undone.

        Args:
            index: A round after all before.
            rows: Ascending and unique, shape [n].
            values: Their descriptors, shape [n, size].

        Raises:
            StoreError: A descriptor that is not finite in half precision.
            UnwritableError: The undo log cannot be written.
        """
        with np.errstate(over="ignore"):
            halves = np.asarray(values).astype(np.float16)
        finite = np.isfinite(halves).all(axis=1)
        if not finite.all():
            raise StoreError(
                f"the descriptor of database row {int(rows[~finite][0])} is not finite in half precision, which "
                "mining/refresh=memory keeps; normalize descriptors (network.normalize_after=true)"
            )
        self._undo.write(index, rows, self.rounds[rows], self.values[rows])
        self._write(rows, np.full(len(rows), index, np.int32), halves)
        self._undo.forget(*(done for done in self._undo.rounds if done <= index - KEPT_LOGS))

    def go_back(self, index: int) -> bool:
        """Make the memory what it was before round ``index``; every round overwrites some rows.

        Returns:
            Whether that could be done: it had come that far, and the rounds since then are all in the undo log.
            Otherwise nothing is changed.

        Raises:
            StoreError: A file of the undo log is damaged; the memory is then of no use.
        """
        latest = max([int(self.rounds.max(initial=NEVER)), *self._undo.rounds])
        later = list(range(index, latest + 1))
        if latest < index - 1 or not set(later) <= set(self._undo.rounds):
            return False
        for done in reversed(later):
            self._write(*self._undo.read(done))
            self._undo.forget(done)
        return True

    def _write(self, rows: Rows, rounds: NDArray[Any], values: NDArray[Any]) -> None:
        self.values[rows] = values
        self.rounds[rows] = rounds
        self.values.flush()
        self.rounds.flush()
