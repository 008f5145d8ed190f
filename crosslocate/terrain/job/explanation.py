"""What a rendering would make, said before it begins: views, images, bytes and hours, measured on a few views."""

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crosslocate.console import console, say
from crosslocate.terrain.elevation.describe import describe_terrain, explain
from crosslocate.terrain.job.files import HALF_LIMIT
from crosslocate.terrain.job.opening import choose_cameras, tables_of
from crosslocate.terrain.job.plan import RenderPlan
from crosslocate.terrain.job.progress import spoken
from crosslocate.terrain.job.scene import product, scenes
from crosslocate.terrain.job.storage import views_per_chunk
from crosslocate.terrain.viewpoints.cameras import CameraTable
from crosslocate.terrain.viewpoints.survey import Surveyed

TRIED = 4
"""Views of a role that are rendered for an estimate."""


@dataclass(frozen=True)
class Estimate:
    """What the views of a role will take.

    Attributes:
        size: Mean bytes of a view's files by modality.
        seconds: Mean seconds of rendering and encoding a view by one process.
    """

    size: Mapping[str, float]
    seconds: float


def explain_plan(plan: RenderPlan, workers: int, root: Path, surveyed: Surveyed | None = None) -> None:
    """Say what was read and what will be made.

    Args:
        plan: The data set.
        workers: Processes that will render.
        root: Folder of the data set; the room on its disk is looked at.
        surveyed: The cameras; None: they are chosen now.

    Raises:
        TerrainError: A camera cannot be rendered.
    """
    explain(plan.world.caster.terrain)
    if surveyed is None:
        surveyed = choose_cameras(plan, workers)
    for name, finding in surveyed.findings.items():
        for line in told(name, finding):
            say(line)
    estimates = {role: estimate(plan, role, table) for role, table in tables_of(surveyed).items() if len(table)}
    counts = {role: len(table) for role, table in tables_of(surveyed).items()}
    _print_table(plan, counts, estimates)
    _say_what_it_takes(plan, workers, root, counts, estimates)


def told(name: str, finding: Any) -> list[str]:
    """A finding as lines for a person: a line for every mapping that holds no other."""
    name = name.replace("_", " ")
    if not isinstance(finding, Mapping):
        return [f"{name}: {finding}"]
    plain = {key.replace("_", " "): value for key, value in finding.items() if not isinstance(value, Mapping)}
    deeper = [
        line for key, value in finding.items() if isinstance(value, Mapping) for line in told(f"{name}, {key}", value)
    ]
    return ([f"{name}: " + ", ".join(f"{key} {value}" for key, value in plain.items())] if plain else []) + deeper


def estimate(plan: RenderPlan, role: str, table: CameraTable) -> Estimate:
    """Render a few views, spread evenly, and measure; code that is not compiled yet is compiled before."""
    modalities = plan.images.of_role(role)
    rows = np.unique((np.arange(TRIED) + 0.5) / TRIED * len(table)).astype(np.int64)
    cameras = [table.camera(row, plan.images.width, plan.images.height) for row in rows.tolist()]
    names = table.name[rows].tolist()

    def sizes(count: int) -> list[dict[str, int]]:
        views = scenes(plan.world, cameras[:count], names[:count])
        return [{modality: len(product(modality).encode(scene)) for modality in modalities} for scene in views]

    sizes(1)
    begin = time.perf_counter()
    found = sizes(len(rows))
    seconds = time.perf_counter() - begin
    mean = {modality: sum(size[modality] for size in found) / len(rows) for modality in modalities}
    return Estimate(mean, seconds / len(rows))


def _print_table(plan: RenderPlan, counts: Mapping[str, int], estimates: Mapping[str, Estimate]) -> None:
    from rich.table import Table

    table = Table("role", "modality", "images", "bytes each", "bytes", title="To be made", title_justify="left")
    for role, count in counts.items():
        for modality in plan.images.of_role(role):
            each = estimates[role].size[modality] if role in estimates else 0.0
            kept = each if views_per_chunk(plan.storage) is not None else 0.0
            table.add_row(role, modality, f"{count:,}", f"{each:,.0f}", amount(kept * count))
    console().print(table)


def _say_what_it_takes(
    plan: RenderPlan, workers: int, root: Path, counts: Mapping[str, int], estimates: Mapping[str, Estimate]
) -> None:
    seconds = sum(counts[role] * found.seconds for role, found in estimates.items())
    total = sum(counts[role] * sum(found.size.values()) for role, found in estimates.items())
    if views_per_chunk(plan.storage) is None:
        say(f"no image is kept: views are rendered when they are read; all of them once takes a core {spoken(seconds)}")
        return
    say(f"about {amount(total)} and {spoken(seconds / workers)} on {workers} cores of this machine")
    farthest = _farthest(plan) if plan.images.depth_type == "half" and _has_depth(plan) else 0.0
    if farthest > 8_192.0:
        say("depth is rounded by up to 4 m beyond 8 km, 8 m beyond 16 km, 16 m beyond 32 km (images.depth_type=half)")
    if farthest > HALF_LIMIT:
        say("depth beyond 65,504 m is stored as 65,504 m (images.depth_type=half); float keeps it")
    free = shutil.disk_usage(next(folder for folder in (root, *root.absolute().parents) if folder.exists())).free
    if total > free:
        say(f"the disk of {root} has {amount(free)} free: that is not enough")


def _farthest(plan: RenderPlan) -> float:
    """Metres within which everything lies that can be seen."""
    width, height = describe_terrain(plan.world.caster.terrain).extent_km
    return min(plan.world.caster.max_distance, 1000.0 * math.hypot(width, height))


def _has_depth(plan: RenderPlan) -> bool:
    roles = ("database", "queries")
    return any(modality in ("depth", "axial_depth") for role in roles for modality in plan.images.of_role(role))


def amount(size: float) -> str:
    """Bytes for a person: ``12 kB``, ``3.4 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000.0:
            return f"{size:.3g} {unit}"
        size /= 1000.0
    return f"{size:,.2f} TB"
