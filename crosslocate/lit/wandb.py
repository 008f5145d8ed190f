"""The wandb logger, offline unless there is an account."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger


def wandb_logger(save_dir: str, offline: bool | None, **options: Any) -> WandbLogger:
    """Make the logger of one run.

    Args:
        save_dir: Folder of the run; wandb writes ``wandb/`` there.
        offline: None keeps the run offline when no account is known.
        options: Passed to WandbLogger.
    """
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    if offline is None:
        offline = os.environ.get("WANDB_MODE", "offline" if not has_account() else "online") != "online"
    return WandbLogger(save_dir=save_dir, offline=offline, **options)


def has_account() -> bool:
    """Whether an API key is set in the environment or was stored by ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return "api.wandb.ai" in netrc().hosts
    except (FileNotFoundError, NetrcParseError):
        return False


@contextmanager
def finished_runs() -> Iterator[None]:
    """Finish the wandb run begun inside, with the right exit code; the next job then begins a run of its own."""
    code = 1
    try:
        yield
        code = 0
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None:
            wandb.finish(exit_code=code)
