"""Compositions against their formulas."""

import numpy as np
import pytest
import torch

from crosslocate.data.tensors import Composite, Gray, LogDepth, MetricDepth, Rgb, SegmentsOneHot, Silhouettes
from crosslocate.errors import ConfigError

PALETTE = [[135, 190, 235], [30, 80, 170], [35, 95, 45], [125, 115, 105], [150, 190, 85], [245, 248, 252]]
N, H, W = 3, 5, 7


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    depth = rng.uniform(0, 30_000, (N, H, W)).astype(np.float16)
    depth[:, :2] = -1
    depth[:, 2, :2] = [0.0, 0.5]
    raw = {
        "photo": rng.integers(0, 256, (N, H, W, 3), dtype=np.uint8),
        "segments": np.array(PALETTE, np.uint8)[rng.integers(0, 6, (N, H, W))],
        "silhouettes": rng.choice(np.array([0, 255], np.uint8), (N, H, W)),
        "depth": depth,
        "photo_gray": rng.uniform(0, 255, (N, H, W)).astype(np.float32),
        "silhouettes_gray": rng.uniform(0, 255, (N, H, W)).astype(np.float32),
        "silhouettes_rgb": rng.integers(0, 256, (N, H, W, 1), dtype=np.uint8).repeat(3, -1),
        "depth_plain": depth.astype(np.float32),
    }
    return {name: torch.from_numpy(image) for name, image in raw.items()}


EVERY = [
    Rgb(),
    Rgb("segments"),
    Rgb("silhouettes_rgb"),
    Gray(),
    Gray("segments", channels=3),
    Gray("photo_gray", channels=3),
    Gray("silhouettes_gray"),
    SegmentsOneHot(PALETTE),
    Silhouettes(),
    Silhouettes(channels=3),
    LogDepth(),
    MetricDepth(),
    MetricDepth(modality="depth_plain"),
    Composite([Gray(), LogDepth(), Silhouettes()]),
]


@pytest.mark.parametrize("composition", EVERY, ids=lambda c: type(c).__name__)
def test_shape_type_and_promises(composition, images):
    wanted = {name: images[name] for name in composition.modalities}
    output = composition(wanted)
    assert output.shape == (N, composition.channels, H, W)
    assert output.dtype == torch.float32
    assert torch.isfinite(output).all()
    before = {name: image.clone() for name, image in wanted.items()}
    composition(wanted)
    assert all(torch.equal(wanted[name], before[name]) for name in wanted)


@pytest.mark.parametrize("composition", EVERY, ids=lambda c: type(c).__name__)
def test_augmented_float_pixels_give_the_same_as_raw_ones(composition, images):
    raw = {name: images[name] for name in composition.modalities}
    floats = {name: image.float() for name, image in raw.items()}
    torch.testing.assert_close(composition(floats), composition(raw))


def test_rgb_is_imagenet_normalised_and_channels_last(images):
    output = Rgb()(images)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = ((images["photo"].numpy() / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(output, expected, atol=1e-5)
    assert output.is_contiguous(memory_format=torch.channels_last)


def test_raw_rgb_passes_values_on(images):
    raw = Rgb(mean=[0, 0, 0], std=[1 / 255] * 3)
    np.testing.assert_allclose(raw(images), images["photo"].permute(0, 3, 1, 2), rtol=1e-6)


def test_gray(images):
    output = Gray(mean=0.0, std=1 / 255, channels=3)(images)
    expected = images["photo"].numpy() @ np.array([0.299, 0.587, 0.114])
    for channel in range(3):
        np.testing.assert_allclose(output[:, channel], expected, rtol=1e-5)


def test_gray_that_was_read_as_gray_is_only_scaled(images):
    output = Gray("photo_gray", mean=0.25, std=0.5)(images)
    np.testing.assert_allclose(output[:, 0], (images["photo_gray"].numpy() / 255 - 0.25) / 0.5, rtol=1e-5, atol=1e-6)
    unchanged = Gray("photo_gray", mean=0.0, std=1 / 255, channels=2)(images)
    np.testing.assert_array_equal(unchanged[:, 1], images["photo_gray"])


def test_gray_with_channels_of_its_own_keeps_them_where_there_is_room(images):
    tinted = {"photo_gray": images["photo"]}
    raw = Gray("photo_gray", mean=0.0, std=1 / 255, channels=3)
    np.testing.assert_allclose(raw(tinted), images["photo"].permute(0, 3, 1, 2), rtol=1e-6)
    for channels in (1, 2):
        gray = Gray("photo_gray", channels=channels)(tinted)
        torch.testing.assert_close(gray, Gray(channels=channels)(images))


def test_log_depth(images):
    output = LogDepth()(images)
    depth = images["depth"].numpy().astype(np.float64)
    sky = depth < 0
    np.testing.assert_array_equal(output[:, 1], sky)
    expected = np.where(depth <= 0, 0, (np.log(np.maximum(depth, 1)) - 5) / 2.5)  # 0: outside the image
    np.testing.assert_allclose(output[:, 0], expected, atol=1e-5)
    assert (output[:, 0].numpy()[sky] == 0).all()


def test_metric_depth_and_silhouettes(images):
    metric = MetricDepth()(images)
    for channel in range(3):
        np.testing.assert_array_equal(metric[:, channel], images["depth"].float())
    assert set(Silhouettes()(images).unique().tolist()) == {0.0, 1.0}
    assert Silhouettes(scale=255.0)(images).max() == 255


def test_one_hot_finds_the_class_of_each_colour(images):
    output = SegmentsOneHot(PALETTE)(images)
    expected = (images["segments"].numpy()[:, None] == np.array(PALETTE)[None, :, None, None]).all(-1)
    np.testing.assert_array_equal(output, expected)


def test_one_hot_of_disturbed_and_black_colours():
    composition = SegmentsOneHot(PALETTE)
    noisy = np.clip(np.add(PALETTE, [6, -6, 5]), 0, 255).astype(np.uint8).reshape(1, 1, 6, 3)
    output = composition({"segments": torch.from_numpy(noisy)})
    np.testing.assert_array_equal(output[0, :, 0].argmax(0), np.arange(6))
    black = composition({"segments": torch.zeros(1, 2, 2, 3, dtype=torch.uint8)})
    assert black.sum() == 0
    with_black = SegmentsOneHot([[0, 0, 0], [255, 255, 255]])
    assert with_black({"segments": torch.zeros(1, 1, 1, 3, dtype=torch.uint8)}).flatten().tolist() == [1, 0]


def test_composite_joins_channels_and_modalities(images):
    composite = Composite([Gray(), LogDepth(), Silhouettes()])
    assert composite.modalities == ("photo", "depth", "silhouettes")
    assert composite.channels == 4
    output = composite(images)
    torch.testing.assert_close(output[:, :1], Gray()(images))
    torch.testing.assert_close(output[:, 1:3], LogDepth()(images))
    torch.testing.assert_close(output[:, 3:], Silhouettes()(images))


def test_impossible_compositions_are_refused():
    with pytest.raises(ConfigError, match="modality='depth' is not allowed; allowed: one of photo, segments, normals"):
        Rgb("depth")
    with pytest.raises(
        ConfigError, match="modality='depth' is not allowed; allowed: one of photo, segments, normals, photo_gray"
    ):
        Gray("depth")
    with pytest.raises(
        ConfigError, match="modality='photo' is not allowed; allowed: one of depth, axial_depth, depth_plain"
    ):
        MetricDepth(modality="photo")
    with pytest.raises(ConfigError, match="at least one composition"):
        Composite([])
    with pytest.raises(ConfigError, match="a list of colours"):
        SegmentsOneHot([[1, 2], [3, 4]])


def test_the_palette_of_the_option_is_that_of_the_renderer():
    import yaml

    from crosslocate.config.app import conf_dir
    from crosslocate.terrain.imagery.landcover import SEGMENT_COLOURS

    option = yaml.safe_load((conf_dir() / "tensor/segments_onehot.yaml").read_text())
    assert option["palette"] == SEGMENT_COLOURS.tolist()


def test_z_depth_edges_and_normals_are_composed_like_their_kin():
    depth = torch.tensor([[[-1.0, 0.0, 150.0]]])
    torch.testing.assert_close(LogDepth("axial_depth")({"axial_depth": depth}), LogDepth()({"depth": depth}))
    edges = torch.tensor([[[0, 51, 255]]], dtype=torch.uint8)
    torch.testing.assert_close(Silhouettes(modality="edges")({"edges": edges}), torch.tensor([[[[0.0, 0.2, 1.0]]]]))
    normals = torch.tensor([[[[128, 128, 255], [0, 128, 128]]]], dtype=torch.uint8)
    composed = Rgb("normals", mean=[0.5] * 3, std=[0.5] * 3)({"normals": normals})
    torch.testing.assert_close(
        composed[0, :, 0].T, torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]]), atol=0.005, rtol=0
    )
    with pytest.raises(ConfigError, match="modality='depth_plain' is not allowed; allowed: one of depth, axial_depth"):
        LogDepth("depth_plain")
    with pytest.raises(ConfigError, match="modality='depth' is not allowed; allowed: one of silhouettes, edges"):
        Silhouettes(modality="depth")


@pytest.mark.parametrize("modality", ["axial_depth", "edges", "normals"])
def test_the_options_of_rendered_modalities_read_them(modality):
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from crosslocate.config.app import conf_dir

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose(f"modality/{modality}")
    assert instantiate(cfg["modality"]["database"]).modalities == (modality,)
    assert instantiate(cfg["modality"]["query"]).modalities == ("photo",)
