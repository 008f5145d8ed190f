"""Whether ``torch.compile`` works on this machine."""

import torch
from torch import Tensor

from crosslocate.console import say


def can_compile(device: str) -> bool:
    """Whether ``torch.compile`` works for a device; says so when it does not, and why."""
    reason = why_not_compiled(device)
    if reason is not None:
        say(f"compile=true: torch.compile does not work here ({reason}); going on without it")
    return reason is None


def why_not_compiled(device: str) -> str | None:
    """Try to compile something small for a device: what it needs, such as a C++ compiler, may be missing.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:<n>``.

    Returns:
        Why it does not work, in one line; None where it does.
    """
    try:
        torch.compile(_probe, fullgraph=True)(torch.ones(64, device=device))
    except Exception as error:  # whatever the compilers behind it run into
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return next(iter(lines), type(error).__name__)
    return None


def _probe(values: Tensor) -> Tensor:
    return torch.nn.functional.relu(values * 2.0 - 1.0)
