"""Which wandb server a run goes to, whether there is an account, and whether the server can be reached.

wandb's settings are variables ``WANDB_<NAME>``, then ``wandb/settings`` of the folder that it works in, then
``~/.config/wandb/settings``, where ``wandb login --host``, ``wandb offline`` and ``wandb disabled`` keep what they set.
"""

import os
import socket
from configparser import ConfigParser, Error
from netrc import NetrcParseError, netrc
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

CLOUD = "https://api.wandb.ai"
SECTION = "default"
PATIENCE = 3.0
"""Seconds to wait for the server."""


def setting(name: str) -> str | None:
    """One of wandb's settings, such as ``base_url`` or ``mode``; None where it is not set."""
    if value := os.environ.get(f"WANDB_{name.upper()}"):
        return value
    return next((found for path in _files() if (found := _read(path).get(name))), None)


def _files() -> tuple[Path, Path]:
    """Files of settings, the stronger first."""
    root = Path(os.environ.get("WANDB_DIR") or ".").expanduser()
    local = root / (".wandb" if (root / ".wandb").exists() else "wandb")
    shared = Path(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb").expanduser()
    return local / "settings", shared / "settings"


def _read(path: Path) -> dict[str, str]:
    parser = ConfigParser()
    try:
        parser.read(path, encoding="utf-8")
        return dict(parser[SECTION]) if SECTION in parser else {}
    except (Error, OSError, UnicodeDecodeError):  # wandb says so itself, and goes on without
        return {}


def server() -> str:
    """Address of the wandb server in use."""
    return setting("base_url") or CLOUD


def has_account() -> bool:
    """Whether an API key for the server is set, or was stored by ``wandb login``."""
    if setting("api_key") or setting("identity_token_file"):
        return True
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return netrc(path).authenticators(urlsplit(server()).netloc) is not None
    except (OSError, NetrcParseError):
        return False


def reachable(address: str) -> bool:
    """Whether a server answers within some seconds: a computing node often has an account and no network.

    Behind a proxy only the proxy can tell, and it is taken for granted.
    """
    parts = urlsplit(address)
    if _proxied(parts.scheme, parts.hostname or ""):
        return True
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        socket.create_connection((parts.hostname or "", port), PATIENCE).close()
    except OSError:
        return False
    return True


def _proxied(scheme: str, host: str) -> bool:
    if setting(f"{scheme}_proxy"):
        return True
    return scheme in getproxies() and not proxy_bypass(host)
