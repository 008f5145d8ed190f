"""Are the splits of a data set apart: the closest positions of different splits.

A network that was trained on views of a valley has an easy time with the next camera in the same valley. So no
position of one split, of a query or a view, may be nearer than a gap to one of another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from crosslocate.errors import DataError
from crosslocate.geo import ecef, geodesic_distance

if TYPE_CHECKING:
    from crosslocate.data.catalog import Catalog

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Closest:
    """The two closest positions of two splits.

    Attributes:
        splits: Their splits.
        rows: Their rows.
        distance: Geodesic distance in metres.
    """

    splits: tuple[str, str]
    rows: tuple[int, int]
    distance: float


def closest_pairs(longitude: Floats, latitude: Floats, split: NDArray[Any]) -> list[Closest]:
    """The closest positions of every two splits, those of the nearest splits first; empty with fewer than two splits.

    Neighbours are found by straight lines through the earth, and geodesics decide among all that are within 1 % of the
    shortest: below 1,500 km these two lengths differ by less than that. Which neighbour of a point is the nearest is
    left to the straight lines: of two whose geodesics differ by millimetres the wrong one may count.

    Args:
        longitude: Degrees, [n].
        latitude: Degrees, [n].
        split: Names or numbers of the splits, [n].
    """
    splits = [(str(name), np.flatnonzero(split == name)) for name in np.unique(split)]
    distinct = [(name, rows[_distinct(longitude[rows], latitude[rows])]) for name, rows in splits]
    trees = [cKDTree(ecef(longitude[rows], latitude[rows])) for _, rows in distinct]
    found = []
    for a, b in combinations(range(len(distinct)), 2):
        (name, rows), (other, others) = distinct[a], distinct[b]
        straight, near = trees[b].query(trees[a].data)
        open_ = np.flatnonzero(straight <= 1.01 * straight.min() + 1e-3)
        one, two = rows[open_], others[near[open_]]
        apart = geodesic_distance(longitude[one], latitude[one], longitude[two], latitude[two])
        best = int(apart.argmin())
        found.append(Closest((name, other), (int(one[best]), int(two[best])), float(apart[best])))
    return sorted(found, key=lambda pair: pair.distance)


def leak_report(*catalogs: "Catalog", gap: float) -> Mapping[str, Any]:
    """Prove that the splits of catalogs (database and queries, of one split or of several) are apart.

    Returns:
        ``gap_m``, and ``closest_m``: the smallest geodesic distance by pair of splits, as ``"test-train"``.

    Raises:
        DataError: Two positions of different splits are closer than the gap; names both rows and files.
    """
    if not any(len(catalog) for catalog in catalogs):
        return {"gap_m": gap, "closest_m": {}}
    longitude, latitude = (np.concatenate([getattr(c, name) for c in catalogs]) for name in ("longitude", "latitude"))
    names = sorted({name for catalog in catalogs for name in catalog.splits})
    split = np.concatenate([_codes(catalog, names) for catalog in catalogs])
    found = closest_pairs(longitude, latitude, split)
    pairs = [replace(pair, splits=(names[int(pair.splits[0])], names[int(pair.splits[1])])) for pair in found]
    if pairs and pairs[0].distance < gap:
        ends = np.cumsum([len(catalog) for catalog in catalogs])
        said = []
        for row, name in zip(pairs[0].rows, pairs[0].splits, strict=True):
            which = int(np.searchsorted(ends, row, side="right"))
            said.append(f"{catalogs[which].describe(row - ends[which] + len(catalogs[which]))} of split {name}")
        raise DataError(f"{said[0]} is {pairs[0].distance:.1f} m from {said[1]}; a gap of {gap:.1f} m is asked for")
    return {"gap_m": gap, "closest_m": closest_by_splits(pairs)}


def closest_by_splits(pairs: list[Closest]) -> dict[str, float]:
    """Smallest distances in metres by the names of two splits."""
    return {"-".join(pair.splits): round(pair.distance, 3) for pair in pairs}


def _codes(catalog: "Catalog", names: list[str]) -> NDArray[np.int8]:
    """Number of each row's split among ``names``; a catalog holds its splits as numbers, too."""
    codes = np.empty(len(catalog), np.int8)
    done = 0
    for chunk in catalog.table["split"].chunks:
        known = chunk.dictionary.to_pylist()
        own = np.array([names.index(name) if name in names else 0 for name in known] or [0], np.int8)
        codes[done : done + len(chunk)] = own[chunk.indices.to_numpy(zero_copy_only=False)]
        done += len(chunk)
    return codes


def _distinct(longitude: Floats, latitude: Floats) -> NDArray[np.int64]:
    """Rows of the first of each position: views of a place share it."""
    return np.sort(np.unique(longitude + 1j * latitude, return_index=True)[1])
