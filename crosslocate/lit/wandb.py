"""The wandb logger, offline unless there is an account."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytorch_lightning.loggers import WandbLogger

from crosslocate.console import say

PATIENCE = 3.0
"""Seconds to wait for the server."""


def wandb_logger(save_dir: str, offline: bool | None, **options: Any) -> WandbLogger:
    """Make the logger of one run.

    Args:
        save_dir: Folder of the run; wandb writes ``wandb/`` there.
        offline: None keeps the run offline when no account is known or the server cannot be reached.
        options: Passed to WandbLogger.
    """
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    if offline is None:
        wanted = os.environ.get("WANDB_MODE", "online" if has_account() else "offline")
        offline = wanted != "online" or not reachable(server())
        if offline and wanted == "online":
            say(f"{server()} cannot be reached: the wandb run is kept offline in {save_dir}/wandb")
    return WandbLogger(save_dir=save_dir, offline=offline, **options)


def has_account() -> bool:
    """Whether an API key is set in the environment or was stored by ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return urlsplit(server()).hostname in netrc().hosts
    except (FileNotFoundError, NetrcParseError):
        return False


def server() -> str:
    """Address of the wandb server in use."""
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def reachable(address: str) -> bool:
    """Whether a server answers within some seconds: a computing node often has an account and no network."""
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 443), PATIENCE).close()
    except OSError:
        return False
    return True


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
