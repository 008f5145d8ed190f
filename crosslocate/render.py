"""Render a data set from elevation data: ``python -m crosslocate.render terrain=... survey=... output=...``."""

from pathlib import Path
from typing import Any

from crosslocate.config.app import entry_point
from crosslocate.config.render_schema import validate_render


@entry_point("render", validate_render)
def main(cfg: Any) -> None:
    """Choose cameras, render their images, draw contact sheet and map; continues or joins a rendering."""
    from crosslocate.terrain.job.interruption import ending_when_asked

    with ending_when_asked():
        render(cfg)


def render(cfg: Any) -> dict[str, Any] | None:
    """The whole job of a validated configuration; the manifest, or None where the data set is not complete."""
    from crosslocate.console import say
    from crosslocate.terrain.job.explanation import explain_plan
    from crosslocate.terrain.job.manifest import MANIFEST
    from crosslocate.terrain.job.pictures import draw_pictures
    from crosslocate.terrain.job.rendering import available_cores, render_dataset

    root, workers = Path(cfg.output), cfg.workers or available_cores()
    plan = plan_of(cfg)
    if cfg.explain:
        explain_plan(plan, workers, root)
        return None
    before = _stamp(root / MANIFEST)
    manifest = render_dataset(
        root,
        plan,
        workers=workers,
        share=cfg.share,
        verify=cfg.verify,
        tell=lambda surveyed: explain_plan(plan, workers, root, surveyed),
    )
    if manifest is not None:
        say(f"{root}: " + " and ".join(f"{count:,} views of the {role}" for role, count in manifest["counts"].items()))
        draw_pictures(root, plan, sheet=cfg.sheet, coverage=cfg.coverage, fresh=before != _stamp(root / MANIFEST))
    return manifest


def _stamp(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def plan_of(cfg: Any) -> Any:
    """The data set that a configuration describes, a `crosslocate.terrain.job.plan.RenderPlan`; reads the terrain."""
    from crosslocate.config.build import build
    from crosslocate.terrain.job.plan import RenderPlan
    from crosslocate.terrain.job.scene import World

    survey, images, storage = build(cfg.survey), build(cfg.images), build(cfg.container)
    caster = build(cfg.terrain.caster)(build(cfg.terrain.elevation))
    world = World(caster, build(cfg.terrain.land_cover), cfg.seed, images.depth_type, images.photo)
    return RenderPlan(world, survey, images, storage)


if __name__ == "__main__":
    main()
