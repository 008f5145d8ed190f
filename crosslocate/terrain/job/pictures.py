"""The pictures of a finished data set that a person looks at: a contact sheet and a map of the viewpoints."""

from pathlib import Path

from crosslocate.console import say
from crosslocate.terrain.job.coverage import coverage_map
from crosslocate.terrain.job.plan import RenderPlan
from crosslocate.terrain.job.sheet import contact_sheet


def draw_pictures(root: Path, plan: RenderPlan, *, sheet: int, coverage: bool) -> None:
    """Draw ``contact_sheet.png`` with ``sheet`` images (0: none) and ``coverage.png``.

    Raises:
        DataError: An image cannot be read.
    """
    if sheet:
        say(f"{contact_sheet(root, root / 'contact_sheet.png', count=sheet)}: images to look at")
    if coverage:
        say(f"{coverage_map(root, plan.world.caster.terrain, root / 'coverage.png')}: where the viewpoints are")
