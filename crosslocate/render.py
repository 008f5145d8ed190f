"""Render a data set from an elevation model: ``python -m crosslocate.render terrain=... output=...``."""

from pathlib import Path
from typing import Any

from crosslocate.config.app import entry_point
from crosslocate.config.render_schema import validate_render


@entry_point("render", validate_render)
def main(cfg: Any) -> None:
    """Choose places, render their views and photographs, draw the contact sheet; continues an interrupted rendering."""
    render(cfg)


def render(cfg: Any) -> dict[str, Any]:
    """The whole job of a validated configuration; returns the manifest."""
    from crosslocate.config.build import build
    from crosslocate.console import say
    from crosslocate.terrain.job.sheet import contact_sheet
    from crosslocate.terrain.job.survey import render_survey

    root = Path(cfg.output)
    manifest = render_survey(root, build(cfg.terrain.dem), build(cfg.terrain.specification), workers=cfg.workers)
    say(f"{root}: " + " and ".join(f"{count} views of the {role}" for role, count in manifest["counts"].items()))
    if cfg.sheet:
        say(f"{contact_sheet(root, root / 'contact_sheet.png', count=cfg.sheet)}: photographs beside their views")
    return manifest


if __name__ == "__main__":
    main()
