"""Where Hydra lets an entry point act before its job begins."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

if TYPE_CHECKING:
    from omegaconf import DictConfig


class MakeFolder(Callback):
    """Makes the folder of a run, so that one that cannot be made is told in one line."""

    def on_run_start(self, config: "DictConfig", **kwargs: Any) -> None:  # noqa: ARG002 - Hydra's signature
        """Make it.

        Raises:
            SystemExit: It cannot be made. Hydra would go on after any exception.
        """
        path = Path(str(config.hydra.run.dir))
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            print(f"error: hydra.run.dir: the folder {path} of this run cannot be made ({reason})", file=sys.stderr)
            raise SystemExit(1) from None
