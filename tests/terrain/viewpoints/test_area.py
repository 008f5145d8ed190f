import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from synthetic_terrain import jacksboro

from crosslocate.errors import ConfigError, CrossLocateError, TerrainError
from crosslocate.geo import geodesic_distance
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.viewpoints.area import Box, area_of, read_polygons


def geojson(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def polygon(*rings):
    return {"type": "Polygon", "coordinates": [list(ring) for ring in rings]}


SQUARE = [[6, 45], [8, 45], [8, 47], [6, 47], [6, 45]]
HOLE = [[6.5, 45.5], [7.5, 45.5], [7.5, 46.5], [6.5, 46.5], [6.5, 45.5]]


def holds(area, *positions):
    lon, lat = np.array(positions, float).T
    return area.contains(lon, lat).tolist()


def test_a_box_across_the_antimeridian():
    area = area_of([179.0, -18.0, -179.0, -16.0], Terrain.of(jacksboro()), 0.0)
    assert area.bounds == (179.0, -18.0, 181.0, -16.0)
    assert holds(area, (179.5, -17), (-179.5, -17), (180, -17), (178.9, -17), (0, -17), (-179.5, -15)) == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_no_region_is_the_extent_of_the_terrain_without_its_margin():
    terrain = Terrain.of(jacksboro())
    inner, outer = area_of(None, terrain, 1200.0).bounds, terrain.bounds
    middle = 0.5 * (outer[1] + outer[3])
    assert geodesic_distance(outer[0], middle, inner[0], middle) == pytest.approx(1200.0, rel=0.001)
    assert geodesic_distance(outer[0], inner[3], outer[0], outer[3]) == pytest.approx(1200.0, rel=0.01)
    with pytest.raises(TerrainError, match="no room"):
        area_of(None, terrain, 1e6)


@pytest.mark.parametrize(
    "region", [[6, 45, 8], [6, 47, 8, 45], [6, 45, np.nan, 47], [6, 45, 6, 47], [600, 45, 8, 47], [-180, -91, 180, 0]]
)
def test_an_impossible_box_is_refused(region):
    with pytest.raises(ConfigError, match="region"):
        area_of(region, Terrain.of(jacksboro()), 0.0)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda p: p,
        lambda p: {"type": "Feature", "properties": None, "geometry": p},
        lambda p: {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": p}]},
        lambda p: {"type": "GeometryCollection", "geometries": [p]},
        lambda p: {"type": "MultiPolygon", "coordinates": [p["coordinates"]]},
    ],
)
def test_a_polygon_with_a_hole(tmp_path, wrapped):
    area = read_polygons(geojson(tmp_path / "a.geojson", wrapped(polygon(SQUARE, HOLE))))
    assert area.bounds == (6.0, 45.0, 8.0, 47.0)
    assert holds(area, (6.2, 46), (7, 46), (7.9, 46.9), (8.1, 46), (366.2, 46)) == [True, False, True, False, True]


def test_a_ring_may_go_on_beyond_the_antimeridian(tmp_path):
    area = read_polygons(geojson(tmp_path / "a.json", polygon([[178, -20], [182, -20], [182, -15], [178, -15]])))
    assert holds(area, (179, -18), (-179, -18), (177, -18), (-177.9, -18)) == [True, True, False, False]


CORNERS = st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=3, max_size=12)


@given(CORNERS, st.integers(0, 1000))
def test_inside_is_what_matplotlib_calls_inside(tmp_path_factory, corners, seed):
    path = geojson(tmp_path_factory.mktemp("ring") / "ring.json", polygon(corners))
    rng = np.random.default_rng(seed)
    points = rng.uniform(-6.0, 6.0, (50, 2))
    inside = read_polygons(path).contains(points[:, 0], points[:, 1])
    winding = sum(
        Outline([*corners, corners[0]]).contains_points(points, radius=r) for r in (-1e-6, 1e-6)
    )  # by winding or crossing, on simple outlines the same; points on the outline differ between the two radii
    sure = winding != 1
    ring = np.array([*corners, corners[0]])
    if not _crosses_itself(ring):
        np.testing.assert_array_equal(inside[sure], winding[sure] == 2)


def _crosses_itself(ring):
    a, b = ring[:-1], ring[1:]
    side = lambda p, q, r: np.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))  # noqa: E731
    for i in range(len(a)):
        for j in range(i + 1, len(a)):
            if (
                side(a[i], b[i], a[j]) * side(a[i], b[i], b[j]) <= 0
                and side(a[j], b[j], a[i]) * side(a[j], b[j], b[i]) <= 0
                and not (j == i + 1 or (i == 0 and j == len(a) - 1))
            ):
                return True
    return bool((np.abs(np.diff(ring, axis=0)).sum(axis=1) < 1e-3).any())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("nothing", "cannot be read as GeoJSON"),
        ("[" * 100_000, "cannot be read as GeoJSON"),
        ({"type": "Point", "coordinates": [1, 2]}, "'Point' is not an area"),
        ([], "None is not an area"),
        ({"type": "FeatureCollection", "features": []}, "holds no polygon"),
        ({"type": "Feature", "geometry": None}, "None is not an area"),
        (polygon([[0, 0], [1, 1]]), "2 corners"),
        (polygon([["a", 0], [1, 1], [1, 0]]), "no list of"),
        (polygon([[0], [1, 1], [1, 0]]), "no list of"),
        (polygon([[0, 0], [1, 91], [1, 0]]), r"corner 1 of a ring is \[1.0, 91.0\]"),
        (polygon([[0, 0], [1e999, 1], [1, 0]]), "corner 1"),
        ({"type": "Polygon", "coordinates": 3}, "list of rings"),
        ({"type": "MultiPolygon", "coordinates": [3]}, "list of rings"),
        ({"type": "Polygon", "coordinates": [3]}, "no list of"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, content, says):
    with pytest.raises(TerrainError, match=says) as error:
        read_polygons(geojson(tmp_path / "wrong.geojson", content))
    assert "wrong.geojson" in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.sampled_from(["Polygon", "Feature", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "coordinates", "geometry", "features"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused_with_a_reason(tmp_path_factory, value):
    path = geojson(tmp_path_factory.mktemp("any") / "any.json", value)
    try:
        area = read_polygons(path)
    except CrossLocateError:
        return
    assert np.isfinite(area.bounds).all()


def test_the_edges_of_a_box_belong_to_it():
    assert holds(Box((6.0, 45.0, 8.0, 47.0)), (6, 45), (8, 47), (6, 47)) == [True, True, True]
