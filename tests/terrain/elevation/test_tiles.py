"""Tiles as one terrain: seams, layers, voids, regions."""

from itertools import pairwise

import numpy as np
import pytest
from elevation_files import hills, write_hgt, write_tiff
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.errors import ConfigError, TerrainError
from crosslocate.terrain.elevation import rectangle
from crosslocate.terrain.elevation.datum import WGS84_CRS
from crosslocate.terrain.elevation.tiles import open_terrain

ARC_SECOND = 1 / 3600
LATTICES = {
    WGS84_CRS: ((7.0, 46.0), ARC_SECOND),
    "EPSG:32632": ((400_001.0, 5_100_001.0), 2.0),
    "EPSG:2056": ((2_600_000.25, 1_200_000.25), 0.5),
    "EPSG:3035": ((4_200_012.5, 2_600_012.5), 25.0),
    "EPSG:4258": ((7.0, 46.0), (1.5 * ARC_SECOND, ARC_SECOND)),
}


def first_at(first, spacing, row, column):
    dx, dy = spacing if isinstance(spacing, tuple) else (spacing, spacing)
    return first[0] + column * dx, first[1] - row * dy


def balanced(layer):
    return (
        layer.voids + layer.absent == layer.filled_from_layers + layer.filled_from_neighbours + layer.sea + layer.left
    )


@st.composite
def cuts(draw, size):
    """Where an axis is cut, and how far each piece reaches over its ends."""
    edges = sorted({0, size, *draw(st.lists(st.integers(1, size - 1), max_size=3))})
    return [(max(a - draw(st.integers(0, 4)), 0), min(b + draw(st.integers(0, 4)), size)) for a, b in pairwise(edges)]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(LATTICES)), cuts(23), cuts(31), st.randoms(use_true_random=False), st.data())
def test_a_terrain_in_tiles_is_the_uncut_one_post_by_post(tmp_path_factory, crs, rows, columns, random, data):
    posts = hills((23, 31), seed=data.draw(st.integers(0, 9)))
    voids = data.draw(st.lists(st.tuples(st.integers(0, 22), st.integers(0, 30)), max_size=5))
    for void in voids:
        posts[void] = np.nan
    first, spacing = LATTICES[crs]
    folder = tmp_path_factory.mktemp("cut")
    pieces = [(r, c) for r in rows for c in columns]
    random.shuffle(pieces)
    paths = [
        write_tiff(
            folder / f"{k}.tif", posts[r[0] : r[1], c[0] : c[1]], first_at(first, spacing, r[0], c[0]), spacing, crs
        )
        for k, (r, c) in enumerate(pieces)
    ]
    terrain = open_terrain(paths, fill_voids=0)
    assert len(terrain.layers) == 1
    np.testing.assert_array_equal(terrain.layers[0].elevation, posts)
    np.testing.assert_allclose(terrain.layers[0].transform[2:6:3], first, rtol=0, atol=1e-9 * abs(first[1]))
    layer = terrain.summary.layers[0]
    assert (layer.disagreement, layer.absent, layer.tiles) == (0, 0, len(paths))
    assert layer.voids == layer.left == np.isnan(posts).sum()
    assert (terrain.summary.lowest, terrain.summary.highest) == (np.nanmin(posts), np.nanmax(posts))


def test_srtm_tiles_share_their_edges(tmp_path):
    posts = hills((2401, 2401)).astype(np.int16)
    for name, rows, columns in (
        ("S03W061.hgt", slice(0, 1201), slice(0, 1201)),
        ("S03W060.hgt", slice(0, 1201), slice(1200, 2401)),
        ("S04W061.hgt", slice(1200, 2401), slice(0, 1201)),
        ("S04W060.hgt", slice(1200, 2401), slice(1200, 2401)),
    ):
        write_hgt(tmp_path / name, posts[rows, columns])
    terrain = open_terrain(tmp_path)
    np.testing.assert_array_equal(terrain.layers[0].elevation, posts)
    assert terrain.bounds == pytest.approx((-61, -4, -59, -2))
    layer = terrain.summary.layers[0]
    assert (layer.overlap, layer.disagreement) == (2 * 2401 + 1, 0)


def test_where_tiles_disagree_the_first_counts_and_the_largest_difference_is_told(tmp_path):
    posts = hills((20, 20))
    other = posts.copy()
    other[:, 10:] += 1.0
    other[7, 12] += 30.0
    one = write_tiff(tmp_path / "one.tif", posts[:, :14], (7, 46), 0.001)
    two = write_tiff(tmp_path / "two.tif", other[:, 10:], (7.01, 46), 0.001)
    terrain = open_terrain([one, two])
    np.testing.assert_array_equal(terrain.layers[0].elevation[:, :14], posts[:, :14])
    np.testing.assert_array_equal(terrain.layers[0].elevation[:, 14:], other[:, 14:])
    layer = terrain.summary.layers[0]
    assert (layer.overlap, layer.disagreeing) == (80, "one.tif, two.tif")
    assert layer.disagreement == pytest.approx(31, abs=1e-3)
    assert any("differ by up to 31" in line for line in terrain.summary.warnings())
    np.testing.assert_array_equal(open_terrain([two, one]).layers[0].elevation[:, 10:], other[:, 10:])


def copernicus(folder, south, west, surface, arc_seconds=1.0, size=60):
    """A tile in the layout of Copernicus GLO-30 (``size`` rows a degree here): posts from its northern and western edge
    to one short of the southern and eastern one."""
    dy = 1.0 / size
    dx = dy * arc_seconds
    columns = round(1.0 / dx)
    lat = south + 1 - np.arange(size)[:, None] * dy
    lon = west + np.arange(columns) * dx
    name = f"{'N' if south >= 0 else 'S'}{abs(south):02d}_{'E' if west >= 0 else 'W'}{abs(west):03d}_DEM.tif"
    return write_tiff(folder / name, surface(lon, lat).astype(np.float32), (west, south + 1.0), (dx, dy))


def slanted(lon, lat):
    return 1000.0 + 100.0 * (lon - 7.0) - 250.0 * (lat - 50.0)


def test_copernicus_tiles_on_both_sides_of_a_change_of_spacing(tmp_path):
    for west in (7, 8):
        copernicus(tmp_path, 49, west, slanted)
        copernicus(tmp_path, 50, west, slanted, arc_seconds=1.5)
    terrain = open_terrain(tmp_path)
    assert [layer.shape for layer in terrain.layers] == [(60, 120), (61, 80)]  # one more row, down to the finer layer
    lat = np.linspace(49.1, 50.9, 4001)
    for lon in (7.0, 7.3, 8.0, 8.6):
        np.testing.assert_allclose(terrain.elevation_at(lon, lat), slanted(lon, lat), atol=1e-3)
    assert [layer.left for layer in terrain.summary.layers] == [0, 0]


def test_fine_tiles_in_the_middle_of_coarse_ones(tmp_path):
    coarse, fine = tmp_path / "coarse", tmp_path / "fine"
    for south in (46, 47):
        for west in (7, 8):
            copernicus(coarse, south, west, slanted, size=200)
    easting, northing = 2_600_001.0, 1_199_999.0
    for k in range(2):
        write_tiff(fine / f"alti{k}.tif", hills((50, 50), k), (easting + 100 * k, northing), 2.0, "EPSG:2056")
    terrain = open_terrain([coarse, fine])
    assert [layer.crs for layer in terrain.layers] == ["EPSG:2056", WGS84_CRS]
    assert terrain.layers[0].shape == (50, 100)
    here = terrain.layers[0].position_of(60.0, 20.0)
    assert terrain.elevation_at(*here) == pytest.approx(hills((50, 50), 1)[20, 10], abs=0.1)
    assert terrain.elevation_at(8.5, 46.5) == pytest.approx(slanted(8.5, 46.5), abs=0.01)
    assert terrain.summary.layers[0].spacing == pytest.approx((2.0, 2.0), rel=1e-3)


def test_holes_of_a_fine_layer_show_the_coarse_one(tmp_path):
    copernicus(tmp_path / "coarse", 46, 7, slanted, size=120)
    posts = hills((40, 40), low=3000, high=4000)
    for k, (row, column) in enumerate([(0, 0), (0, 20), (20, 0)]):  # the fourth quarter is absent
        part = posts[row : row + 20, column : column + 20].copy()
        part[3:17, 3:17] = -32768
        write_tiff(tmp_path / f"fine/{k}.tif", part, first_at((7.4, 46.6), 0.001, row, column), 0.001)
    terrain = open_terrain([tmp_path / "fine", tmp_path / "coarse"], fill_voids=0)
    fine = terrain.summary.layers[0]
    assert (fine.absent, fine.voids, fine.filled_from_layers, fine.left) == (400, 3 * 14 * 14, 400 + 3 * 196, 0)
    lon, lat = terrain.layers[0].position_of(*np.meshgrid(np.arange(22, 40), np.arange(22, 40)))
    np.testing.assert_allclose(terrain.layers[0].elevation[22:, 22:], slanted(lon, lat), atol=0.01)
    np.testing.assert_array_equal(terrain.layers[0].elevation[:3, :20], posts[:3, :20])


def test_voids_of_all_kinds_are_counted_and_filled(tmp_path):
    posts = np.tile(np.arange(40, dtype=np.float32) * 10, (30, 1))
    raw = posts.copy()
    raw[3, 5], raw[4, 5], raw[5, 5], raw[6, 6], raw[8, 8] = -9999, 32767, np.nan, -3.4e38, -32768
    raw[10:20, 10:30] = -9999  # 10 rows and 20 columns of 30 m: 330 m and 630 m across
    path = write_tiff(tmp_path / "a.tif", raw, (400_000, 5_100_000), 30.0, "EPSG:32632")
    layer = open_terrain(path, fill_voids=0).summary.layers[0]
    assert (layer.voids, layer.left, layer.filled_from_neighbours) == (205, 205, 0)
    assert layer.implausible == 204  # all but the NaN
    small = open_terrain(path, fill_voids=320.0)
    assert small.summary.layers[0].filled_from_neighbours == 5
    np.testing.assert_allclose(small.layers[0].elevation[:10], posts[:10], rtol=1e-6)
    whole = open_terrain(path, fill_voids=340.0)
    assert (whole.summary.layers[0].filled_from_neighbours, whole.summary.layers[0].left) == (205, 0)
    np.testing.assert_allclose(whole.layers[0].elevation, posts, rtol=1e-6)  # columns alone: they are constant
    assert any("implausible" in line for line in whole.summary.warnings())


def test_elevations_in_feet_and_decimetres_agree_with_metres(tmp_path):
    metres = hills((10, 10))
    feet = write_tiff(tmp_path / "feet.tif", metres / 0.3048, (7, 46), 0.001, unit="ft")
    decimetres = write_tiff(tmp_path / "dm.tif", np.rint(metres * 10).astype(np.int16), (7, 46), 0.001)
    np.testing.assert_allclose(open_terrain(feet).layers[0].elevation, metres, atol=1e-3)
    np.testing.assert_allclose(open_terrain(decimetres, units="decimetres").layers[0].elevation, metres, atol=0.051)
    assert open_terrain(feet).summary.layers[0].units == ("feet",)
    with pytest.raises(TerrainError, match=r"100 were beyond terrain\.elevation\.plausible"):
        open_terrain(decimetres, plausible=[0, 100])


def test_sea_is_where_there_is_no_tile_and_not_where_there_is_a_void(tmp_path):
    copernicus(tmp_path, 46, 7, lambda lon, lat: np.where((lon < 7.25) & (lat > 46.75), -9999, slanted(lon, lat)))
    region = [6.5, 46.25, 7.5, 46.75]
    dry = open_terrain(tmp_path, region, halo=20_000, fill_voids=0)
    assert np.isnan(dry.elevation_at(6.7, 46.5))
    assert dry.summary.region_missing == pytest.approx(0.5, abs=0.02)
    assert dry.summary.halo_missing["west"] == 1
    wet = open_terrain(tmp_path, region, halo=20_000, fill_voids=0, missing="sea")
    assert wet.elevation_at(6.7, 46.5) == 0
    assert np.isnan(wet.elevation_at(7.1, 46.9))
    assert wet.elevation_at(7.6, 46.5) == pytest.approx(slanted(7.6, 46.5), abs=1e-2)
    layer = wet.summary.layers[0]
    assert layer.sea == layer.absent > 0
    assert balanced(layer)
    assert wet.summary.halo_missing["west"] == 0
    west, south, east, north = wet.bounds
    assert west < 6.5 - 0.2 < 7.5 + 0.2 < east
    assert south < 46.25 - 0.17 < 46.75 + 0.17 < north


def test_a_region_takes_its_posts_and_halo_and_no_more(tmp_path):
    for west in range(5, 10):
        copernicus(tmp_path, 46, west, slanted, size=100)
    terrain = open_terrain(tmp_path, [7.2, 46.2, 7.4, 46.5])
    assert terrain.bounds == pytest.approx((7.2, 46.2, 7.4, 46.5))
    assert terrain.summary.layers[0].tiles == 1
    wide = open_terrain(tmp_path, [7.2, 46.2, 7.4, 46.5], halo=80_000)
    assert wide.summary.layers[0].tiles == 3
    assert wide.summary.region_missing == 0
    missing = wide.summary.halo_missing
    assert missing["north"] > 0.2
    assert missing["south"] > 0.5
    assert any("halo of 80 km" in line for line in wide.summary.warnings())
    with pytest.raises(TerrainError, match=r"none of the 5 .* longitude 5\.0000 to 9\.9900, latitude 46\.0100 to 47"):
        open_terrain(tmp_path, [20, 46, 21, 47])


def test_a_terrain_across_the_antimeridian(tmp_path):
    for west in (178, 179, -180, -179):
        copernicus(tmp_path, -18, west, lambda lon, lat: 500 + 10 * np.mod(lon, 360) + lat)
    terrain = open_terrain(tmp_path)
    assert len(terrain.layers) == 1
    assert terrain.bounds == pytest.approx((178, -18 + 1 / 60, 182 - 1 / 60, -17))
    lon = np.array([178.5, 179.99, 180.0, -180.0, -179.99, -178.5])
    expected = 500 + 10 * np.mod(lon, 360) - 17.5
    np.testing.assert_allclose(terrain.elevation_at(lon, -17.5), expected, atol=1e-3)
    part = open_terrain(tmp_path, [179.5, -17.8, -179.5, -17.2])
    assert part.bounds == pytest.approx((179.5, -17.8, 180.5, -17.2))
    same = open_terrain(tmp_path, [179.5, -17.8, 180.5, -17.2])
    assert same.fingerprint() == part.fingerprint()


def test_tiles_far_apart_are_layers_of_their_own(tmp_path):
    one = write_hgt(tmp_path / "N46E007.hgt", np.full((1201, 1201), 7))
    far = [write_hgt(tmp_path / name, np.full((1201, 1201), 8)) for name in ("S10W060.hgt", "N60E100.hgt")]
    near = write_hgt(tmp_path / "N46E008.hgt", np.full((1201, 1201), 9))
    terrain = open_terrain([one, *far, near])
    assert sorted(layer.shape for layer in terrain.layers) == [(1201, 1201), (1201, 1201), (1201, 2401)]
    assert terrain.posts.size < 6e6 * 1.34
    assert [float(terrain.elevation_at(*p)) for p in ((7.5, 46.5), (-59.5, -9.5), (100.5, 60.5), (8.5, 46.5))] == [
        7,
        8,
        8,
        9,
    ]


def test_layers_of_one_lattice_meet(tmp_path, monkeypatch):
    """A long diagonal of neighbouring tiles: the rectangle around it is nearly empty."""
    monkeypatch.setattr(rectangle, "SMALL", 1000)
    for k in range(6):
        for west in (5 + k, 6 + k):
            copernicus(tmp_path, 46 + k, west, slanted)
    terrain = open_terrain(tmp_path)
    assert 1 < len(terrain.layers) < 12
    assert sum(layer.elevation.size for layer in terrain.layers) < 0.75 * 7 * 6 * 60**2
    along = np.linspace(0.02, 5.95, 3001)
    np.testing.assert_allclose(
        terrain.elevation_at(5.5 + along, 46 + along), slanted(5.5 + along, 46 + along), rtol=1e-5
    )


def test_tiles_without_any_elevation_are_left_out_and_told(tmp_path):
    here = copernicus(tmp_path, 46, 7, slanted)
    write_tiff(tmp_path / "ocean.tif", np.full((30, 30), -9999, np.int16), (-20, 10), 0.01, nodata=-9999)
    terrain = open_terrain(tmp_path, cache=tmp_path / "cache")
    assert terrain.fingerprint() == open_terrain(here).fingerprint()
    assert terrain.summary.void_tiles == ("ocean.tif",)
    assert terrain.summary.warnings() == ["ocean.tif has no elevation where it would be needed, and was left out"]
    with pytest.raises(TerrainError, match=r"none of the 900 posts of ocean\.tif has an elevation"):
        open_terrain(tmp_path / "ocean.tif")


def test_tiles_of_high_latitudes(tmp_path):
    def surface(lon, lat):
        return 4000 + 100 * lon - 50 * lat

    for south, arc_seconds in ((59, 1.5), (60, 2.0), (80, 5.0)):
        copernicus(tmp_path, south, 10, surface, arc_seconds)
    terrain = open_terrain(tmp_path)
    assert len(terrain.layers) == 3
    lat = np.array([59.5, 60.0, 60.005, 60.5])
    np.testing.assert_allclose(terrain.elevation_at(10.4, lat), surface(10.4, lat), rtol=1e-5)
    assert np.isfinite(terrain.elevation_at(10.4, 80.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": "cubits"}, r"terrain\.elevation\.units='cubits'"),
        ({"missing": "lava"}, r"terrain\.elevation\.missing='lava'.*void, sea"),
        ({"region": [1, 2, 3]}, r"terrain\.elevation\.region"),
        ({"region": [7, 47, 8, 46]}, "south below north"),
        ({"plausible": [10, 0]}, r"terrain\.elevation\.plausible"),
        ({"region": [7, 46, 8, 47], "halo": -1}, r"terrain\.elevation\.halo"),
        ({"fill_voids": float("nan")}, r"terrain\.elevation\.fill_voids"),
    ],
)
def test_values_that_cannot_work_are_refused_by_key(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        open_terrain(tmp_path, **change)


def test_paths_without_files_are_all_named(tmp_path):
    (tmp_path / "bare/deeper").mkdir(parents=True)
    write_tiff(tmp_path / "bare/deeper/a.tif", hills((4, 4)), (7, 46), 1.0)
    with pytest.raises(TerrainError) as caught:
        open_terrain([tmp_path / "bare", tmp_path / "none.tif", f"{tmp_path}/*.hgt"])
    for part in ("bare holds no elevation file", "give a pattern", "none.tif does not exist", "no file matches"):
        assert part in str(caught.value)
    assert open_terrain(f"{tmp_path}/**/*.tif").layers[0].shape == (4, 4)
    with pytest.raises(TerrainError, match="no elevation file is named"):
        open_terrain([])


def test_a_tile_that_is_damaged_inside_is_named_with_all_others(tmp_path):
    good = write_tiff(tmp_path / "0.tif", hills((600, 600)), (7, 46), 0.001, compress="deflate")
    for k in (1, 2):
        content = bytearray(
            write_tiff(
                tmp_path / f"{k}.tif", hills((600, 600), k), (7 + 0.6 * k, 46), 0.001, compress="deflate"
            ).read_bytes()
        )
        content[len(content) // 2 : len(content) // 2 + 100_000] = b"\0" * 100_000  # whole strips
        (tmp_path / f"{k}.tif").write_bytes(content)
    with pytest.raises(
        TerrainError, match=r"2 elevation tiles are damaged:(.|\n)*1\.tif cannot be read(.|\n)*2\.tif"
    ) as caught:
        open_terrain(tmp_path)
    assert good.name not in str(caught.value)
