"""What a scene says that a file holds is what the reader of data sets finds in it."""

import numpy as np
import pytest
from affine import Affine
from synthetic_terrain import jacksboro, jacksboro_caster

from crosslocate.data.images import MODALITIES, decode
from crosslocate.errors import ConfigError
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.prepared import load_terrain, save_terrain
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.imagery.landcover import SEGMENT_COLOURS
from crosslocate.terrain.job.scene import PRODUCTS, Scene, World

CAMERA = Camera(-84.2306, 36.1983, 1090.0, 2.0, -0.05, 0.1, 1.0, 64, 48)


def scene(**world) -> Scene:
    return Scene(World(jacksboro_caster(), **world), CAMERA, "view")


@pytest.mark.parametrize("depth_type", ["half", "float"])
@pytest.mark.parametrize("modality", MODALITIES)
def test_arrays_are_what_decoding_gives(modality, depth_type, tmp_path):
    path = tmp_path / f"view.{PRODUCTS[modality].suffix}"
    path.write_bytes(PRODUCTS[modality].encode(scene(depth_type=depth_type)))
    array, decoded = scene(depth_type=depth_type).arrays(modality), decode(path, modality)
    assert array.dtype == decoded.dtype
    np.testing.assert_array_equal(array, decoded)
    assert len(np.unique(array)) > 1


def test_every_modality_that_is_read_can_be_rendered():
    assert set(PRODUCTS) == set(MODALITIES) | {"coordinates"}


@pytest.mark.parametrize("modality", PRODUCTS)
def test_images_are_a_function_of_world_camera_and_name(modality):
    first, again = PRODUCTS[modality].encode(scene()), PRODUCTS[modality].encode(scene())
    assert first == again
    other = Scene(World(jacksboro_caster()), CAMERA, "other")
    assert (PRODUCTS[modality].encode(other) == first) == (modality != "photo")


def two_layers() -> Terrain:
    """A finer model of a hill in the middle of the sample's terrain."""
    coarse = jacksboro()
    column, row = (round(float(a)) for a in coarse.pixel_of(-84.2306, 36.1983))
    posts = coarse.elevation[row - 20 : row + 21, column - 20 : column + 21].repeat(3, 0).repeat(3, 1)[1:-1, 1:-1]
    fine = coarse.transform @ Affine.translation(column - 20, row - 20) @ Affine.scale(1 / 3)
    return Terrain.of(Dem(posts, fine, coarse.crs), coarse)


@pytest.mark.parametrize("modality", PRODUCTS)
def test_a_terrain_in_files_gives_the_same_images(modality, tmp_path):
    save_terrain(two_layers(), tmp_path / "terrain")
    mapped = load_terrain(tmp_path / "terrain")
    assert not mapped.posts.flags.owndata
    in_memory, in_files = (Scene(World(RayCaster(t, detail=1.0)), CAMERA, "view") for t in (two_layers(), mapped))
    assert {0, 1} <= set(np.unique(in_memory.ground.layer).tolist())
    assert PRODUCTS[modality].encode(in_memory) == PRODUCTS[modality].encode(in_files)


def test_axial_depth_is_never_longer_than_the_ray():
    ray, axial = scene(depth_type="float").arrays("depth"), scene(depth_type="float").arrays("axial_depth")
    seen = ray > 0
    assert (axial[seen] <= ray[seen]).all()
    assert (axial[~seen] == -1).all()


def test_segments_are_painted_in_the_palette():
    colours = {tuple(c) for c in scene().arrays("segments").reshape(-1, 3).tolist()}
    assert colours <= {tuple(c) for c in SEGMENT_COLOURS.tolist()}


def test_unknown_modalities_are_refused():
    with pytest.raises(ConfigError, match=r"modality='thermal' .*photo, depth, axial_depth"):
        scene().arrays("thermal")
