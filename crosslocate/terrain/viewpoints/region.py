"""A survey of a region: viewpoints of the database, photographs to be found, and splits by land.

Everything is a column: half a million places with twelve views each take seconds and a gigabyte, beside the look round
from each (`VisibleTerrain`, less than a millisecond).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from crosslocate.errors import ConfigError, TerrainError
from crosslocate.geo import ecef, geodesic_distance
from crosslocate.terrain.viewpoints.area import area_of
from crosslocate.terrain.viewpoints.photographs import Photographs
from crosslocate.terrain.viewpoints.positions import DATABASE, QUERIES, Positions, Site, Viewpoints
from crosslocate.terrain.viewpoints.schemes import Grid, Nowhere
from crosslocate.terrain.viewpoints.separation import require_apart
from crosslocate.terrain.viewpoints.splits import Blocks, Splits
from crosslocate.terrain.viewpoints.survey import JSON, SPLITS, Surveyed
from crosslocate.terrain.viewpoints.views import view_table
from crosslocate.terrain.viewpoints.visibility import VisibleTerrain, visible_terrain

if TYPE_CHECKING:
    from crosslocate.terrain.casting.raycast import RayCaster

_DATABASE, _QUERIES, _HEIGHTS = 10, 11, 12  # streams of random numbers
_EXAMPLES = 5


@dataclass(frozen=True)
class RegionSurvey:
    """Database views at viewpoints of one scheme, queries at those of another.

    Attributes:
        database: Where the views are taken.
        queries: Where the photographs are taken; `Nowhere` for none.
        region: [west, south, east, north] in degrees, a GeoJSON file with polygons, or None: the terrain's extent.
        margin: Metres kept from the edge of the terrain, where the region is its extent.
        sea: Ground at exactly this elevation is open water, where nobody stands; None: nothing is.
        eye_height: Of cameras above the ground in metres, where a list does not say; none stands lower.
        lift: Whether a camera that a list has lower than that is lifted (and counted); else it is an error.
        visible: Which places of the database see enough; None: all do. Poses with a heading are never left out.
        headings: Views of a place, at equal steps, where a list gives no heading.
        first_heading: The first of them in degrees.
        field_of_view: Of views in degrees, where a list does not say.
        photographs: How simulated photographs are taken, where a list of queries gives no heading.
        splits: Which positions train, which validate, which test.
        near: Metres within which every query should have a view of its split; those that have none are told.
    """

    database: Viewpoints = field(default_factory=Grid)
    queries: Viewpoints = field(default_factory=Nowhere)
    region: Sequence[float] | str | None = None
    margin: float = 0.0
    sea: float | None = 0.0
    eye_height: float = 2.0
    lift: bool = True
    visible: VisibleTerrain | None = field(default_factory=VisibleTerrain)
    headings: int = 12
    first_heading: float = 0.0
    field_of_view: float = 60.0
    photographs: Photographs = field(default_factory=Photographs)
    splits: Splits = field(default_factory=Blocks)
    near: float = 1000.0

    def __post_init__(self) -> None:
        self.database.check(DATABASE)
        self.queries.check(QUERIES)
        if self.headings < 1:
            raise ConfigError("survey.headings", self.headings, "1 or more")
        if not -360.0 <= self.first_heading <= 360.0:
            raise ConfigError("survey.first_heading", self.first_heading, "-360 to 360 degrees")
        if not 0.0 < self.field_of_view < 180.0:
            raise ConfigError("survey.field_of_view", self.field_of_view, "between 0 and 180 degrees")
        if not 0.0 < self.eye_height < 10_000.0:
            raise ConfigError("survey.eye_height", self.eye_height, "a positive height in metres")
        self.photographs.poses.check("survey.photographs.poses")
        for name in ("margin", "near"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise ConfigError(f"survey.{name}", getattr(self, name), "0 metres or more")

    def parameters(self) -> dict[str, JSON]:
        """All values as JSON holds them, the classes of the parts, and of files the name and the SHA-256."""
        plain = json.loads(json.dumps(asdict(self)))
        kinds = {name: type(getattr(self, name)).__name__ for name in ("database", "queries", "splits")}
        files = {}
        holders = {"region": (plain, "region")} | {role: (plain[role], "path") for role in ("database", "queries")}
        for name, (holder, key) in holders.items():
            if isinstance(holder.get(key), str):
                path = Path(holder[key])
                holder[key], files[name] = path.name, _print_of(path)
        return {"survey": "region", **plain, "kinds": kinds, "files": files}

    def cameras(self, caster: "RayCaster", *, aspect: float, seed: int, workers: int) -> Surveyed:
        """The views and photographs; see `Survey`.

        Raises:
            TerrainError: No place is left, or the splits are closer than their gap.
        """
        terrain = caster.terrain
        site = Site(area_of(self.region, terrain, self.margin), terrain, self.sea, aspect=aspect)
        places, told = self._standing(self.database.positions(site, default_rng([seed, _DATABASE])))
        if self.visible is not None:
            kept, reasons = self._seeing(self.visible, caster, places, workers)
            places, told["left_out"] = places.take(kept), {**told["left_out"], **reasons}
        _require_some(places, told)
        divided = places
        places, told["splits"] = self._divided(places, divided, seed)
        _require_some(places, told)
        photographed = self.queries.positions(replace(site, database=places), default_rng([seed, _QUERIES]))
        heights = self.photographs.heights(photographed, default_rng([seed, _HEIGHTS]))
        queries, told_queries = self._standing(photographed.take(slice(None), height=heights))
        queries, told_queries["splits"] = self._divided(queries, divided, seed)
        _require_every_split(places, told)
        place, told_queries["nearest_view"] = _nearest(places, queries, self.near)
        fov = np.radians(self.field_of_view)
        database = view_table(places, headings=self.headings, first=np.radians(self.first_heading), fov=fov)
        shots = self.photographs.table(caster, queries, place, fov=fov, aspect=aspect, seed=seed, workers=workers)
        findings: dict[str, Any] = {
            "database": {"places": _by_split(places.split), "views": _by_split(database.split), **told},
            "closest_between_splits_m": require_apart(places, queries, gap=self.splits.gap, key="survey.splits.gap"),
        }
        if told_queries["chosen"] or told_queries["left_out"]:
            of_split = {"places": _by_split(queries.split), "photographs": _by_split(shots.split)}
            findings["queries"] = {**of_split, **told_queries}
        return Surveyed(database, shots if len(shots) else None, findings)

    def _seeing(
        self, visible: VisibleTerrain, caster: "RayCaster", places: Positions, workers: int
    ) -> tuple[NDArray[np.bool_], dict[str, int]]:
        """Which places see enough, [n], and how many do not, by reason. Poses of a list are wanted as they are."""
        free = np.flatnonzero(np.isnan(places.yaw))
        kept = np.ones(len(places), bool)
        seen = visible_terrain(
            caster.terrain, places.longitude[free], places.latitude[free], places.altitude[free],
            reach=min(visible.reach, caster.max_distance), refraction=caster.refraction, workers=workers,
        )  # fmt: skip
        kept[free], reasons = visible.keep(*seen)
        return kept, reasons

    def _standing(self, positions: Positions) -> tuple[Positions, dict[str, Any]]:
        """Positions with the altitude of their cameras, none lower than eye height, and what was done."""
        height = np.where(np.isnan(positions.height), self.eye_height, positions.height)
        altitude = np.where(np.isnan(positions.altitude), positions.ground + height, positions.altitude)
        lowest = positions.ground + self.eye_height
        low = altitude < lowest - 1e-6
        for row in np.flatnonzero(low)[: 0 if self.lift else 1]:
            raise TerrainError(
                f"viewpoint {positions.name[row]} at ({positions.longitude[row]:.6f}, {positions.latitude[row]:.6f}) "
                f"is at {altitude[row]:.2f} m, less than survey.eye_height={self.eye_height} m above the ground at "
                f"{positions.ground[row]:.2f} m; survey.lift=true lifts such cameras"
            )
        told: dict[str, Any] = {
            "chosen": len(positions),
            "left_out": dict(positions.left_out),
            "lifted": int(low.sum()),
            "most_lifted_m": round(float((lowest - altitude).max(initial=0.0)), 2),
        }
        if told["lifted"]:
            told["for_example"] = positions.name[low][:_EXAMPLES].tolist()
        return positions.take(slice(None), altitude=np.where(low, lowest, altitude)), told

    def _divided(self, positions: Positions, database: Positions, seed: int) -> tuple[Positions, dict[str, Any]]:
        """Positions with their splits, without those that are left out."""
        split, told = self.splits.assign(positions, database, seed)
        kept = split != ""
        return positions.take(kept, split=split[kept]), told


def _print_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise TerrainError(f"{path}: cannot be read: {error}") from error


def _require_some(places: Positions, told: dict[str, Any]) -> None:
    if not len(places):
        raise TerrainError(
            f"no place of the database is left: {told}; look at survey.region, database, visible, splits"
        )


def _require_every_split(places: Positions, told: dict[str, Any]) -> None:
    for name in told["splits"].get("blocks", {}):
        if not (places.split == name).any():
            raise TerrainError(
                f"the gaps leave no place of {name}: {told['splits']}; make survey.splits.size larger, its gap "
                "smaller, or take another seed or a larger region"
            )


def _by_split(split: NDArray[np.str_]) -> dict[str, int]:
    return {name: int((split == name).sum()) for name in SPLITS}


def _nearest(places: Positions, queries: Positions, near: float) -> tuple[NDArray[np.int32], dict[str, Any]]:
    """Number of each query's place, and how far its nearest place of the database in its split is.

    A query at the camera of a place has that place's number; others have numbers of their own after the places'.
    """
    number = len(places) + np.arange(len(queries), dtype=np.int32)
    distance = np.full(len(queries), np.inf)
    for split in np.unique(queries.split):
        rows, views = np.flatnonzero(queries.split == split), np.flatnonzero(places.split == split)
        if not len(views):
            continue
        tree = cKDTree(ecef(places.longitude[views], places.latitude[views]))
        best = views[tree.query(ecef(queries.longitude[rows], queries.latitude[rows]))[1]]
        distance[rows] = geodesic_distance(
            queries.longitude[rows], queries.latitude[rows], places.longitude[best], places.latitude[best]
        )
        same = (distance[rows] == 0.0) & (queries.altitude[rows] == places.altitude[best])
        number[rows[same]] = best[same]
    far = np.flatnonzero(distance > near)
    finite = distance[np.isfinite(distance)]
    return number, {
        "near_m": near,
        "farther": len(far),
        "for_example": queries.name[far[:_EXAMPLES]].tolist(),
        "without_any": int(np.isinf(distance).sum()),
        "median_m": round(float(np.median(finite)), 1) if len(finite) else None,
        "largest_m": round(float(finite.max()), 1) if len(finite) else None,
    }
