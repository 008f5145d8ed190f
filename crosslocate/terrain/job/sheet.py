"""A picture of a rendered data set, for a person: queries beside the nearest database view, or views alone."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.catalog import Catalog, read_catalog
from crosslocate.data.colours import as_bytes
from crosslocate.data.images import decode
from crosslocate.geo import ecef, heading_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4
_TELLING = ("photo", "depth", "axial_depth", "segments", "silhouettes", "normals", "edges")
"""Modalities that can be drawn, in the order in which a person likes to look at them."""


def contact_sheet(root: Path, path: Path, *, count: int = 24, seed: int = 0) -> Path | None:
    """Write a PNG of ``count`` queries, each beside the view of its place that looks the same way.

    Of a data set without queries, it shows views in two modalities.

    Args:
        root: A rendered data set; its images may lie in files or archives, or be rendered when they are read.
        path: PNG file to write.
        count: Number of queries or views, chosen at random.
        seed: Seed of the choice.

    Returns:
        The file; None where a catalog has no modality that can be drawn.

    Raises:
        DataError: An image cannot be read.
    """
    from matplotlib.figure import Figure

    database = read_catalog(Path(root) / "database.parquet")
    file = Path(root) / "queries.parquet"
    queries = read_catalog(file) if file.is_file() else None
    shown = database if queries is None or not len(queries) else queries
    if not all(drawable(catalog) for catalog in (shown, database)):
        return None
    chosen = np.sort(np.random.default_rng(seed).permutation(len(shown))[:count])
    rows = max(1, -(-len(chosen) // _COLUMNS))
    height, width = _picture(shown, _modality(shown), 0).shape[:2] if len(shown) else (3, 4)
    figure = Figure(figsize=(3.6 * _COLUMNS, rows * (1.8 * height / width + 0.25)))
    figure.subplots_adjust(0.005, 0.005, 0.995, 1.0 - 0.18 / (rows * (1.8 * height / width + 0.25)), 0.03, 0.2)
    axes = figure.subplots(rows, 2 * _COLUMNS, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for row, left, right in zip(chosen, axes[:, ::2].flat, axes[:, 1::2].flat, strict=False):
        _draw(left, shown, _modality(shown), int(row), full=True)
        if shown is not database:
            view = nearest_view(shown, database, int(row))
            if view is not None:
                _draw(right, database, _modality(database, "photo"), view)
        elif len(drawable(database)) > 1:
            _draw(right, database, _modality(database, _modality(database)), int(row))
    figure.savefig(path, format="png", dpi=100, metadata={"Software": None})
    return path


def nearest_view(queries: Catalog, database: Catalog, row: int) -> int | None:
    """Row of the database view with the closest heading, of the query's place or else of the place nearest to it.

    None where the database is empty.
    """
    if not len(database):
        return None
    views = np.flatnonzero(database.place == queries.place[row])
    if not len(views):
        here = ecef(queries.longitude[row], queries.latitude[row])
        apart = np.linalg.norm(ecef(database.longitude, database.latitude) - here, axis=-1)
        views = np.flatnonzero(apart <= apart.min() + 1.0)
    return int(views[heading_difference(database.yaw[views], queries.yaw[row]).argmin()])


def drawable(catalog: Catalog) -> list[str]:
    """The modalities of a catalog that can be drawn, the most telling first."""
    return [modality for modality in _TELLING if modality in catalog.images]


def _modality(catalog: Catalog, other_than: str = "") -> str:
    """The most telling modality of a catalog, if possible another than the one given."""
    order = drawable(catalog)
    return next((modality for modality in order if modality != other_than), order[0])


def _picture(catalog: Catalog, modality: str, row: int) -> NDArray[np.uint8]:
    return as_bytes(decode(catalog.image_path(modality, row), modality), modality)


def _draw(ax: "Axes", catalog: Catalog, modality: str, row: int, *, full: bool = False) -> None:
    ax.imshow(_picture(catalog, modality, row))
    heading, fov = np.degrees(catalog.yaw[row]), np.degrees(catalog.horizontal_fov[row])
    ax.set_title(f"{catalog.name(row)}  {heading:.0f}°, fov {fov:.0f}°" if full else f"view {heading:.0f}°", fontsize=7)
