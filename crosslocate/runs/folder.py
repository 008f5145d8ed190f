"""The folder of a run, before Hydra writes anything into it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hydra.experimental.callback import Callback

from crosslocate.config.ranks import is_first_process
from crosslocate.errors import ConfigError
from crosslocate.runs.lock import require_free

if TYPE_CHECKING:
    from omegaconf import DictConfig


class MakeFolder(Callback):
    """Makes the folder of a run; one that cannot be made, or in which somebody trains, is told in one line."""

    def on_run_start(self, config: "DictConfig", **kwargs: Any) -> None:  # noqa: ARG002 - Hydra's signature
        """Make it.

        Raises:
            SystemExit: It cannot be made, or another process trains there. Hydra would go on after any exception.
        """
        path = Path(str(config.hydra.run.dir))
        try:
            path.mkdir(parents=True, exist_ok=True)
            if is_first_process():
                require_free(path)
        except OSError as error:
            reason = error.strerror or str(error)
            _refuse(f"hydra.run.dir: the folder {path} of this run cannot be made ({reason})")
        except ConfigError as error:
            _refuse(str(error))


def _refuse(reason: str) -> NoReturn:
    print(f"error: {reason}", file=sys.stderr)
    raise SystemExit(1) from None
