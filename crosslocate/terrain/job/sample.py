"""The embedded sample: a data set rendered on first use from the elevation tile that ships with matplotlib."""

from pathlib import Path

from crosslocate.console import say
from crosslocate.terrain.elevation.dem import embedded_dem
from crosslocate.terrain.job.manifest import MANIFEST, RENDERER, read_manifest, require_same
from crosslocate.terrain.job.specification import Specification


def ensure_sample(root: Path | str, specification: Specification | None = None, workers: int | None = None) -> Path:
    """The folder of the sample, rendered now if it is not complete there; processes that ask at once wait for one.

    Args:
        root: Folder of the sample.
        specification: What it holds; None for the sample as it is documented.
        workers: Threads to render with; None for all cores.

    Raises:
        TerrainError: ``root`` holds a data set of another specification or terrain, or the disk is full.
    """
    root, specification = Path(root), specification or Specification()
    dem = embedded_dem()
    if (root / MANIFEST).exists():
        rendering = read_manifest(root)["rendering"]
        wanted = {"dem": dem.fingerprint(), "parameters": specification.parameters(), "renderer": RENDERER}
        require_same(root / MANIFEST, {key: rendering.get(key) for key in wanted}, wanted)
        return root
    from crosslocate.terrain.job.survey import render_survey  # compiled code: imported only when there is work

    say(f"Rendering the sample into {root} (once; about a minute)")
    render_survey(root, dem, specification, workers=workers)
    return root
