"""Build a descriptor index: ``python -m crosslocate.index checkpoint=... [split=...] [output=...]``."""

from pathlib import Path
from typing import Any

from crosslocate.config.app import entry_point
from crosslocate.config.localize_schema import validate_index


@entry_point("index", validate_index)
def main(cfg: Any) -> None:
    """Embed the views of a database and keep their descriptors; continues an interrupted build."""
    index(cfg)


def index(cfg: Any) -> Path:
    """The whole job of a validated configuration; returns the folder of the index."""
    from crosslocate.threads import limit_threads

    limit_threads(cfg.threads)
    from crosslocate.console import say
    from crosslocate.lit.restore import load_retriever
    from crosslocate.localization.index import build_index, data_root, index_folder, read_database

    retriever = load_retriever(cfg.checkpoint, cfg.device, cfg.paths)
    database = read_database(data_root(retriever.config, cfg.root), cfg.split)
    folder = Path(cfg.output) if cfg.output else index_folder(Path(cfg.paths.cache), retriever, database)
    built = build_index(
        retriever,
        database,
        folder,
        split=cfg.split,
        checkpoint=str(cfg.checkpoint),
        batch_size=cfg.batch_size,
        workers=cfg.workers,
    )
    say(f"{built.path}: {len(built.store):,} descriptors of {built.store.size} numbers")
    return built.path


if __name__ == "__main__":
    main()
