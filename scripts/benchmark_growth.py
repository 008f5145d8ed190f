"""How costs grow with the database: python scripts/benchmark_growth.py [--sizes 10000 ... 1000000] [--plot growth.png].

Relations, mining, extraction, evaluation and approximate search, always for as many queries, on databases of several
sizes, as dense as `synthetic_scale` and with descriptors of `synthetic_descriptors`. Every point has a process and one
thread of its own, and is the median of the repetitions, after one that does not count; what takes long is done once.
Prints a Markdown table of CPU seconds with the slope of every work: the exponent of the size that fits the upper half
of the sizes best, 1 being in proportion. With --plot it is drawn, too. Linux only.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from growth_works import WORKS, Database

INK, MUTED, FAINT = "#1f2933", "#7b8794", "#e4e7eb"
COLOURS = ("#4e79a7", "#e15759", "#b07aa1", "#59a14f", "#f28e2b", "#1f2933")
LONG = 15.0
"""CPU seconds of a work that is done once only."""
Costs = dict[str, dict[int, float]]
"""CPU seconds by work and number of views."""


def measure(name: str, database: Database, repeats: int) -> float:
    """CPU seconds of one work, in the process that this is called in."""
    once, seconds = WORKS[name].prepare(database), []
    for _ in range(1 + repeats):
        start = time.process_time()
        once()
        seconds.append(time.process_time() - start)
        if seconds[0] > LONG:
            break
    return float(np.median(seconds[1:] or seconds))


def costs(options: argparse.Namespace, folder: Path) -> Costs:
    """All points; one database lies on the disk at a time."""
    found: Costs = {name: {} for name in options.works}
    for views in options.sizes:
        database = Database(folder, views, options.size, options.search)
        database.make()
        for name in options.works:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found[name][views] = pool.apply(measure, (name, database, options.repeats))
        database.file.unlink()
    return found


def slope(points: dict[int, float]) -> float:
    """Exponent of the size in the cost, by least squares in logarithms over the upper half of the sizes."""
    upper = sorted(points.items())[-(len(points) // 2 + 1) :]
    sizes, seconds = np.log(np.array(upper)).T
    return float(np.polyfit(sizes, seconds, 1)[0])


def table(found: Costs, sizes: list[int]) -> str:
    """CPU seconds and slopes, as Markdown."""
    lines = [
        f"| CPU seconds | {' | '.join(f'{views:,}' for views in sizes)} | slope |",
        "|---" + "|---:" * (len(sizes) + 1) + "|",
    ]
    for name, points in found.items():
        cells = [f"{points[views]:.3g}" if views in points else "" for views in sizes]
        lines.append(f"| {WORKS[name].title} | {' | '.join(cells)} | {slope(points):.2f} |")
    return "\n".join(lines)


def draw(found: Costs, path: Path) -> None:
    """Cost over size, both logarithmic, with a name at the end of each line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    sizes = sorted({views for points in found.values() for views in points})
    ends = []
    for colour, (name, points) in zip(COLOURS, found.items(), strict=False):
        axes.plot(*zip(*points.items(), strict=True), color=colour, marker="o", markersize=4, linewidth=2)
        last = max(points)
        ends.append((points[last], last, f"{WORKS[name].label}: slope {slope(points):.2f}", colour))
    axes.set(xscale="log", yscale="log", xlabel="views in the database", ylabel="CPU seconds, one thread")
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(INK)
    _guide(axes, sizes, found)
    _label(axes, sizes[-1], ends)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks(sizes, [f"{views:,}" for views in sizes])
    axes.minorticks_off()
    axes.grid(color=FAINT, linewidth=0.8)
    axes.tick_params(which="both", colors=INK, length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle("Cost over the size of the database", x=0.01, ha="left", color=INK, fontsize=13, weight="bold")
    figure.savefig(path, dpi=150, facecolor="white")


def _guide(axes: Any, sizes: list[int], found: Costs) -> None:
    """What grows in proportion, above everything else."""
    steepest = 1.8 * max(seconds / views for points in found.values() for views, seconds in points.items())
    line = np.array([sizes[0], sizes[-1]])
    axes.plot(line, steepest * line, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    middle = np.sqrt(line[0] * line[1])
    axes.text(0.9 * middle, 1.2 * steepest * middle, "in proportion: slope 1", color=MUTED, fontsize=9, ha="right")


def _label(axes: Any, last: int, ends: list[Any]) -> None:
    """Names to the right of the lines, in their order, far enough apart to be read."""
    low, high = np.log(axes.get_ylim())
    gap, places = 0.05 * (high - low), list[float]()
    for seconds, *_ in sorted(ends):
        places.append(max(np.log(seconds), places[-1] + gap) if places else np.log(seconds))
    for place, (seconds, views, text, colour) in zip(places, sorted(ends), strict=True):
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.5, "relpos": (0, 0.5)}
        axes.annotate(
            text, (views, seconds), (1.15 * last, np.exp(place)), color=colour, fontsize=9.5, va="center",
            annotation_clip=False, arrowprops=leader,
        )  # fmt: skip


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--size", type=int, default=512, help="numbers in a descriptor")
    parser.add_argument("--search", default="ivf_pq", help="option of conf/search for approximate search")
    parser.add_argument("--folder", type=Path, help="scratch; the largest database takes size x views x 2 bytes")
    parser.add_argument("--plot", type=Path, help="PNG file")
    options = parser.parse_args()
    options.sizes.sort()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = costs(options, Path(folder))
    print(table(found, options.sizes))
    if options.plot:
        draw(found, options.plot)


if __name__ == "__main__":
    main()
