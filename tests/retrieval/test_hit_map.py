"""The map of hits and misses: its scale, what it shows, and that every query can be seen."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import figure as figures
from PIL import Image
from pyproj import Geod

from crosslocate.retrieval import hit_map as module
from crosslocate.retrieval.hit_map import Frame, plot_hit_map, round_length, spread
from crosslocate.retrieval.matches import Matches

WGS84 = Geod(ellps="WGS84")


def places(*pairs):
    longitude, latitude = np.array(pairs, np.float64).T
    return SimpleNamespace(longitude=longitude, latitude=latitude)


def matches_of(metres, localized):
    metres = np.asarray(metres, np.float64)[:, None]
    count = len(metres)
    return Matches(
        np.arange(count), np.zeros((count, 1), np.int64), metres, np.zeros((count, 1)), np.asarray(localized, bool)
    )


@pytest.mark.parametrize("reference", [(7.5, 46.6), (179.9999, 65.0), (-70.0, -33.0)])
def test_the_map_is_true_to_scale_with_north_up(reference):
    longitude, latitude, _ = WGS84.fwd([reference[0]] * 3, [reference[1]] * 3, [0, 90, 225], [0.0, 5000.0, 5000.0])
    frame = Frame.around(np.array(longitude), np.array(latitude))
    metres = frame.project(np.array(longitude), np.array(latitude))
    east, southwest = metres[1] - metres[0], metres[2] - metres[0]
    assert east == pytest.approx([5000, 0], abs=30)
    assert southwest == pytest.approx([-5000 / np.sqrt(2)] * 2, abs=30)
    assert (np.abs(metres - frame.centre) < frame.size / 2).all()


def test_only_views_on_the_map_are_drawn_and_a_place_once():
    frame = Frame.around(np.array([7.0, 7.1]), np.array([46.0, 46.0]))
    near, far = np.repeat([[100.0, 50.0]], 12, axis=0), np.array([[90_000.0, 0.0]])
    shown = frame.shown(np.concatenate([near, far]))
    assert shown.tolist() == [[100.0, 50.0]]


def test_queries_of_one_place_are_moved_apart_and_others_stay():
    start = np.concatenate([np.zeros((8, 2)), [[5000.0, 5000.0]]])
    moved = spread(start, 10.0)
    apart = np.linalg.norm(moved[:8, None] - moved[None, :8], axis=2)[~np.eye(8, dtype=bool)]
    assert apart.min() > 7.0
    assert np.linalg.norm(moved[:8], axis=1).max() < 25.0
    assert moved[8].tolist() == [5000.0, 5000.0]


@pytest.mark.parametrize(("metres", "length"), [(1234.0, 1000), (999.0, 500), (200.0, 200), (60.0, 50), (4.9e5, 2e5)])
def test_scale_bars_have_round_lengths(metres, length):
    assert round_length(metres) == length


def test_what_the_map_says(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(module, "save", lambda figure, path: kept.append(figure))
    queries = places((7.0, 46.0), (7.0, 46.0), (7.1, 46.0), (7.1, 46.02))
    matches = matches_of([3.0, 5.0, 800.0, 9000.0], [True, False, False, False])
    plot_hit_map(matches, queries, queries, tmp_path / "m.png", split="val", distance=20, heading=30)
    (figure,) = kept
    assert isinstance(figure, figures.Figure)
    assert figure.get_suptitle() == "Hits and misses · val, 1 of 4 queries within 20 m and 30°"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(labels) == {"views", "missed (2)", "right place, wrong heading (1)", "localized (1)"}
    missed = next(c for c in figure.axes[0].collections if c.get_label() == "missed (2)")
    assert missed.get_array().tolist() == [800.0, 9000.0]
    assert figure.axes[0].get_aspect() in ("auto", 1.0)
    box, limits = figure.axes[0].get_window_extent(), figure.axes[0].viewLim
    assert box.width / box.height == pytest.approx(limits.width / limits.height, rel=1e-6)


@pytest.mark.parametrize("localized", [[True], [False]])
def test_one_query_makes_a_map(tmp_path, localized):
    matches = matches_of([3.0 if localized[0] else 70.0], localized)
    path = tmp_path / "plots" / "hits.png"
    plot_hit_map(matches, places((7.0, 46.0)), places((7.0, 46.0)), path, split="test", distance=20, heading=30)
    with Image.open(path) as picture:
        assert min(picture.size) > 500
