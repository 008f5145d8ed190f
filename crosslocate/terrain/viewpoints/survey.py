"""What a survey is: the choice of all cameras of a data set on a terrain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from crosslocate.terrain.viewpoints.cameras import CameraTable

if TYPE_CHECKING:
    from crosslocate.terrain.casting.raycast import RayCaster

JSON: TypeAlias = Any
"""Numbers, texts, truth values, None, and lists and mappings of these: what a manifest holds."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Surveyed:
    """The cameras of a data set.

    Attributes:
        database: Views that are searched, one row each; the views of a place follow each other.
        queries: Photographs to be found, or None.
        findings: What was chosen, what was left out and why, and how far the splits are apart: for the manifest.
    """

    database: CameraTable
    queries: CameraTable | None
    findings: Mapping[str, JSON] = field(default_factory=dict)


class Survey(Protocol):
    """Chooses the cameras of a data set. An object of plain values: all that it knows of the terrain it is told."""

    def parameters(self) -> dict[str, JSON]:
        """Everything that the cameras depend on beside terrain, aspect and seed."""
        ...

    def cameras(self, caster: "RayCaster", *, aspect: float, seed: int, workers: int) -> Surveyed:
        """The cameras, the same whatever the number of workers.

        Args:
            caster: Sees the terrain.
            aspect: Width over height of the images.
            seed: Seed of every draw.
            workers: Threads.

        Raises:
            ConfigError: A value cannot work, with its key in the configuration.
            TerrainError: The terrain has no room for what is asked.
        """
        ...
