"""The pictures of a finished data set that a person looks at: a contact sheet and a map of the viewpoints."""

from collections.abc import Callable
from pathlib import Path

from crosslocate.console import say
from crosslocate.drafts import draft_of
from crosslocate.terrain.job.coverage import coverage_map
from crosslocate.terrain.job.plan import RenderPlan
from crosslocate.terrain.job.sheet import contact_sheet

SHEET, MAP = "contact_sheet.png", "coverage.png"


def draw_pictures(root: Path, plan: RenderPlan, *, sheet: int, coverage: bool, fresh: bool) -> None:
    """Draw `SHEET` with ``sheet`` images (0: none) and `MAP`.

    Args:
        root: A complete data set.
        plan: What it shows.
        sheet: Number of queries or views.
        coverage: Whether to draw the map.
        fresh: Whether the data set was completed now: then pictures that are there are drawn again.

    Raises:
        DataError: An image cannot be read.
    """
    if sheet:
        _draw(root / SHEET, "images to look at", fresh, lambda path: contact_sheet(root, path, count=sheet))
    if coverage:
        terrain = plan.world.caster.terrain
        _draw(root / MAP, "where the viewpoints are", fresh, lambda path: coverage_map(root, terrain, path))


def _draw(path: Path, what: str, fresh: bool, draw: Callable[[Path], Path | None]) -> None:
    """Draw a picture into a draft, which then takes its place; one that cannot be written is said and no error."""
    if path.exists() and not fresh:
        return
    draft = draft_of(path)
    try:
        if draw(draft) is None:
            say(f"{path} is not drawn: none of the modalities is one to look at")
            return
        draft.replace(path)
        say(f"{path}: {what}")
    except OSError as error:
        say(f"{path} cannot be written: {error.strerror or error}")
    finally:
        draft.unlink(missing_ok=True)
