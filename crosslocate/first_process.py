"""What the first process of a run does alone, while the others wait for it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from torch import distributed

from crosslocate.errors import CrossLocateError

PATIENCE = timedelta(days=7)
"""Waiting has an end only so that there is one: whoever waits hears at once of a first process that is gone."""


class FirstProcess:
    """Lets the first process work alone, for however long, and all processes fail when it does.

    Collectives of PyTorch end a run when one process is half an hour late for them, which an index of millions of views
    may take. These have a group of their own, on the processor, with a limit beyond any such work.

    Args:
        rank: Of this process. All of the run make this object at the same time.
        world_size: Number of processes.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        self._is_first = rank == 0
        self._group: Any = None
        if world_size > 1:
            self._group = distributed.new_group(backend="gloo", timeout=PATIENCE)

    def does(self, work: Callable[[], object]) -> None:
        """Have the first process work, and wait for it; all processes of a run call this alike.

        Raises:
            CrossLocateError: It failed. On the first process whatever it was is raised.
        """
        failure: Exception | None = None
        if self._is_first:
            try:
                work()
            except Exception as error:
                failure = error
        message = self._told("" if failure is None else f"{type(failure).__name__}: {failure}")
        if failure is not None:
            raise failure
        if message:
            raise CrossLocateError(f"the first process failed: {message}")

    def _told(self, message: str) -> str:
        if self._group is None:
            return message
        content = [message]
        distributed.broadcast_object_list(content, src=0, group=self._group)
        return content[0]
