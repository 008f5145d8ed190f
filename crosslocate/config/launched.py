"""Jobs of a sweep that a launcher runs in processes of their own."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from crosslocate.errors import CrossLocateError


@contextmanager
def failure_in_log() -> Iterator[None]:
    """Print the traceback of a failure in the log of its job.

    Hydra hands it to the process that waits for the jobs, which may have ended long ago. What a user can act on is
    printed as everywhere.
    """
    try:
        yield
    except CrossLocateError:
        raise
    except Exception:
        if "SUBMITIT_EXECUTOR" in os.environ:
            traceback.print_exc()
        raise
