from dataclasses import replace

import numpy as np
import pytest

from crosslocate.errors import TerrainError
from crosslocate.terrain.elevation.dem import embedded_dem
from crosslocate.terrain.viewpoints.cameras import CameraTable

DEM = embedded_dem()


def table(count: int = 4) -> CameraTable:
    still = np.zeros(count)
    return CameraTable(
        name=np.array([f"view{i}" for i in range(count)]),
        place=np.arange(count, dtype=np.int32),
        split=np.array(["train"] * count),
        longitude=np.full(count, -84.2),
        latitude=np.full(count, 36.3),
        elevation=np.full(count, 1200.0),
        yaw=still,
        pitch=still,
        roll=still,
        horizontal_fov=np.full(count, 1.0),
    )


def spoiled(column: str, row: int, value: float) -> CameraTable:
    values = getattr(table(), column).copy()
    values[row] = value
    return replace(table(), **{column: values})


def test_a_sound_table_passes():
    table().check(DEM)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("longitude", np.nan, "longitude=nan"),
        ("latitude", 95.0, "latitude=95.0"),
        ("pitch", 2.0, "pitch=2.0"),
        ("yaw", np.inf, "yaw=inf"),
        ("horizontal_fov", 0.0, "horizontal_fov=0.0"),
        ("horizontal_fov", 3.2, "horizontal_fov=3.2"),
        ("elevation", 100.0, "not above the terrain"),
        ("longitude", -80.0, "outside the elevation model"),
    ],
)
def test_a_bad_row_is_named(column, value, says):
    with pytest.raises(TerrainError, match=r"row 2 \(view2\)") as error:
        spoiled(column, 2, value).check(DEM)
    assert says in str(error.value)


def test_camera_under_the_terrain_tells_both_elevations():
    ground = float(DEM.elevation_at(-84.2, 36.3))
    with pytest.raises(TerrainError, match=f"{ground:.2f} m") as error:
        spoiled("elevation", 1, ground - 3.0).check(DEM)
    assert f"{ground - 3.0:.2f} m" in str(error.value)
    assert "at least 3.00 m" in str(error.value)


def test_a_name_used_twice_is_refused():
    with pytest.raises(TerrainError, match=r"rows \[0, 3\] share the name 'view0'"):
        replace(table(), name=np.array(["view0", "view1", "view2", "view0"])).check(DEM)


def test_columns_of_different_length_are_refused():
    with pytest.raises(TerrainError, match="differ in length"):
        replace(table(), yaw=np.zeros(3))


def test_rows_become_cameras():
    camera = spoiled("yaw", 3, 0.5).take(np.array([3, 0])).camera(0, 40, 30)
    assert (camera.yaw, camera.width, camera.height) == (0.5, 40, 30)
