"""From retrieved views to ranked places with a heading: views that agree on position and heading support each other.

A photograph is rarely taken exactly along one of the rendered headings, so two neighbouring views of the right place
both resemble it. Every retrieved view therefore gets a weight, and the views around a leading one pool theirs:

1. Weights are a softmax over the retrieved views, ``w_i ~ exp(-d_i^2 / (2 T))`` with descriptor distance d and
   temperature T. For unit descriptors this is ``exp(cosine / T)``, the model that InfoNCE trains.
2. Going through the views from the nearest descriptor on, the first one that belongs to no place yet leads a new place:
   all retrieved views within ``radius`` metres belong to it. Those whose heading is within ``heading`` of the leader's
   support it; views to other sides of the same place do not, for a photograph looks one way only.
3. A place's share is the sum of its supporting weights, its heading their weighted circular mean. Places are ranked by
   share; equal shares keep the order of their leaders.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.catalog import Catalog
from crosslocate.geo import geodesic_distance, heading_difference, wrap_heading

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Grouping:
    """How retrieved views become places.

    Args:
        radius: Metres around the leading view within which views belong to its place.
        heading: Radians; views of a place that look at most this much away from its leading view support it.
        temperature: Of the softmax over the retrieved views, in units of squared descriptor distance (halved).
    """

    radius: float
    heading: float
    temperature: float


@dataclass(frozen=True)
class RankedPlace:
    """One place with the evidence for it.

    Args:
        rows: Catalog rows of the supporting views, the leading view first.
        share: Part of the retrieved views' weight that supports it, 0 to 1.
        heading: Radians clockwise from true north, in [0, 2 pi).
        distance: Descriptor distance of the leading view.
    """

    rows: tuple[int, ...]
    share: float
    heading: float
    distance: float


def rank_places(
    database: Catalog, rows: Rows, distances: NDArray[np.floating], grouping: Grouping
) -> list[RankedPlace]:
    """Group the views retrieved for one photograph into places, best first.

    Args:
        database: Catalog that ``rows`` index.
        rows: Retrieved rows [k], nearest descriptor first.
        distances: Their descriptor distances [k], ascending.
        grouping: What makes views a place.
    """
    weights = view_weights(np.asarray(distances, np.float64), grouping.temperature)
    views = database.take(rows)
    longitude, latitude, yaw = views.longitude, views.latitude, views.yaw
    free = np.ones(len(rows), bool)
    places = []
    while free.any():
        leader = int(np.argmax(free))
        apart = geodesic_distance(longitude[leader], latitude[leader], longitude, latitude)
        here = free & (apart <= grouping.radius)
        support = np.flatnonzero(here & (heading_difference(yaw[leader], yaw) <= grouping.heading))
        heading = mean_heading(yaw[support], weights[support])
        share = float(weights[support].sum())
        places.append(RankedPlace(tuple(rows[support].tolist()), share, heading, float(distances[leader])))
        free &= ~here
    return sorted(places, key=lambda place: -place.share)


def view_weights(distances: Floats, temperature: float) -> Floats:
    """Softmax of ``-d^2 / (2 temperature)`` over descriptor distances [k]; sums to one."""
    exponent = -(distances**2 - np.min(distances) ** 2) / (2.0 * temperature)
    weights = np.exp(exponent)
    return weights / weights.sum()


def mean_heading(headings: Floats | Sequence[float], weights: Floats | Sequence[float]) -> float:
    """Weighted circular mean of headings in radians, in [0, 2 pi); the first one where they cancel out."""
    total = np.sum(np.asarray(weights) * np.exp(1j * np.asarray(headings)))
    heading = np.angle(total) if abs(total) > 1e-12 * np.sum(weights) else np.asarray(headings)[0]
    return float(wrap_heading(heading))
