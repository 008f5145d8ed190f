"""A logger that logs nothing, where one is switched off or has nothing to do."""

from typing import Any

from pytorch_lightning.loggers import Logger


class IdleLogger(Logger):
    """Logs nothing.

    Lightning's ``DummyLogger`` has an attribute of every name, so that Hydra takes it for a configuration.
    """

    name = ""
    version = ""

    def log_metrics(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing."""
