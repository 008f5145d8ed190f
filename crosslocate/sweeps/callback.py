"""Where Hydra lets a sweep be checked: when all of the command line is known and nothing has started."""

import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from crosslocate.errors import CrossLocateError

if TYPE_CHECKING:
    from omegaconf import DictConfig


class CheckJobs(Callback):
    """Refuses a sweep of which a job cannot run, before any starts, and records one that can.

    The jobs of sweepers other than Hydra's basic one are not known beforehand; they are checked as each of them starts.
    """

    def on_multirun_start(self, config: "DictConfig", **kwargs: Any) -> None:  # noqa: ARG002 - Hydra's signature
        """Check all jobs.

        Raises:
            SystemExit: The sweep is refused. Hydra would go on after any exception.
        """
        from hydra.errors import HydraException

        from crosslocate.config.places import hand_on_gpus

        hand_on_gpus()
        try:
            _check(config)
        except (CrossLocateError, HydraException) as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        except Exception:
            traceback.print_exc()
            raise SystemExit(1) from None


def validate_job(cfg: Any) -> None:
    """Check the values of a training configuration, and the arguments of what it builds."""
    from crosslocate.config.rehearsal import rehearse
    from crosslocate.config.validate import validate_train

    validate_train(cfg)
    rehearse(cfg)


def _check(config: "DictConfig") -> None:
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    from crosslocate.console import say
    from crosslocate.sweeps.check import Checker, check_all
    from crosslocate.sweeps.jobs import expand, is_expandable
    from crosslocate.sweeps.loader import RememberingLoader
    from crosslocate.sweeps.record import record_sweep
    from crosslocate.sweeps.rules import require_launcher, require_runnable

    require_launcher(config)
    if not is_expandable(config):
        say(f"{config.hydra.sweeper._target_} decides on its jobs as it goes: each is checked when it starts")
        return
    hydra: Any = GlobalHydra.instance().hydra
    jobs = expand(config, hydra.config_loader)
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    try:
        found = check_all(Checker(config, hydra.config_loader, validate_job, folder), jobs)
        require_runnable(config, found)
        written: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
        record_sweep(folder, written, found)
    except CrossLocateError:
        with suppress(OSError):
            folder.rmdir()  # made for this sweep a moment ago; one with something in it stays
        raise
    hydra.config_loader = loader = RememberingLoader(hydra.config_loader)
    for checked in found:
        loader.remember(checked.job.overrides, checked.composed)
