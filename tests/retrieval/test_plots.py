import cv2
import numpy as np
import pytest

from crosslocate.retrieval import plots
from crosslocate.retrieval.recall import QueryErrors, RecallCriteria, ViewCounts
from crosslocate.retrieval.results import metrics, summarize

CRITERIA = RecallCriteria((1, 5, 10), (20,), heading=30, curve_step=20, curve_limit=100)


def evaluation(scale):
    rng = np.random.default_rng(0)
    errors = np.sort(scale * rng.random((50, 3)), axis=1)[:, ::-1]
    views = np.tile(np.arange(6), (50, 1))
    return summarize("test", QueryErrors(errors, errors, errors[:, 0]), ViewCounts(views, views // 2), 60, CRITERIA)


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved, to look into."""
    saved = []
    save = plots.save
    monkeypatch.setattr(plots, "save", lambda figure, path: (saved.append(figure), save(figure, path)))
    return saved


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_curves_of_networks_and_chance(figures, tmp_path):
    trained, untrained = evaluation(100), evaluation(1000)
    plots.plot_recall_curves({"trained": trained, "untrained": untrained}, tmp_path / "new" / "curve.png")
    image = cv2.imread(str(tmp_path / "new" / "curve.png"))
    assert image.shape[1] == 1500
    assert image.std() > 5
    left, right = figures[0].axes
    assert len(left.lines) == len(right.lines) == 3 * 3
    np.testing.assert_array_equal(left.lines[0].get_ydata(), trained["curve"]["lines"][0]["recall"])
    np.testing.assert_array_equal(left.lines[1].get_ydata(), trained["curve"]["lines"][0]["chance"])
    assert texts(left)[-1].startswith("@10  ")
    assert [t.get_text() for t in figures[0].legends[0].get_texts()] == ["trained", "untrained", "chance"]


def test_labels_at_equal_values_do_not_overlap(figures, tmp_path):
    plots.plot_recall_curves({"x": evaluation(50)}, tmp_path / "curve.png")  # every recall ends at 100 %
    heights = sorted(text.xy[1] for text in figures[0].axes[0].texts)
    assert min(np.diff(heights)) >= plots.LABEL_GAP - 1e-9
    assert max(heights) <= 1.0  # within the panel


def history_of(epochs):
    val = {name.replace("test/", "val/"): value for name, value in metrics(evaluation(100)).items()}
    train = {name.replace("val/", "train/"): value / 2 for name, value in val.items()}
    entries = []
    for epoch in range(epochs):
        entry = {"epoch": float(epoch), "step": 10.0 * epoch, "train/loss": 1.0 / (epoch + 1)}
        entries.append(entry | (val | train | {"val/loss": 2.0} if epoch % 2 else {}))
    return entries, val


def test_history_by_epoch_for_every_distance_and_split(figures, tmp_path):
    entries, val = history_of(5)
    wide = {"numbers": (1, 5, 10), "distances": (20,), "heading": 30}
    plots.plot_history(entries, tmp_path / "h.png", **wide, splits=("val", "train"))
    upper, lower = figures[0].axes
    assert list(upper.lines[0].get_xdata()) == [2, 4]  # only where it was measured, counted from 1
    assert list(upper.lines[0].get_ydata()) == [val["val/recall@1_20m"]] * 2
    assert list(upper.lines[1].get_ydata()) == [val["val/recall@1_20m"] / 2] * 2
    assert list(upper.lines[2].get_ydata()) == [val["val/chance@1_20m"]] * 2
    assert list(lower.lines[0].get_ydata()) == [val["val/recall@1_20m_30deg"]] * 2
    assert [t.get_text() for t in figures[0].legends[0].get_texts()] == ["val", "train", "chance, val"]


def test_losses_by_epoch(figures, tmp_path):
    entries, _ = history_of(4)
    plots.plot_epoch_losses(entries, tmp_path / "l.png")
    train, val = figures[0].axes[0].lines
    np.testing.assert_allclose(train.get_xydata(), [(1, 1), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4)])
    np.testing.assert_allclose(val.get_xydata(), [(2, 2), (4, 2)])
    plots.plot_epoch_losses([{"epoch": 0.0}], tmp_path / "none.png")
    assert (tmp_path / "none.png").is_file()


def test_splits_side_by_side(figures, tmp_path):
    other = evaluation(200) | {"split": "train"}
    plots.plot_recall_curves({"test": evaluation(100), "train": other}, tmp_path / "both.png")
    assert "queries in views: test 50 in" in figures[0].get_suptitle()
    assert "train 50 in" in figures[0].get_suptitle()
    assert [t.get_text() for t in figures[0].legends[0].get_texts()][-1] == "chance, test"


@pytest.mark.parametrize("count", [0, 1, 20, 200])
def test_loss_of_any_length(figures, tmp_path, count):
    loss = np.arange(count, dtype=float)
    plots.plot_loss(np.arange(count), loss, tmp_path / "loss.png")
    assert cv2.imread(str(tmp_path / "loss.png")) is not None
    lines = figures[0].axes[0].lines
    assert len(lines) == (2 if count == 200 else 1)
    if count == 200:  # the mean of a straight line, drawn in the middle of its window, is nearly that line
        x, y = lines[1].get_data()
        np.testing.assert_allclose(x, y, atol=0.5)
