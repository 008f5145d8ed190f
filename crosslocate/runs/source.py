"""Which source code a run was made with: the commit, and what was changed since."""

import subprocess
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
LIMIT = 1 << 20
"""Characters of a difference that are kept; what somebody generated into the checkout is no source."""
PATIENCE = 20.0
"""Seconds to wait for git: a checkout on a network disk can be slow."""


def source_state() -> tuple[dict[str, Any], str] | None:
    """Commit of the checkout that this package lies in, and the difference from it.

    Returns:
        ``{"commit", "dirty"}`` and the difference: a patch of tracked files after the names of untracked ones, empty
        where nothing was changed. None where the package is installed, or git is not there.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None or _git("ls-files", "--error-unmatch", "--", str(PACKAGE / "__init__.py")) is None:
        return None  # an environment within somebody else's checkout is not ours
    patch = _git("diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD") or ""
    untracked = (_git("ls-files", "--others", "--exclude-standard", "--full-name", ":/") or "").splitlines()
    difference = "".join(f"untracked: {name}\n" for name in untracked) + patch
    if len(difference) > LIMIT:
        difference = difference[:LIMIT] + f"\n... {len(difference) - LIMIT} characters more\n"
    return {"commit": commit.strip(), "dirty": bool(difference)}, difference


def _git(*arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(PACKAGE), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")
