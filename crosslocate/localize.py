"""Find where a photograph was taken: ``python -m crosslocate.localize photo=... checkpoint=...``."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslocate.config.app import entry_point
from crosslocate.config.localize_schema import validate_localize

if TYPE_CHECKING:
    from crosslocate.localization.answer import Answer
    from crosslocate.localization.index import DescriptorIndex
    from crosslocate.retrieval.search import Searcher


@entry_point("localize", validate_localize)
def main(cfg: Any) -> None:
    """Print the ranked places and write them as JSON, GeoJSON and a picture."""
    localize(cfg)


def localize(cfg: Any) -> "Answer":
    """The whole job of a validated configuration."""
    from crosslocate.threads import limit_threads

    limit_threads(cfg.threads)
    from crosslocate.console import say
    from crosslocate.data.images import modality
    from crosslocate.lit.restore import load_retriever
    from crosslocate.localization.index import data_root, made_with, read_header
    from crosslocate.localization.locate import Localizer
    from crosslocate.localization.photo import find_photo, read_queries
    from crosslocate.localization.picture import draw_answer
    from crosslocate.localization.places import Grouping
    from crosslocate.localization.relief_map import find_terrain
    from crosslocate.localization.report import print_answer, write_answer
    from crosslocate.localization.selection import Selection
    from crosslocate.retrieval.search import require_device

    made = made_with(Path(cfg.index)) if cfg.index else {}
    retriever = load_retriever(cfg.checkpoint, cfg.device, cfg.paths, **made)
    root = Path(read_header(Path(cfg.index))["catalog"]).parent if cfg.index else data_root(retriever.config, cfg.root)
    fov = None if cfg.photo_fov is None else math.radians(cfg.photo_fov)
    modalities, queries = retriever.pipeline.compositions["query"].modalities, read_queries(root, cfg.split)
    photo = find_photo(cfg.photo, modalities, queries, fov)
    if photo.fov_source == "assumed":
        say(f"{photo.name} does not say its field of view; 60 degrees are assumed (photo_fov=<degrees>)")
    dem = find_terrain(root, cfg.dem, Path(cfg.paths.cache) / "terrain")
    searcher = _searcher(cfg.search, str(retriever.device))
    require_device(searcher)
    index = _index(cfg, retriever, root)
    grouping = Grouping(cfg.place_radius, math.radians(cfg.place_heading), cfg.temperature)
    selection = Selection.of(cfg)
    selection.among(index.database)  # an empty one is said before an index is made
    search = searcher.over(index.store.descriptors, index.path / "search", index.store.digest())
    localizer = Localizer(retriever, index, search, selection, grouping, cfg.views, cfg.top, str(cfg.checkpoint))
    answer = localizer.locate(photo)

    folder, shown = Path(cfg.output), modality(retriever.pipeline.compositions["database"].modalities[0]).files
    print_answer(answer)
    picture = folder / "answer.png"
    for path in (*write_answer(answer, folder), draw_answer(picture, answer, index.database, shown, dem)):
        say(str(path))
    return answer


def _searcher(node: Any, device: str) -> "Searcher":
    """What searches; where it leaves the choice of its device open, it is that of the network."""
    from omegaconf import OmegaConf

    from crosslocate.config.build import build

    searcher: Searcher = build(OmegaConf.merge(node, {"device": device}) if node.get("device") == "auto" else node)
    return searcher


def _index(cfg: Any, retriever: Any, root: Path) -> "DescriptorIndex":
    """The index named in the configuration, or one in the cache."""
    from crosslocate.localization.building import build_index
    from crosslocate.localization.index import index_folder, open_index, read_database

    if cfg.index:
        return open_index(retriever, Path(cfg.index))
    database = read_database(root, cfg.split)
    return build_index(
        retriever,
        database,
        index_folder(Path(cfg.paths.cache), retriever, database),
        split=cfg.split,
        checkpoint=str(cfg.checkpoint),
        batch_size=cfg.batch_size,
        workers=cfg.workers,
    )


if __name__ == "__main__":
    main()
