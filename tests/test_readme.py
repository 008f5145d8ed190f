"""Every command in README.md runs, in its order, made small by further overrides."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from reference_layout import build_reference
from running import TINY, finish, start

README = Path(__file__).parents[1] / "README.md"
RUN = "outputs/train/2026-01-31_12-00-00"
SWEEP = "outputs/sweep/2026-01-31_12-00-00"
MAKE = {"make demo", "make test"}
CLUSTER = "python scripts/slurm.py "
"""Begins commands that need a cluster: tests/slurm submits a sweep with it."""
SMALL_TERRAIN = [
    "survey.database.spacing=2500", "survey.splits.size=5000", "survey.splits.gap=500", "survey.headings=4",
    "survey.queries.count=40", "images.width=32", "images.height=24", "terrain.caster.max_distance=8000",
]  # fmt: skip
SMALL_REFERENCE = [
    "backbone.weights=none", "dataset.size=[16,32]", "dataset.workers=0", "threads=1", "trainer=cpu",
    "trainer.max_epochs=1", "trainer.enable_progress_bar=false",
]  # fmt: skip


def commands() -> list[str]:
    """Lines of the bash blocks, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.strip().splitlines()]


def small(command: str, tiny: Path) -> list[str]:
    """Arguments of a command, with what makes it small in front of or behind its own."""
    program, flag, module, *own = shlex.split(command)
    assert (program, flag) == ("python", "-m")
    name = module.removeprefix("crosslocate.")
    if "-m" in own:
        own = two_jobs(own)
    if any(a.startswith("experiment=crosslocate/") for a in own):
        own += SMALL_REFERENCE
    elif name == "train" and not any(a.startswith(("--", "resume=")) for a in own):
        kept = [a for a in TINY if not (a.startswith("experiment=") and any(o.startswith("experiment=") for o in own))]
        large = any(a.startswith("backbone=") for a in own)
        if large:  # whose checkpoints, one before every refresh, take most of the time
            kept = [a for a in kept if not a.startswith(("backbone.", "mining.queries_per_round="))]
            kept += ["backbone.weights=none", "mining.queries_per_round=null"]
        if "dataset=custom" in own:
            kept = [a for a in kept if a != "dataset=custom"]
        else:
            kept.append(f"dataset.root={tiny}")
        own = [*own, *(a for a in kept if "max_epochs" not in a), "trainer.max_epochs=1", "untrained=false"]
    if name == "tune":
        fixed = [a for a in TINY if not a.startswith("experiment=")]
        fixed += [f"dataset.root={tiny}", "untrained=false", "test=false"]
        own = [
            "trials=1" if a.startswith("trials=") else a.replace("]", f",{','.join(map(quoted, fixed))}]") for a in own
        ]
    if name == "render":
        own += SMALL_TERRAIN
    if name == "evaluate":
        own += ["trainer=cpu", "trainer.enable_progress_bar=false"]
        own = [f"catalog={tiny}" if a.startswith("catalog=") else a for a in own]
    return [name, *own]


def two_jobs(overrides: list[str]) -> list[str]:
    """A sweep's overrides with two values of the first list, one where the network is large, and one of every other."""
    lists = [k for k, override in enumerate(overrides) if "," in override]
    large = any(override.startswith("backbone=") for override in overrides)
    kept = {k: 2 if k == lists[0] and not large else 1 for k in lists}
    return [",".join(o.split(",")[: kept[k]]) if k in kept else o for k, o in enumerate(overrides)]


def quoted(override: str) -> str:
    return f'"{override}"'


def write_terrain(path: Path) -> None:
    """Hills of a few hundred metres, 25 by 8 km in posts of 100 m, as a GeoTIFF in UTM 32N."""
    rows, columns = np.mgrid[0:80, 0:250]
    heights = 900 + 250 * np.sin(columns / 9.0) * np.cos(rows / 7.0) + 120 * np.sin(columns / 4.0 + rows / 5.0)
    profile = {"driver": "GTiff", "height": 80, "width": 250, "count": 1, "dtype": "float32", "crs": "EPSG:32632"}
    with rasterio.open(path, "w", transform=rasterio.Affine(100, 0, 350_000, 0, -100, 5_100_000), **profile) as raster:
        raster.write(heights.astype(np.float32), 1)


def test_the_readme_says_what_to_run():
    found = commands()
    assert found[:2] == sorted(MAKE)
    assert len(found) >= 10


def test_every_command_runs(tiny_dataset, tmp_path):
    write_terrain(tmp_path / "dem.tif")
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((48, 64, 3), 128, np.uint8))
    build_reference(tmp_path)
    for file, rows in (("db.npy", 24), ("q.npy", 6)):  # views and queries of the tiny set's validation
        np.save(tmp_path / file, np.random.default_rng(0).standard_normal((rows, 8), dtype=np.float32))
    for command in commands():
        if command in MAKE or command.startswith(CLUSTER):
            continue
        if RUN in command and not (tmp_path / RUN).exists():
            shutil.copytree(newest_run(tmp_path), tmp_path / RUN)
        if SWEEP in command:
            shutil.copytree(max((tmp_path / "outputs/sweep").iterdir()), tmp_path / SWEEP)
        name, *arguments = small(command, tiny_dataset)
        print(command, "->", finish(start(name, *arguments, cwd=tmp_path))[-200:])
    answer = next(tmp_path.glob("outputs/localize/*/answer.json"))
    assert answer.with_suffix(".png").is_file()
    assert (tmp_path / "data/my_region/contact_sheet.png").is_file()
    assert (tmp_path / "data/sparse_depth/val/database.parquet").is_file()


def newest_run(folder: Path) -> Path:
    """The folder of the last single training below ``folder``."""
    return max((p.parent for p in folder.glob("outputs/train/*/results.json")), key=lambda p: p.stat().st_mtime)


@pytest.mark.slow
def test_the_demo_runs(tmp_path):
    demo = README.parent / "scripts" / "demo.py"
    arguments = ["--folder", str(tmp_path / "demo"), "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"]
    done = subprocess.run(
        [sys.executable, str(demo), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "recall@10" in done.stdout
    assert (tmp_path / "demo" / "localize" / "answer.png").is_file()
