"""A map of a rendered data set, for a person: where its viewpoints are on the relief, and in which split."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from crosslocate.data.catalog import Catalog, read_catalog
from crosslocate.geo import geodesic_distance
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.job.manifest import read_manifest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Extent = tuple[float, float, float, float]
"""West, south, east, north in degrees; east may be beyond 180."""

_INCHES, _DPI = 10.0, 120
_PIXELS = 900  # of the relief along its longer side
_MARGIN = 0.06  # of the extent of the viewpoints, around them
_TINTS = ("#b9c9ac", "#d3cdab", "#c9b592", "#b9a594", "#e8e6e4")
_COLOURS = {"train": "#1f6fb4", "val": "#d98b0c", "test": "#b5243a"}
_LETTERS = 16  # of what is told below the map, an inch
_OTHER, _GREY = "#5b4a8a", "#666666"


def coverage_map(root: Path, terrain: Terrain, path: Path) -> Path:
    """Write a PNG of all viewpoints: dots for places of the database, crosses for queries, coloured by split.

    Below it stands how many positions the survey has left out, and why; where they were it does not keep.

    Memory is that of the viewpoints and of a coarse level of the terrain, however large both are.

    Args:
        root: A rendered data set.
        terrain: What its views show.
        path: PNG file to write.

    Raises:
        DataError: A catalog cannot be read.
        TerrainError: The data set is not complete.
    """
    from matplotlib.figure import Figure

    catalogs = {role: read_catalog(Path(root) / f"{role}.parquet") for role in ("database", "queries")
                if (Path(root) / f"{role}.parquet").is_file()}  # fmt: skip
    points = {role: viewpoints(catalog) for role, catalog in catalogs.items()}
    extent = extent_of([(lon, lat) for lon, lat, _ in points.values()])
    width, height = size_of(extent)
    scale = _INCHES / max(width, height)
    figure = Figure(figsize=(max(4.5, width * scale), max(2.5, height * scale) + 0.8), layout="constrained")
    ax = figure.add_subplot()
    west, south, east, north = extent
    ax.set(xlim=(west, east), ylim=(south, north), aspect=height / width * (east - west) / (north - south))
    ax.imshow(relief(terrain, extent), extent=(west, east, south, north), aspect="auto", interpolation="bilinear")
    for role, (lon, lat, split) in points.items():
        _draw_points(ax, role, wrapped(lon, west), lat, split)
    _draw_scale_bar(ax, extent)
    ax.tick_params(labelsize=7)
    ax.ticklabel_format(useOffset=False)
    _label_longitudes(ax)
    columns = int(figure.get_figwidth() * _LETTERS)
    told = [line for text in left_out(read_manifest(root)["survey"]) for line in wrap(text, columns)]
    legend = ax.legend(
        title="\n".join(told), title_fontsize=7, alignment="left", markerscale=1.2,
        loc="upper left", bbox_to_anchor=(0.0, -0.05), ncols=3, fontsize=7, frameon=False, borderpad=0.0,
    )  # fmt: skip
    legend.get_title().set_color(_GREY)
    figure.savefig(path, format="png", dpi=_DPI, metadata={"Software": None})
    return path


def viewpoints(catalog: Catalog) -> tuple[Floats, Floats, NDArray[np.str_]]:
    """Longitude, latitude and split of every place of a catalog (its first row counts), or of every query."""
    rows = np.arange(len(catalog))
    if catalog.role == "database":
        rows = np.unique(catalog.place, return_index=True)[1]
    column = catalog.table["split"].chunk(0)
    names = np.array([*column.dictionary.to_pylist(), ""], np.str_)
    return catalog.longitude[rows], catalog.latitude[rows], names[column.indices.to_numpy()[rows]]


def left_out(findings: Mapping[str, Any]) -> list[str]:
    """How many positions a survey did not take, and why: a line for each role that has some."""
    lines = []
    for role, what in (("database", "places"), ("queries", "positions of queries")):
        found = findings.get(role, {})
        counts = {**found.get("left_out", {}), **found.get("splits", {})}
        counts = {reason: count for reason, count in counts.items() if isinstance(count, int) and count}
        if counts:
            reasons = sorted(counts, key=lambda reason: (-counts[reason], reason))
            told = ", ".join(f"{reason.replace('_', ' ')} {counts[reason]:,}" for reason in reasons)
            lines.append(f"{what} left out: {sum(counts.values()):,} ({told})")
    return lines


def extent_of(positions: list[tuple[Floats, Floats]]) -> Extent:
    """Limits of some positions, and a margin; across the antimeridian where that is the shorter way."""
    lon = np.concatenate([np.asarray(lon) for lon, _ in positions])
    lat = np.concatenate([np.asarray(lat) for _, lat in positions])
    if not len(lon):
        return -180.0, -90.0, 180.0, 90.0
    if np.ptp(lon % 360.0) < np.ptp(lon) - 1e-6:  # more than rounding
        lon = lon % 360.0
    middle = 0.5 * float(lat.min() + lat.max())
    least = 0.03  # degrees of latitude: some kilometres
    tall = max(float(np.ptp(lat)) * (1.0 + 2.0 * _MARGIN), least)
    wide = max(float(np.ptp(lon)) * (1.0 + 2.0 * _MARGIN), least / max(np.cos(np.radians(middle)), 0.01))
    tall, wide = max(tall, 0.3 * wide * np.cos(np.radians(middle))), max(wide, 0.3 * tall)
    centre = 0.5 * float(lon.min() + lon.max())
    return centre - wide / 2, max(middle - tall / 2, -90.0), centre + wide / 2, min(middle + tall / 2, 90.0)


def size_of(extent: Extent) -> tuple[float, float]:
    """Metres from west to east along the middle parallel, and from south to north."""
    west, south, east, north = extent
    middle, half = 0.5 * (south + north), 0.5 * (west + east)
    width = 2.0 * float(geodesic_distance(west, middle, half, middle))
    return width, float(geodesic_distance(half, south, half, north))


def wrapped(longitude: Floats, west: float) -> Floats:
    """Longitudes as they are east of a meridian."""
    return west + (longitude - west) % 360.0


def overview(terrain: Terrain, layer: int, metres: float) -> Dem:
    """The coarsest level of detail of a layer whose posts are not farther apart than ``metres``."""
    sheets, dem = terrain.sheets, terrain.layers[layer]
    column, row = (dem.shape[1] - 1) / 2, (dem.shape[0] - 1) / 2
    lon, lat = dem.position_of(np.array([column, column + 1.0]), np.array([row, row]))
    spacing = float(geodesic_distance(lon[0], lat[0], lon[1], lat[1]))
    own = np.flatnonzero(sheets.layer == layer)
    level = int(np.clip(np.floor(np.log2(max(metres / spacing, 1.0))), 0, sheets.level[own[-1]]))
    posts = sheets.view(int(own[level]), terrain.posts)
    if not np.isfinite(posts).any():
        return dem
    own_posts, step = dem.transform, 2.0**level
    scaled = (own_posts.a * step, own_posts.b * step, own_posts.c, own_posts.d * step, own_posts.e * step, own_posts.f)
    return Dem(posts, Affine(*scaled), dem.crs)


def relief(terrain: Terrain, extent: Extent) -> NDArray[np.float64]:
    """Shaded relief in pale tints, RGBA [rows, columns, 4], row 0 in the north; white where nothing is known."""
    from matplotlib.colors import LightSource, LinearSegmentedColormap

    west, south, east, north = extent
    width, height = size_of(extent)
    step = max(width, height) / _PIXELS
    columns, rows = max(2, round(width / step)), max(2, round(height / step))
    lon, lat = np.meshgrid(
        west + (np.arange(columns) + 0.5) / columns * (east - west),
        north - (np.arange(rows) + 0.5) / rows * (north - south),
    )
    lon = (lon + 180.0) % 360.0 - 180.0
    surface = np.full(lon.shape, np.nan)
    for layer in range(len(terrain.layers)):
        surface = np.where(np.isnan(surface), overview(terrain, layer, step).elevation_at(lon, lat), surface)
    known = np.isfinite(surface)
    if not known.any():
        return np.ones((rows, columns, 4))
    low, high = (float(v) for v in np.percentile(surface[known], [1, 99]))
    filled = np.where(known, surface, low)
    slopes = np.hypot(*np.gradient(filled, step))[known]
    exaggeration = float(np.clip(0.4 / max(float(np.percentile(slopes, 90)), 1e-6), 0.5, 8.0))
    tints = LinearSegmentedColormap.from_list("tints", _TINTS)
    shaded = LightSource(315, 45).shade(
        filled, tints, blend_mode="soft", vmin=low, vmax=max(high, low + 1.0), vert_exag=exaggeration, dx=step, dy=step
    )
    shaded[~known] = 1.0
    return np.asarray(shaded, np.float64)


def _label_longitudes(ax: "Axes") -> None:
    """Number the meridians from -180 to 180 degrees, on both sides of the antimeridian."""
    from matplotlib.ticker import ScalarFormatter

    class Longitudes(ScalarFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return super().__call__((x + 180.0) % 360.0 - 180.0, pos)

    ax.xaxis.set_major_formatter(Longitudes(useOffset=False))


def _draw_points(ax: "Axes", role: str, lon: Floats, lat: Floats, split: NDArray[np.str_]) -> None:
    size = float(np.clip(110.0 / np.sqrt(max(len(lon), 1)), 0.4, 4.0))
    for name in sorted(set(split.tolist()), key=lambda s: [*_COLOURS, s].index(s)):
        of_split = split == name
        colour = _COLOURS.get(name, _OTHER)
        label = f"{name} {'places' if role == 'database' else 'queries'} ({of_split.sum():,})"
        if role == "database":
            style = {"marker": "o", "markersize": size, "markeredgewidth": 0.0, "alpha": 0.9}
        else:
            style = {"marker": "+", "markersize": min(2.2 * size + 1.0, 7.0), "markeredgewidth": 0.7, "alpha": 0.9}
        ax.plot(lon[of_split], lat[of_split], linestyle="none", color=colour, label=label, **style)  # type: ignore[arg-type]


def _draw_scale_bar(ax: "Axes", extent: Extent) -> None:
    """Draw a bar above the map, where it hides no viewpoint."""
    west, _, east, _ = extent
    width, _ = size_of(extent)
    power = 10.0 ** np.floor(np.log10(0.25 * width))
    length = max(step * power for step in (1.0, 2.0, 5.0) if step * power <= 0.25 * width)
    degrees = length / width * (east - west)
    above = ax.get_xaxis_transform()  # degrees of longitude, and parts of the height of the map
    ax.plot(
        [west, west + degrees], [1.02, 1.02], transform=above, color="black", linewidth=3.0, solid_capstyle="butt",
        clip_on=False, scalex=False, scaley=False,
    )  # fmt: skip
    text = f"{length / 1000.0:g} km" if length >= 1000.0 else f"{length:g} m"
    offset = 0.01 * (east - west)
    ax.text(west + degrees + offset, 1.02, text, transform=above, ha="left", va="center", fontsize=8)
