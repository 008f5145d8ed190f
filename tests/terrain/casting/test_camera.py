import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_terrain import camera_at_home

from crosslocate.errors import TerrainError


def axis_of(camera):
    return camera.ray_directions()[camera.height // 2, camera.width // 2]


def test_axis_points_where_yaw_and_pitch_say():
    np.testing.assert_allclose(axis_of(camera_at_home(0.0)), [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(axis_of(camera_at_home(0.0, yaw=np.pi / 2)), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(axis_of(camera_at_home(0.0, pitch=0.3)), [0, np.cos(0.3), np.sin(0.3)], atol=1e-12)


def test_outer_pixel_edges_span_the_field_of_view():
    camera = camera_at_home(0.0, width=40, horizontal_fov=1.0)
    azimuth, elevation = camera.ray_angles()
    focal = 20 / np.tan(0.5)
    assert azimuth[0, -1] == pytest.approx(np.arctan(19.5 / focal))
    assert azimuth[0, 0] == pytest.approx(-np.arctan(19.5 / focal))
    middle = elevation[15]
    assert middle == pytest.approx(np.zeros(40), abs=1e-12)
    assert elevation[0, 20] > 0 > elevation[-1, 20]


def test_clockwise_roll_lets_the_right_side_of_the_picture_look_down():
    rolled = camera_at_home(0.0, roll=0.2)
    _, elevation = rolled.ray_angles()
    middle = elevation[15]
    assert middle[-1] < 0 < middle[0]  # so the horizon runs higher on the right of the picture
    quarter = camera_at_home(0.0, roll=np.pi / 2)
    right, up, _ = quarter.axes()
    np.testing.assert_allclose(right, [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(up, [1, 0, 0], atol=1e-12)


@given(st.floats(-10, 10), st.floats(-1.5, 1.5), st.floats(-4, 4))
def test_axes_are_a_right_handed_frame(yaw, pitch, roll):
    axes = camera_at_home(0.0, yaw=yaw, pitch=pitch, roll=roll).axes()
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.cross(axes[0], axes[2]), axes[1], atol=1e-12)


@given(st.floats(-3, 3), st.floats(-1.2, 1.2), st.floats(-3, 3))
def test_angles_and_directions_say_the_same(yaw, pitch, roll):
    camera = camera_at_home(0.0, yaw=yaw, pitch=pitch, roll=roll, width=5, height=4)
    azimuth, elevation = camera.ray_angles()
    again = np.stack(
        [np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation), np.sin(elevation)], axis=-1
    )
    np.testing.assert_allclose(again, camera.ray_directions(), atol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("yaw", np.nan),
        ("elevation", np.inf),
        ("pitch", 1.6),
        ("horizontal_fov", 0.0),
        ("horizontal_fov", 3.2),
        ("width", 0),
    ],
)
def test_impossible_cameras_are_refused_with_the_value(field, value):
    with pytest.raises(TerrainError, match=str(value)):
        camera_at_home(**({"elevation": 0.0} | {field: value}))
