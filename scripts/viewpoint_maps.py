"""Maps of the schemes of viewpoints: python scripts/viewpoint_maps.py <elevation file or folder> [--list poses.csv].

Draws four surveys of one terrain side by side, on its relief: a grid split by blocks with what is left out, random
places with queries near them, a list (or without one, a thinned line of points), and strips. The picture of
docs/viewpoints.md.
"""

import argparse
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.elevation.tiles import open_terrain
from crosslocate.terrain.job.coverage import relief, size_of
from crosslocate.terrain.viewpoints.cameras import CameraTable
from crosslocate.terrain.viewpoints.listed import Listed
from crosslocate.terrain.viewpoints.region import RegionSurvey
from crosslocate.terrain.viewpoints.schemes import Grid, NearDatabase, Nowhere, Scattered
from crosslocate.terrain.viewpoints.splits import Blocks, OneSplit
from crosslocate.terrain.viewpoints.strips import StripSurvey
from crosslocate.terrain.viewpoints.survey import Survey, Surveyed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"train": "#1f6fb4", "val": "#d98b0c", "test": "#b5243a"}
LEFT_OUT = "#4a4a4a"
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


def surveys(path: str | None) -> list[tuple[str, Survey, Survey | None]]:
    """Title, survey, and a survey of the positions that were there to begin with."""
    blocks = RegionSurvey(Grid(700.0), Nowhere(), margin=1500.0, splits=Blocks(10_000.0, 3000.0, SHARES))
    everywhere = replace(blocks, visible=None, splits=OneSplit())
    near = RegionSurvey(
        Scattered(400, 1200.0), NearDatabase(300, 900.0), margin=1500.0, splits=blocks.splits, near=900.0
    )
    listed = replace(near, database=Grid(1000.0), queries=Listed(path) if path else Scattered(300))
    strips = StripSurvey(
        {"train": 120, "val": 40, "test": 40},
        {"train": 1, "val": 1, "test": 1},
        spacing=1000.0,
        gap=3000.0,
        margin=1500.0,
    )
    return [
        ("A grid of 700 m; blocks of 10 km, gaps of 3 km; grey: left out", blocks, everywhere),
        ("Random places 1.2 km apart, queries (+) within 900 m", near, None),
        ("Grid of 1 km, queries (+) from a list" if path else "Grid of 1 km, random queries (+)", listed, None),
        ("Strips with gaps of 3 km: places with a view", strips, None),
    ]


def draw(ax: "Axes", terrain: Terrain, title: str, found: Surveyed, before: Surveyed | None) -> None:
    """One map."""
    west, south, east, north = terrain.bounds
    extent = (west, south, east, north)
    width, height = size_of(extent)
    ax.imshow(relief(terrain, extent), extent=(west, east, south, north), aspect="auto", interpolation="bilinear")
    ax.set(xlim=(west, east), ylim=(south, north), aspect=height / width * (east - west) / (north - south))
    ax.set_title(title, fontsize=9)
    ax.tick_params(labelsize=6)
    if before is not None:
        lon, lat, _ = places(before.database)
        ax.plot(lon, lat, "o", color=LEFT_OUT, markersize=1.4, markeredgewidth=0.0)
    for role, table in (("places", found.database), ("queries", found.queries)):
        if table is None:
            continue
        lon, lat, split = places(table)
        for name, colour in COLOURS.items():
            rows = split == name
            if rows.any():
                mark, size, edge = ("o", 2.2, 0.0) if role == "places" else ("+", 4.0, 0.7)
                label = f"{name}: {rows.sum():,} {role}"
                ax.plot(lon[rows], lat[rows], mark, color=colour, label=label, markersize=size, markeredgewidth=edge)
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.06), ncols=3, fontsize=6, frameon=False, markerscale=1.6)


def places(table: CameraTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Longitude, latitude and split of every place of a table."""
    rows = np.unique(table.place, return_index=True)[1]
    return table.longitude[rows], table.latitude[rows], table.split[rows]


def main() -> None:
    """Read the terrain, make the surveys, draw."""
    from matplotlib.figure import Figure
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("elevation", help="elevation file, folder or pattern")
    parser.add_argument("--list", help="CSV file of poses (docs/viewpoints.md)")
    parser.add_argument("--output", type=Path, default=Path("docs/images/viewpoints.png"))
    arguments = parser.parse_args()
    terrain = open_terrain([arguments.elevation])
    caster = RayCaster(terrain)
    figure = Figure(figsize=(11, 11.5), layout="constrained")
    for ax, (title, survey, before) in zip(figure.subplots(2, 2).flat, surveys(arguments.list), strict=True):
        found = survey.cameras(caster, aspect=4 / 3, seed=1, workers=2)
        all_of = None if before is None else before.cameras(caster, aspect=4 / 3, seed=1, workers=2)
        print(f"{title}: {found.findings}")
        draw(ax, terrain, title, found, all_of)
    picture = BytesIO()
    figure.savefig(picture, dpi=100, metadata={"Software": None})
    colours = Image.open(picture).convert("RGB")  # a palette that keeps those of small marks; grain costs bytes
    small = colours.quantize(128, Image.Quantize.MAXCOVERAGE, kmeans=8, dither=Image.Dither.NONE)
    small.save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
