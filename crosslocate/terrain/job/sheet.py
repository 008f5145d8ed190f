"""A picture of a rendered data set, for a person: photographs beside the nearest database view's depth."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.catalog import Catalog, read_catalog
from crosslocate.data.images import decode
from crosslocate.errors import TerrainError
from crosslocate.geo import heading_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4


def contact_sheet(root: Path, path: Path, *, count: int = 24, seed: int = 0) -> Path:
    """Write a PNG of ``count`` queries, each beside the depth of the view of its place that looks the same way.

    Args:
        root: A rendered data set whose queries have photos and whose database has depth.
        path: PNG file to write.
        count: Number of queries, chosen at random.
        seed: Seed of the choice.

    Raises:
        TerrainError: The data set lacks the photos or the depth.
    """
    from matplotlib.figure import Figure

    queries, database = read_catalog(Path(root) / "queries.parquet"), read_catalog(Path(root) / "database.parquet")
    for catalog, modality in ((queries, "photo"), (database, "depth")):
        if modality not in catalog.images:
            raise TerrainError(f"{root} has no {modality} of its {catalog.role}: a contact sheet needs it")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(queries))[:count])
    rows = max(1, -(-len(chosen) // _COLUMNS))
    height, width = decode(queries.image_path("photo", 0), "photo").shape[:2]
    figure = Figure(
        figsize=(3.6 * _COLUMNS, rows * (1.8 * height / width + 0.25)),
    )
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.98, 0.03, 0.2)
    axes = figure.subplots(rows, 2 * _COLUMNS, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for row, left, right in zip(chosen, axes[:, ::2].flat, axes[:, 1::2].flat, strict=False):
        _draw_pair(queries, database, int(row), left, right)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    return path


def nearest_view(queries: Catalog, database: Catalog, row: int) -> int | None:
    """Row of the database view of the query's place with the closest heading; None where there is none."""
    views = np.flatnonzero(database.place == queries.place[row])
    if not len(views):
        return None
    return int(views[heading_difference(database.yaw[views], queries.yaw[row]).argmin()])


def depth_colours(depth: NDArray[np.floating]) -> NDArray[np.uint8]:
    """RGB picture of a depth image: from dark (1 m) to bright (30 km) on a logarithmic scale, sky white."""
    from matplotlib import colormaps

    scale = np.log10(np.maximum(depth, 1.0)) / np.log10(30000.0)
    colours = np.round(colormaps["viridis"](np.clip(scale, 0.0, 1.0))[..., :3] * 255.0)
    return np.where((depth < 0.0)[..., None], 255.0, colours).astype(np.uint8)


def _draw_pair(queries: Catalog, database: Catalog, row: int, left: "Axes", right: "Axes") -> None:
    left.imshow(decode(queries.image_path("photo", row), "photo"))
    heading, fov = np.degrees(queries.yaw[row]), np.degrees(queries.horizontal_fov[row])
    left.set_title(f"{queries.name(row)}  {heading:.0f}°, fov {fov:.0f}°", fontsize=7)
    view = nearest_view(queries, database, row)
    if view is not None:
        right.imshow(depth_colours(decode(database.image_path("depth", view), "depth")))
        right.set_title(f"view {np.degrees(database.yaw[view]):.0f}°", fontsize=7)
