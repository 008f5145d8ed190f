"""The embedded sample: a data set rendered on first use from the elevation tile that ships with matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING

from crosslocate.console import say
from crosslocate.terrain.elevation.dem import embedded_dem
from crosslocate.terrain.job.manifest import MANIFEST, RENDERER, read_manifest, require_same
from crosslocate.terrain.job.specification import Images
from crosslocate.terrain.viewpoints.strips import StripSurvey
from crosslocate.terrain.viewpoints.survey import Survey

if TYPE_CHECKING:
    from crosslocate.terrain.job.plan import RenderPlan

MAX_DISTANCE = 60_000.0
"""Farthest ground of the sample's views, metres: the tile is smaller."""


def ensure_sample(
    root: Path | str,
    survey: Survey | None = None,
    images: Images | None = None,
    workers: int | None = None,
    seed: int = 0,
) -> Path:
    """The folder of the sample, rendered now if it is not complete there; processes that ask at once share the work.

    Args:
        root: Folder of the sample.
        survey: Chooses the cameras; None for the sample as it is documented.
        images: What is rendered; None for the sample as it is documented.
        workers: Processes to render with; None for all cores.
        seed: Seed of every draw.

    Raises:
        TerrainError: ``root`` holds another data set, or the disk is full.
    """
    root, survey, images = Path(root), survey or StripSurvey(), images or Images()
    if (root / MANIFEST).exists():
        rendering = read_manifest(root)["rendering"]
        wanted = {
            "terrain": embedded_dem().fingerprint(),
            "survey": survey.parameters(),
            "images": images.parameters(),
            "seed": seed,
            "renderer": RENDERER,
        }
        require_same(root / MANIFEST, {key: rendering.get(key) for key in wanted}, wanted)
        return root
    from crosslocate.terrain.job.rendering import render_dataset  # compiled code: imported only when there is work

    say(f"Rendering the sample into {root} (once; about a minute)")
    render_dataset(root, sample_plan(survey, images, seed), workers=workers)
    return root


def sample_plan(survey: Survey, images: Images, seed: int = 0) -> "RenderPlan":
    """A data set on the embedded tile."""
    from crosslocate.terrain.casting.raycast import RayCaster
    from crosslocate.terrain.job.plan import RenderPlan
    from crosslocate.terrain.job.scene import World
    from crosslocate.terrain.job.storage import Files

    caster = RayCaster(embedded_dem(), refraction=0.13, max_distance=MAX_DISTANCE)
    return RenderPlan(World(caster, None, seed, images.depth_type, images.photo), survey, images, Files())
