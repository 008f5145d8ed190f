"""The answer to "where was this photograph taken?": candidate places with what a person wants to know about each."""

from collections.abc import Sequence
from dataclasses import dataclass

from crosslocate.data.catalog import Catalog
from crosslocate.geo import geodesic_distance, heading_difference
from crosslocate.localization.photo import Photo, Pose
from crosslocate.localization.places import RankedPlace
from crosslocate.localization.selection import Selection
from crosslocate.retrieval.search_report import SearchReport

EVERYTHING = Selection()


@dataclass(frozen=True)
class Candidate:
    """One place where the photograph may have been taken.

    Args:
        rank: 1 is the best.
        row: Database row of the leading view, whose position is the place's.
        view: Its name.
        place: Number of the place in the database.
        pose: Position of the leading view, and the heading estimated from all supporting views.
        view_heading: Heading of the leading view, radians.
        horizontal_fov: Of the leading view, radians.
        share: Part of the retrieved views' weight that supports the place, 0 to 1.
        descriptor_distance: Between the photograph's and the leading view's descriptors.
        support: Names of the supporting views, the leading one first.
        from_best: Metres to the best candidate.
        from_truth: Metres to the true position, when known.
        heading_error: Radians to the true heading, in [0, pi], when known.
    """

    rank: int
    row: int
    view: str
    place: int
    pose: Pose
    view_heading: float
    horizontal_fov: float
    share: float
    descriptor_distance: float
    support: tuple[str, ...]
    from_best: float
    from_truth: float | None
    heading_error: float | None


@dataclass(frozen=True)
class Answer:
    """Ranked candidates for one photograph.

    Args:
        photo: What was asked.
        candidates: Best first; at least one.
        database: Catalog file that was searched.
        searched: Number of views searched.
        retrieved: Number of views that places were formed from.
        checkpoint: File of the network's weights.
        selection: Which views of the database were searched.
        search: What an approximate search loses; None where it was exact.
    """

    photo: Photo
    candidates: tuple[Candidate, ...]
    database: str
    searched: int
    retrieved: int
    checkpoint: str
    selection: Selection = EVERYTHING
    search: SearchReport | None = None

    @property
    def best(self) -> Candidate:
        """The first candidate."""
        return self.candidates[0]


def describe_places(places: Sequence[RankedPlace], database: Catalog, truth: Pose | None) -> tuple[Candidate, ...]:
    """Candidates from ranked places: names, positions, and distances to the best one and to the truth."""
    leaders = [place.rows[0] for place in places]
    best = leaders[0]

    def candidate(rank: int, place: RankedPlace) -> Candidate:
        row = place.rows[0]
        here = float(database.longitude[row]), float(database.latitude[row])
        from_best = geodesic_distance(*here, database.longitude[best], database.latitude[best])
        return Candidate(
            rank=rank,
            row=row,
            view=database.name(row),
            place=int(database.place[row]),
            pose=Pose(*here, float(database.elevation[row]), place.heading),
            view_heading=float(database.yaw[row]),
            horizontal_fov=float(database.horizontal_fov[row]),
            share=place.share,
            descriptor_distance=place.distance,
            support=tuple(database.names(place.rows)),
            from_best=float(from_best),
            from_truth=None if truth is None else float(geodesic_distance(*here, truth.longitude, truth.latitude)),
            heading_error=None if truth is None else float(heading_difference(place.heading, truth.heading)),
        )

    return tuple(candidate(rank, place) for rank, place in enumerate(places, start=1))
