import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.errors import ConfigError
from crosslocate.terrain.viewpoints.poses import SHARES, PoseDistribution, draw_quantiles


@given(st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=5).map(sorted), st.integers(0, 2**32))
def test_draws_stay_within_the_ends_and_have_the_quantiles(quantiles, seed):
    values = draw_quantiles(np.random.default_rng(seed), quantiles, 4000)
    assert values.min() >= quantiles[0] - 1e-9
    assert values.max() <= quantiles[-1] + 1e-9
    for share, quantile in zip(SHARES[1:-1], quantiles[1:-1], strict=True):
        # four standard deviations of the share of draws at or below the quantile
        tolerance = 4 * np.sqrt(share * (1 - share) / 4000)
        assert (values < quantile - 1e-9).mean() <= share + tolerance
        assert (values <= quantile + 1e-9).mean() >= share - tolerance


def test_defaults_are_the_quantiles_of_the_real_cameras():
    poses, rng = PoseDistribution(), np.random.default_rng(0)
    fov = np.degrees(poses.draw_fields_of_view(rng, 50_000))
    yaw, pitch, roll = poses.draw_directions(rng, 50_000)
    heights = poses.draw_heights(rng, 50_000)
    np.testing.assert_allclose(np.percentile(fov, [5, 50, 95]), [23, 59, 85], atol=0.7)
    np.testing.assert_allclose(np.degrees(np.percentile(pitch, [5, 50, 95])), [-18, -2, 15], atol=0.5)
    np.testing.assert_allclose(np.degrees(np.percentile(roll, [5, 50, 95])), [-4, 0, 3], atol=0.2)
    np.testing.assert_allclose(np.percentile(heights, [50, 95]), [20, 93], atol=4)
    assert np.histogram(yaw, 12, (0, 2 * np.pi))[0].std() < 200


def test_no_camera_is_below_eye_height():
    heights = PoseDistribution(eye_height=1.7).draw_heights(np.random.default_rng(1), 1000)
    assert heights.min() == 1.7


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pitch", (0.0, 1.0, 2.0, 3.0)),
        ("roll", (0.0, 5.0, 2.0, 3.0, 9.0)),
        ("field_of_view", (0.0, 5.0, 20.0, 30.0, 90.0)),
        ("field_of_view", (10.0, 50.0, 90.0, 130.0, 180.0)),
        ("eye_height", 0.0),
    ],
)
def test_impossible_distributions_are_refused(key, value):
    with pytest.raises(ConfigError, match=rf"^survey\.poses\.{key}="):
        PoseDistribution(**{key: value}).check("survey.poses")
