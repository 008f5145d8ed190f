"""What a rendered data set shall hold, in plain values: how many places, which views, which images."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from crosslocate.errors import ConfigError
from crosslocate.terrain.viewpoints.poses import PoseDistribution

SPLITS = ("train", "val", "test")
_HALF_REACH = 65_000.0  # metres; 16-bit floats end at 65,504


@dataclass(frozen=True)
class Specification:
    """A data set to render; the defaults are the embedded sample.

    Attributes:
        places: Number of places by split; each split has a strip of the terrain of its own, from west to east.
        queries_per_place: Simulated photographs of each place, by split.
        headings: Database views of a place, at equal steps of heading from north.
        field_of_view: Horizontal field of view of the database views in degrees.
        width: Of all images, pixels.
        height: Of all images, pixels.
        database_modalities: What is rendered of the database views.
        query_modalities: What is rendered of the queries.
        poses: How the query cameras are held, and how high the places are above the ground.
        terrain_share: Smallest and largest share of a query picture that the terrain may cover. The default holds the
            middle 90 % of 1,974 real CrossLocate cameras around Mont Blanc (5, 50 and 95 %: 0.47, 0.71 and 0.95).
        spacing: Smallest distance between two places in metres.
        gap: Width of the empty strip of land between two splits in metres.
        margin: Distance of places from the edge of the elevation model in metres.
        refraction: Coefficient k of the light's curvature relative to the earth's.
        max_distance: Farthest ground that is seen, metres.
        depth_type: ``half`` or ``float``: precision of the depth files.
        seed: Seed of every draw.
    """

    places: Mapping[str, int] = field(default_factory=lambda: {"train": 360, "val": 120, "test": 120})
    queries_per_place: Mapping[str, int] = field(default_factory=lambda: {"train": 16, "val": 8, "test": 8})
    headings: int = 12
    field_of_view: float = 60.0
    width: int = 128
    height: int = 96
    database_modalities: tuple[str, ...] = ("depth", "silhouettes", "segments")
    query_modalities: tuple[str, ...] = ("photo", "depth")
    poses: PoseDistribution = field(default_factory=PoseDistribution)
    terrain_share: tuple[float, float] = (0.45, 0.95)
    spacing: float = 150.0
    gap: float = 1000.0
    margin: float = 1200.0
    refraction: float = 0.13
    max_distance: float = 60000.0
    depth_type: str = "half"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("database_modalities", "query_modalities", "terrain_share"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("places", "queries_per_place"):
            for split, count in getattr(self, name).items():
                if split not in SPLITS:
                    raise ConfigError(f"terrain.{name}", split, SPLITS)
                if count < 0:
                    raise ConfigError(f"terrain.{name}.{split}", count, "0 or more")
        for name in ("headings", "width", "height"):
            if getattr(self, name) < 1:
                raise ConfigError(f"terrain.{name}", getattr(self, name), "1 or more")
        if not 0.0 < self.field_of_view < 180.0:
            raise ConfigError("terrain.field_of_view", self.field_of_view, "between 0 and 180 degrees")
        low, high = self.terrain_share
        if not 0.0 <= low < high <= 1.0:
            raise ConfigError("terrain.terrain_share", list(self.terrain_share), "two ascending numbers in [0, 1]")
        if self.depth_type == "half" and self.max_distance > _HALF_REACH:
            raise ConfigError(
                "terrain.max_distance",
                self.max_distance,
                f"up to {_HALF_REACH:.0f} m with depth_type=half",
                "Or use float",
            )
        for name in ("spacing", "gap", "margin"):
            if getattr(self, name) < 0.0:
                raise ConfigError(f"terrain.{name}", getattr(self, name), "0 metres or more")

    def parameters(self) -> dict[str, Any]:
        """All values as JSON holds them."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain
