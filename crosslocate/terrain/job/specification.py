"""What a rendered data set shall hold of every view, in plain values."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from crosslocate.errors import ConfigError
from crosslocate.terrain.imagery.photo_settings import PhotoSettings

MODALITIES = ("photo", "depth", "axial_depth", "silhouettes", "edges", "segments", "normals", "coordinates")
"""What can be rendered: the names of `crosslocate.terrain.job.scene.PRODUCTS`, known without compiled code."""


@dataclass(frozen=True)
class Images:
    """The images of a data set.

    Attributes:
        width: Of all images, pixels.
        height: Of all images, pixels.
        database_modalities: What is rendered of the database views.
        query_modalities: What is rendered of the queries.
        depth_type: ``half`` or ``float``: precision of the depth files. A half ends at 65,504 m, and what is farther is
            stored as 65,504 m.
        photo: What simulated photographs look like.

    Raises:
        ConfigError: A size that cannot work, no or an unknown modality, with its key.
    """

    width: int = 128
    height: int = 96
    database_modalities: tuple[str, ...] = ("depth", "silhouettes", "segments")
    query_modalities: tuple[str, ...] = ("photo", "depth")
    depth_type: str = "half"
    photo: PhotoSettings = field(default_factory=PhotoSettings)

    def __post_init__(self) -> None:
        for name in ("database_modalities", "query_modalities"):
            object.__setattr__(self, name, _modalities(f"images.{name}", getattr(self, name)))
        if not self.database_modalities:
            raise ConfigError("images.database_modalities", [], "at least one of " + ", ".join(MODALITIES))
        for name in ("width", "height"):
            if getattr(self, name) < 1:
                raise ConfigError(f"images.{name}", getattr(self, name), "1 or more")

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height

    def of_role(self, role: str) -> tuple[str, ...]:
        """What is rendered of the views of ``database`` or of ``queries``."""
        return self.database_modalities if role == "database" else self.query_modalities

    def parameters(self) -> dict[str, Any]:
        """All values as JSON holds them."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def _modalities(key: str, names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in MODALITIES:
            raise ConfigError(key, name, MODALITIES)
    if len(set(names)) < len(names):
        raise ConfigError(key, list(names), "every modality once")
    return tuple(names)
