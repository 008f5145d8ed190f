import pickle

import numpy as np
import pytest
import rasterio
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.transform import Affine
from synthetic_terrain import HOME, camera_at_home, grid_dem

from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register
from crosslocate.errors import ConfigError, TerrainError
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.imagery import class_map as module
from crosslocate.terrain.imagery.class_map import ClassMap
from crosslocate.terrain.imagery.landcover import SEGMENT_COLOURS, SEGMENT_NAMES
from crosslocate.terrain.imagery.legend import UNKNOWN, Legend
from crosslocate.terrain.job.scene import Scene, World

LAEA = "EPSG:3035"
DEGREES = Affine(1e-4, 0, 11.2, 0, -1e-4, 47.28)


def legend_of(name):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return instantiate(compose(f"legend/{name}")["legend"], _convert_="all")


WORLDCOVER = legend_of("worldcover")


def write(path, values, crs="EPSG:4326", transform=DEGREES, nodata=None):
    rows, columns = values.shape
    layout = {"height": rows, "width": columns, "count": 1, "dtype": values.dtype, "crs": crs, "transform": transform}
    with rasterio.open(
        path, "w", driver="GTiff", nodata=nodata, tiled=True, blockxsize=64, blockysize=64, **layout
    ) as file:
        file.write(values, 1)
    return path


def land(shape=(300, 400), seed=0, values=(10, 30, 60, 80)):
    """Patches of classes."""
    rng = np.random.default_rng(seed)
    return rng.choice(np.array(values, np.uint8), (shape[0] // 10, shape[1] // 10)).repeat(10, 0).repeat(10, 1)


def positions(crs, transform, shape, count=3000, seed=1, outside=0.1):
    """Random places around a raster: longitude, latitude and the pixel (row, column) that each lies in."""
    rng = np.random.default_rng(seed)
    row = rng.uniform(-outside * shape[0], (1 + outside) * shape[0], count)
    column = rng.uniform(-outside * shape[1], (1 + outside) * shape[1], count)
    x, y = transform @ (column, row)
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    return np.asarray(lon), np.asarray(lat), np.floor(row).astype(int), np.floor(column).astype(int)


@pytest.mark.parametrize(("name", "count"), [("worldcover", 11), ("corine", 44), ("own", 5)])
def test_legends_are_complete(name, count):
    legend = legend_of(name)
    assert len(legend.names) == len(set(legend.names)) == count
    assert len({tuple(c) for c in legend.colours.tolist()}) == count
    assert {SEGMENT_NAMES[s] for s in legend.segments} == set(SEGMENT_NAMES[1:])


def test_worldcover_has_the_published_values():
    values = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)
    assert tuple(WORLDCOVER.index) == values
    assert WORLDCOVER.nodata == (0,)
    segment = {v: SEGMENT_NAMES[WORLDCOVER.segments[k]] for v, k in WORLDCOVER.index.items()}
    assert segment[10] == segment[95] == "forest"
    assert (segment[60], segment[70], segment[80]) == ("rock", "ice and snow", "water")


def test_corine_has_44_codes_in_the_order_of_its_raster_values():
    legend = legend_of("corine")
    codes = sorted(v for v in legend.index if v > 100)
    assert len(codes) == 44
    assert (codes[0], codes[-1]) == (111, 523)
    assert [legend.index[k + 1] for k in range(44)] == [legend.index[code] for code in codes]
    assert SEGMENT_NAMES[legend.segments[legend.index[335]]] == "ice and snow"
    assert legend.names[legend.index[34]] == "Glaciers and perpetual snow"
    assert all(SEGMENT_NAMES[legend.segments[legend.index[c]]] == "forest" for c in (311, 312, 313))


@pytest.mark.parametrize("crs", ["EPSG:4326", LAEA])
def test_places_have_the_class_of_their_pixel(tmp_path, crs):
    transform = DEGREES if crs == "EPSG:4326" else Affine(10, 0, 4_400_000, 0, -10, 2_680_000)
    values = land()
    cover = ClassMap(write(tmp_path / "a.tif", values, crs, transform), WORLDCOVER)
    lon, lat, row, column = positions(crs, transform, values.shape)
    found = cover.at(lon, lat, np.full(len(lon), 1.0))
    inside = (row >= 0) & (column >= 0) & (row < 300) & (column < 400)
    assert 0.5 < inside.mean() < 0.95
    expected = np.full(len(lon), UNKNOWN)
    expected[inside] = [WORLDCOVER.index[v] for v in values[row[inside], column[inside]]]
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=6, deadline=None)
@given(st.sampled_from([16, 33, 200]), st.integers(0, 1000), st.integers(0, 4))
def test_blocks_read_what_a_whole_read_gives(tmp_path_factory, block, seed, level):
    values = land((170, 230), seed)
    path = write(tmp_path_factory.mktemp("map") / "a.tif", values)
    lon, lat, _, _ = positions("EPSG:4326", DEGREES, values.shape, 400, seed)
    cover = ClassMap(path, WORLDCOVER)
    footprint = np.full(400, cover.sheets[0].spacing * 2**level * 1.01)
    whole = cover.at(lon, lat, footprint)
    old = module.BLOCK
    try:
        module.BLOCK = block
        parts = ClassMap(path, WORLDCOVER, memory=0).at(lon, lat, footprint)
    finally:
        module.BLOCK = old
    if level == 0:
        np.testing.assert_array_equal(parts, whole)
    else:  # pixels that end in part of a coarse one may differ
        assert np.mean(parts == whole) > 0.97


def test_far_away_the_most_frequent_class_counts(tmp_path):
    """A tenth of single trees on grass: near they are seen, far away they are not."""
    values = np.where(np.random.default_rng(0).random((512, 512)) < 0.1, 10, 30).astype(np.uint8)
    cover = ClassMap(write(tmp_path / "a.tif", values), WORLDCOVER)
    lon, lat, _, _ = positions("EPSG:4326", DEGREES, values.shape, 3000, outside=0.0)
    trees = [np.mean(cover.at(lon, lat, np.full(3000, m)) == WORLDCOVER.index[10]) for m in (1.0, 80.0)]
    assert trees[0] == pytest.approx(0.1, abs=0.02)
    assert trees[1] < 0.001


def test_the_first_map_that_knows_counts_and_voids_are_unknown(tmp_path):
    first, second = land(seed=1), land(seed=2)
    first[:100] = 0
    first[100:120] = 255
    write(tmp_path / "1.tif", first, nodata=255)
    write(tmp_path / "2.tif", second)
    (tmp_path / "read.me").write_text("no map")
    cover = ClassMap([tmp_path], WORLDCOVER)
    lon, lat, row, column = positions("EPSG:4326", DEGREES, first.shape, outside=0.0)
    found = cover.at(lon, lat, np.ones(len(lon)))
    expected = np.where(row < 120, second[row, column], first[row, column])
    np.testing.assert_array_equal(found, [WORLDCOVER.index[v] for v in expected])
    one = ClassMap(str(tmp_path / "1*"), WORLDCOVER).at(lon, lat, np.ones(len(lon)))
    np.testing.assert_array_equal(one == UNKNOWN, row < 120)
    again = pickle.loads(pickle.dumps(cover))
    np.testing.assert_array_equal(again.at(lon, lat, np.ones(len(lon))), found)


def test_a_map_across_the_antimeridian(tmp_path):
    values = land()
    transform = Affine(1e-3, 0, 179.8, 0, -1e-3, 10.0)
    cover = ClassMap(write(tmp_path / "a.tif", values, transform=transform), WORLDCOVER)
    row, column = np.array([5, 100, 250]), np.array([10, 250, 399])
    lon = 179.8 + (column + 0.5) * 1e-3
    found = cover.at(np.where(lon > 180, lon - 360, lon), 10 - (row + 0.5) * 1e-3, np.ones(3))
    np.testing.assert_array_equal(found, [WORLDCOVER.index[v] for v in values[row, column]])


def test_a_value_that_is_not_in_the_legend_is_named(tmp_path):
    values = land()
    values[200, 300] = 37
    cover = ClassMap(write(tmp_path / "odd.tif", values), WORLDCOVER)
    lon, lat, _, _ = positions("EPSG:4326", DEGREES, values.shape)
    with pytest.raises(TerrainError, match=r"odd\.tif holds the value 37, .*'ESA WorldCover'.*10, 20, 30"):
        cover.at(lon, lat, np.ones(len(lon)))


def test_all_files_that_cannot_be_read_are_named(tmp_path):
    write(tmp_path / "good.tif", land())
    (tmp_path / "bad.tif").write_bytes(b"not a raster")
    write(tmp_path / "float.tif", land().astype(np.float32))
    write(tmp_path / "nowhere.tif", land(), crs=None)
    with pytest.raises(TerrainError) as caught:
        ClassMap([tmp_path], WORLDCOVER)
    text = str(caught.value)
    assert "bad.tif cannot be read" in text
    assert "float.tif holds float32" in text
    assert "nowhere.tif has no coordinate reference system" in text
    with pytest.raises(TerrainError, match=r"none\*\.tif holds no file"):
        ClassMap([tmp_path / "none*.tif"], WORLDCOVER)


ENTRY = {"segment": "rock", "name": "Rock", "colour": [1, 2, 3]}


@pytest.mark.parametrize(
    ("classes", "key"),
    [
        ({}, r"legend\.classes=0"),
        ({7: {"segment": "rock", "name": "Rock"}}, r"classes\.7\.colour"),
        ({7: ENTRY | {"segment": "sea"}}, r"classes\.7\.segment='sea'.*water, forest"),
        ({7: ENTRY | {"colour": [1, 2, 256]}}, r"classes\.7\.colour"),
        ({7: ENTRY, 8: ENTRY | {"also": [7]}}, r"classes=7 is not allowed; allowed: a value once"),
    ],
)
def test_legends_that_cannot_work_are_refused(classes, key):
    with pytest.raises(ConfigError, match=key):
        Legend("own", classes)


def test_segments_come_from_the_map_and_where_it_ends_from_elevation(tmp_path):
    dem = grid_dem(lambda e, n: 800 + 0.3 * e)  # forest by the rules
    half = np.full((1000, 500), 80, np.uint8)
    x = HOME[0] - 500 * 1e-4
    cover = ClassMap(write(tmp_path / "a.tif", half, transform=Affine(1e-4, 0, x, 0, -1e-4, 47.25)), WORLDCOVER)
    camera = camera_at_home(2500.0, pitch=-np.pi / 2, horizontal_fov=0.6)
    plain, mapped = (Scene(World(RayCaster(dem), land), camera, "v") for land in (None, cover))
    assert (plain.segments == SEGMENT_NAMES.index("forest")).all()
    west = mapped.hits.longitude < HOME[0]
    assert 0.4 < west.mean() < 0.6
    np.testing.assert_array_equal(mapped.segments, np.where(west, 1, 2))
    np.testing.assert_array_equal(mapped.arrays("segments"), SEGMENT_COLOURS[mapped.segments])
    own = ClassMap(tmp_path / "a.tif", WORLDCOVER, own_colours=True)
    image = Scene(World(RayCaster(dem), own), camera, "v").arrays("segments")
    assert (image[west] == [0, 100, 200]).all()
    assert (image[~west] == SEGMENT_COLOURS[2]).all()
    assert cover.parameters()["files"][0][0] == "a.tif"
    assert cover.parameters() != own.parameters()


@pytest.mark.parametrize("option", sorted(path.stem for path in (conf_dir() / "land_cover").glob("*.yaml")))
def test_every_option_goes_into_a_rendering(option, tmp_path):
    register()
    path = write(tmp_path / "a.tif", land(values=tuple(legend_of(option).index)[:3]))
    asked = [f"+land_cover@terrain.land_cover={option}", f"terrain.land_cover.paths=[{path}]"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("render", overrides=asked)
    cover = instantiate(cfg.terrain.land_cover, _convert_="all")
    assert isinstance(cover, ClassMap)
    assert cover.legend.parameters() == legend_of(option).parameters()
