"""Poolings against NumPy, and what they do under autocast."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.errors import DataError
from crosslocate.models.pooling import Columns, Flatten, GeM, Mac, Spoc

SHAPES = st.tuples(
    st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1)
)


@settings(max_examples=30, deadline=None)
@given(SHAPES)
def test_global_poolings_are_their_formulas(shape):
    n, channels, height, width, seed = shape
    features = np.random.default_rng(seed).normal(size=(n, channels, height, width)).astype(np.float32)
    wanted = {
        Mac(channels=channels, spatial=(height, width)): features.max(axis=(2, 3)),
        Spoc(channels=channels, spatial=(height, width)): features.sum(axis=(2, 3)),
        GeM(3.0, True, channels=channels, spatial=(height, width)): np.cbrt(
            (np.maximum(features, 1e-4).astype(np.float64) ** 3).mean(axis=(2, 3))
        ),
    }
    for pooling, expected in wanted.items():
        pooled = pooling(torch.tensor(features))
        assert pooled.shape == (n, pooling.size)
        np.testing.assert_allclose(pooled.detach(), expected, rtol=1e-4, atol=1e-5)


def test_gem_goes_from_the_mean_to_the_maximum():
    features = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) + 0.1
    shape = {"channels": 3, "spatial": (4, 5)}
    torch.testing.assert_close(GeM(1.0, False, **shape)(features), features.mean(dim=(2, 3)))
    torch.testing.assert_close(GeM(60.0, False, **shape)(features), features.amax(dim=(2, 3)), rtol=0.06, atol=0)


@pytest.mark.parametrize("learnable", [True, False])
def test_gem_learns_its_exponent_only_if_asked(learnable):
    pooling = GeM(3.0, learnable, channels=2, spatial=(3, 3))
    features = torch.rand(2, 2, 3, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    pooling(features).sum().backward()
    assert (pooling.p.grad is not None and pooling.p.grad.abs() > 0) == learnable
    assert "p" in pooling.state_dict()


def test_gem_keeps_finite_gradients_at_dead_channels():
    features = torch.zeros(1, 2, 3, 3, requires_grad=True)
    pooling = GeM(3.0, True, channels=2, spatial=(3, 3))
    pooling(features).sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(pooling.p.grad)


def test_flatten_keeps_every_place_of_the_reduced_map():
    pooling = Flatten(2, channels=3, spatial=(4, 5))
    features = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    kernel, bias = pooling.reduction.weight[:, :, 0, 0], pooling.reduction.bias
    expected = (torch.einsum("rc,nchw->nrhw", kernel, features) + bias[:, None, None]).reshape(2, 40)
    assert pooling.size == 40
    torch.testing.assert_close(pooling(features), expected)


def test_columns_do_not_mind_up_and_down_but_keep_left_from_right():
    pooling = Columns(2, channels=3, spatial=(4, 5))
    features = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(3))
    kernel, bias = pooling.reduction.weight[:, :, 0, 0], pooling.reduction.bias
    reduced = torch.einsum("rc,nchw->nrhw", kernel, features) + bias[:, None, None]
    pooled = pooling(features)
    assert pooling.size == 10
    torch.testing.assert_close(pooled, reduced.amax(dim=2).reshape(2, 10))
    torch.testing.assert_close(pooling(features.roll(1, dims=2)), pooled)
    assert not torch.allclose(pooling(features.roll(1, dims=3)), pooled)


@pytest.mark.parametrize("kind", [Flatten, Columns])
def test_poolings_of_one_map_size_refuse_another(kind):
    with pytest.raises(DataError, match=r"\(4, 6\) \(height, width\).*built for \(4, 5\)"):
        kind(2, channels=3, spatial=(4, 5))(torch.zeros(1, 3, 4, 6))


def test_sums_in_float32_under_autocast():
    ones = torch.full((1, 1, 40, 40), 1.0, dtype=torch.bfloat16)
    ones[0, 0, 0, 0] = 2.0  # 1601 is no bfloat16 number
    with torch.autocast("cpu", torch.bfloat16):
        assert Spoc(channels=1, spatial=(40, 40))(ones).item() == 1601.0
