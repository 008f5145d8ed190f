"""From an elevation model and a specification to a rendered data set."""

from pathlib import Path
from typing import Any

import numpy as np

from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.job.rendering import ImageSet, RenderPlan, available_cores, render_dataset
from crosslocate.terrain.job.scene import World
from crosslocate.terrain.job.specification import Specification
from crosslocate.terrain.viewpoints.places import Strips, choose_places
from crosslocate.terrain.viewpoints.views import database_cameras, query_cameras


def render_survey(root: Path, dem: Dem, specification: Specification, *, workers: int | None = None) -> dict[str, Any]:
    """Choose places on ``dem``, render their database views and queries into ``root``; returns the manifest.

    A second call continues what was interrupted; see `crosslocate.terrain.job.rendering`.
    """
    spec, workers = specification, workers or available_cores()
    caster = RayCaster(dem, refraction=spec.refraction, max_distance=spec.max_distance)
    strips = Strips(spec.places, spec.gap, spec.margin, spec.spacing)
    places = choose_places(caster.terrain, strips, spec.poses, seed=spec.seed)
    database = database_cameras(places, headings=spec.headings, horizontal_fov=np.radians(spec.field_of_view))
    queries = query_cameras(
        caster,
        places,
        spec.queries_per_place,
        spec.poses,
        terrain_share=spec.terrain_share,
        aspect=spec.width / spec.height,
        seed=spec.seed,
        workers=workers,
    )
    sets = (
        ImageSet("database", database, tuple(spec.database_modalities)),
        ImageSet("queries", queries, tuple(spec.query_modalities)),
    )
    plan = RenderPlan(sets, spec.width, spec.height, spec.parameters())
    world = World(caster, seed=spec.seed, depth_type=spec.depth_type)
    return render_dataset(root, world, plan, workers=workers)
