"""Turns a function of a config into a command-line entry point: Hydra, schemas, validation, clean errors."""

import errno
import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crosslocate.errors import CrossLocateError, RunStopped

Task = Callable[[Any], Any]


def conf_dir() -> Path:
    """Folder of the YAML configuration: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def entry_point(config_name: str, validate: Callable[[Any], None]) -> Callable[[Task], Callable[[], None]]:
    """Make ``python -m crosslocate.<name>`` out of a task.

    The task receives a config composed from ``conf/<config_name>.yaml`` that has passed ``validate``; what it returns
    is the job's objective for sweepers. An error that a user can act on is printed without a traceback and ends the
    process with status 1; under ``-m`` it fails that job, and the other jobs go on. So do files and folders that
    cannot be read or written. A run that was asked to stop leaves as `crosslocate.config.requeue.leave` says, and no
    other job of its sweep is begun.

    Args:
        config_name: Name of the primary config, without suffix.
        validate: Cross-field rules; raises ConfigError before any data is touched.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def job(cfg: Any) -> Any:
            from hydra.core.hydra_config import HydraConfig
            from hydra.types import RunMode

            from crosslocate.config.launched import failure_in_log
            from crosslocate.config.ranks import one_job
            from crosslocate.memory import explained_memory

            sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
            try:
                validate(cfg)
                with one_job(sweeping), cache_folder(cfg.paths.cache), failure_in_log(), explained_memory(cfg):
                    return task(cfg)
            except RunStopped as stopped:  # what surrounds the run is closed by now
                from crosslocate.config.requeue import leave

                leave(stopped, cfg.paths.run if "resume" in cfg else "")
            except (CrossLocateError, OSError) as error:
                text = said(error)
                if text is None or "HYDRA_FULL_ERROR" in os.environ:
                    raise
                if sweeping:
                    from hydra.errors import CompactHydraException

                    print(f"error: job {HydraConfig.get().job.num}: {text}", file=sys.stderr)
                    raise CompactHydraException(f"error: {text}") from None  # Hydra ends with this line, at status 1
                print(f"error: {text}", file=sys.stderr)
                sys.exit(1)

        @functools.wraps(task)
        def main() -> None:
            import hydra

            from crosslocate.config.schema import register

            register()
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)(job)()

        return main

    return decorate


@contextmanager
def cache_folder(folder: str) -> Iterator[None]:
    """Let ``CROSSLOCATE_CACHE``, by which also processes that read images find it, name a job's cache folder."""
    before = os.environ.get("CROSSLOCATE_CACHE")
    os.environ["CROSSLOCATE_CACHE"] = os.path.abspath(folder)  # noqa: PTH100 - as everywhere: links stay
    try:
        yield
    finally:
        del os.environ["CROSSLOCATE_CACHE"]
        if before is not None:
            os.environ["CROSSLOCATE_CACHE"] = before


def said(error: Exception) -> str | None:
    """What an error says that a user can act on, None for others.

    Of one from a worker process, which comes with that process's traceback, it is the last line; of the operating
    system's, the file and the reason.
    """
    if isinstance(error, OSError):
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return None
        return f"{error.filename or 'a file'}: {error.strerror}"
    text = str(error)
    if "Original Traceback" not in text:
        return text
    return text.strip().rsplit("\n", 1)[-1].split("Error: ", 1)[-1]
