"""What to render: the world, the cameras, the images, how they are kept; and all of it in plain values."""

import json
from dataclasses import dataclass
from typing import Any

from crosslocate.terrain.job.manifest import RENDERER
from crosslocate.terrain.job.scene import World
from crosslocate.terrain.job.specification import Images
from crosslocate.terrain.job.storage import Storage
from crosslocate.terrain.viewpoints.survey import Survey


@dataclass(frozen=True)
class RenderPlan:
    """A data set to render.

    Attributes:
        world: The terrain and how it is rendered; its seed is that of every draw.
        survey: Chooses the cameras.
        images: Which images are made of every view.
        storage: How they are kept.

    Raises:
        ConfigError: Images of this world cannot be kept so.
    """

    world: World
    survey: Survey
    images: Images
    storage: Storage

    def __post_init__(self) -> None:
        self.storage.require(self.world)

    @property
    def is_bound_to_process(self) -> bool:
        """Whether the caster works on a device of torch, which cannot be used in forked processes."""
        return hasattr(self.world.caster, "device")


def describe(plan: RenderPlan) -> dict[str, Any]:
    """Everything that a data set depends on, as JSON values. A second start with another description is refused."""
    world, caster = plan.world, plan.world.caster
    description = {
        "terrain": caster.terrain.fingerprint(),
        "caster": {
            "kind": type(caster).__name__,
            "refraction": caster.refraction,
            "max_distance": caster.max_distance,
            "surface": caster.surface,
            "detail": caster.detail,
        },
        "land_cover": None if world.land_cover is None else world.land_cover.parameters(),
        "seed": world.seed,
        "images": plan.images.parameters(),
        "survey": plan.survey.parameters(),
        "storage": plan.storage.parameters(),
        "renderer": RENDERER,
    }
    plain: dict[str, Any] = json.loads(json.dumps(description))
    return plain
