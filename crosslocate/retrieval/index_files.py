"""Approximate indexes on disk: the index, what it was made of, and an index that is trained and waits to be filled."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from crosslocate.console import say
from crosslocate.data.locking import locked
from crosslocate.drafts import draft_of, remove_abandoned
from crosslocate.errors import StoreError

FORMAT = 2

Writer = Callable[[IO[bytes]], None]


@dataclass(frozen=True)
class IndexFiles:
    """Files of one kind of index in a folder.

    A file appears whole or not at all. The description comes last, and goes first: an index without one is not used.

    Args:
        folder: Where; made when something is written.
        name: Begins the names of the files.
        origin: What an index must have been made of to be used, as JSON values.
    """

    folder: Path
    name: str
    origin: dict[str, Any]

    @property
    def index(self) -> Path:
        """The index."""
        return self.folder / f"{self.name}.faiss"

    @property
    def trained(self) -> Path:
        """The index before it was filled."""
        return self.folder / f"{self.name}.trained.faiss"

    @property
    def description(self) -> Path:
        """What the index is."""
        return self.folder / f"{self.name}.json"

    @property
    def _trained_description(self) -> Path:
        return self.folder / f"{self.name}.trained.json"

    def describe(self) -> dict[str, Any]:
        """The description of an index that may be used.

        Raises:
            ValueError: There is none, or it is of something else; says what.
        """
        return self._describe(self.description, self.index)

    def describe_trained(self) -> dict[str, Any]:
        """As `describe`, of an index that waits to be filled."""
        return self._describe(self._trained_description, self.trained)

    @contextmanager
    def making(self) -> Iterator[None]:
        """Let one process of a machine make the index at a time; waits for another one, and says so.

        Whether files can be written is tried, before work is done for them; what killed processes left is removed.

        Raises:
            StoreError: The folder cannot be made or written.
        """
        told = f"another process makes the search index {self.index}; waiting for it"
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder / f".{self.name}.lock", lambda: say(told)))
                for path in (self.index, self.trained, self.description, self._trained_description):
                    remove_abandoned(path)
                trial = draft_of(self.index)
                trial.touch()
                trial.unlink()
            except OSError as error:
                raise StoreError(f"search indexes cannot be kept in {self.folder}: {error}") from error
            yield

    def keep(self, write: Writer, **more: Any) -> None:
        """Keep an index, with more values for its description; one that waited to be filled is removed.

        Raises:
            StoreError: The disk is full, or the folder cannot be written.
        """
        self._keep(self.index, self.description, write, more)
        self._trained_description.unlink(missing_ok=True)
        self.trained.unlink(missing_ok=True)

    def keep_trained(self, write: Writer) -> None:
        """Keep an index that waits to be filled; raises as `keep`."""
        self._keep(self.trained, self._trained_description, write, {})

    def amend(self, **values: Any) -> None:
        """Replace values of the description.

        Raises:
            StoreError: As `keep`, or another process has replaced the index meanwhile.
        """
        try:
            content = self.describe() | values
        except ValueError as error:
            raise StoreError(f"the description of the search index {self.index} is left as it is: {error}") from error
        self._write(self.description, lambda file: _put(file, content))

    def _describe(self, description: Path, index: Path) -> dict[str, Any]:
        try:
            found = json.loads(description.read_text(encoding="utf-8"))
            size = index.stat().st_size
        except FileNotFoundError as error:
            raise ValueError(f"{Path(error.filename).name} is missing") from None
        except (OSError, ValueError) as error:  # also what is no JSON
            raise ValueError(f"{description.name} cannot be read ({error})") from None
        if not isinstance(found, dict):
            raise ValueError(f"{description.name} is no description of an index")
        for key, value in ({"format": FORMAT} | self.origin).items():
            if found.get(key) != value:
                raise ValueError(f"it has {key} {found.get(key)!r} instead of {value!r}")
        if found.get("bytes") != size:
            raise ValueError(f"{index.name} has {size} bytes instead of {found.get('bytes')}")
        return found

    def _keep(self, index: Path, description: Path, write: Writer, more: dict[str, Any]) -> None:
        description.unlink(missing_ok=True)
        self._write(index, write)
        content = {"format": FORMAT} | self.origin | {"bytes": index.stat().st_size} | more
        self._write(description, lambda file: _put(file, content))

    def _write(self, path: Path, write: Writer) -> None:
        draft = draft_of(path)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            free = f" ({shutil.disk_usage(self.folder).free / 2**30:.2f} GiB free)" if self.folder.is_dir() else ""
            raise StoreError(f"the search index {path} cannot be written{free}: {error}") from error
        finally:
            draft.unlink(missing_ok=True)


def _put(file: IO[bytes], content: dict[str, Any]) -> None:
    file.write((json.dumps(content, indent=1) + "\n").encode())
