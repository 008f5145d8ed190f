"""What simulated photographs shall look like; whatever is left open is drawn anew for every view."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PhotoSettings:
    """Season, weather and time of simulated photographs."""
