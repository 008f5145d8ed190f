"""A survey of places with a good view, each split in a strip of land of its own; queries stand at the same places."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from crosslocate.errors import ConfigError
from crosslocate.terrain.viewpoints.places import Strips, choose_places
from crosslocate.terrain.viewpoints.poses import PoseDistribution
from crosslocate.terrain.viewpoints.separation import require_apart
from crosslocate.terrain.viewpoints.survey import JSON, SPLITS, Surveyed
from crosslocate.terrain.viewpoints.views import database_cameras, query_cameras

if TYPE_CHECKING:
    from crosslocate.terrain.casting.raycast import RayCaster


@dataclass(frozen=True)
class StripSurvey:
    """Database views and simulated photographs at the same places; the defaults are the embedded sample.

    Attributes:
        places: Number of places by split; each split has a strip of the terrain of its own, from west to east.
        queries_per_place: Simulated photographs of each place, by split.
        headings: Database views of a place, at equal steps of heading from north.
        field_of_view: Horizontal field of view of the database views in degrees.
        poses: How the query cameras are held, and how high the places are above the ground.
        terrain_share: Smallest and largest share of a query picture that the terrain may cover. The default holds the
            middle 90 % of 1,974 real CrossLocate cameras around Mont Blanc (5, 50 and 95 %: 0.47, 0.71 and 0.95).
        spacing: Smallest distance between two places in metres.
        gap: Width of the empty strip of land between two splits in metres.
        margin: Distance of places from the edge of the terrain in metres.

    Raises:
        ConfigError: A value that cannot work, with its key.
    """

    places: Mapping[str, int] = field(default_factory=lambda: {"train": 360, "val": 120, "test": 120})
    queries_per_place: Mapping[str, int] = field(default_factory=lambda: {"train": 16, "val": 8, "test": 8})
    headings: int = 12
    field_of_view: float = 60.0
    poses: PoseDistribution = field(default_factory=PoseDistribution)
    terrain_share: tuple[float, float] = (0.45, 0.95)
    spacing: float = 150.0
    gap: float = 1000.0
    margin: float = 1200.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "terrain_share", tuple(self.terrain_share))
        for name in ("places", "queries_per_place"):
            for split, count in getattr(self, name).items():
                if split not in SPLITS:
                    raise ConfigError(f"survey.{name}", split, SPLITS)
                if count < 0:
                    raise ConfigError(f"survey.{name}.{split}", count, "0 or more")
        if self.headings < 1:
            raise ConfigError("survey.headings", self.headings, "1 or more")
        if not 0.0 < self.field_of_view < 180.0:
            raise ConfigError("survey.field_of_view", self.field_of_view, "between 0 and 180 degrees")
        self.poses.check("survey.poses")
        low, high = self.terrain_share
        if not 0.0 <= low < high <= 1.0:
            raise ConfigError("survey.terrain_share", list(self.terrain_share), "two ascending numbers in [0, 1]")
        for name in ("spacing", "gap", "margin"):
            if getattr(self, name) < 0.0:
                raise ConfigError(f"survey.{name}", getattr(self, name), "0 metres or more")

    def parameters(self) -> dict[str, JSON]:
        """All values as JSON holds them."""
        return {"survey": "strips", **json.loads(json.dumps(asdict(self)))}

    def cameras(self, caster: "RayCaster", *, aspect: float, seed: int, workers: int) -> Surveyed:
        """The places' views and photographs; see `Survey`.

        Raises:
            TerrainError: A strip has no room for its places, or two strips are closer than the gap.
        """
        terrain = caster.terrain
        places = choose_places(terrain, Strips(self.places, self.gap, self.margin, self.spacing), self.poses, seed=seed)
        database = database_cameras(places, headings=self.headings, horizontal_fov=np.radians(self.field_of_view))
        queries = query_cameras(
            caster,
            places,
            self.queries_per_place,
            self.poses,
            terrain_share=self.terrain_share,
            aspect=aspect,
            seed=seed,
            workers=workers,
        )
        findings = {
            "places": dict(self.places),
            "closest_between_splits_m": require_apart(places, gap=self.gap, key="survey.gap"),
        }
        return Surveyed(database, queries if len(queries) else None, findings)
