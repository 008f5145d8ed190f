"""What one process does for an index: everything from a configuration to the descriptors of its share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from crosslocate.console import say
from crosslocate.errors import RunStopped
from crosslocate.lit.restore import load_retriever
from crosslocate.localization.building import Extraction, fill_index
from crosslocate.localization.index import DESCRIPTORS, data_root, index_folder, read_database, write_json
from crosslocate.retrieval.extraction_report import ExtractionReport, combined
from crosslocate.retrieval.grid import WHOLE, Shard
from crosslocate.retrieval.store import DescriptorStore
from crosslocate.threads import limit_threads

Opened = Callable[[Path], None]


@dataclass(frozen=True)
class Done:
    """What a process has done.

    Args:
        folder: Of the index.
        report: How its extraction went.
    """

    folder: Path
    report: ExtractionReport


def embed_share(config: Mapping[str, Any], shard: Shard, device: str, opened: Opened, *, visible: bool = True) -> Done:
    """Embed a share of the views of a database.

    Args:
        config: As in ``conf/index.yaml``, plain values; ``compile`` and ``threads`` as they are to be used here.
        shard: Share of this process.
        device: Where it computes.
        opened: Is given the folder of the store as soon as it is there.
        visible: Whether this process shows progress.

    Raises:
        CrossLocateError: As `fill_index` and `load_retriever`.
        RunStopped: A signal asked to stop; what was embedded is kept.
    """
    limit_threads(config["threads"])
    how = {"precision": config["precision"], "compiled": config["compile"]}
    retriever = load_retriever(config["checkpoint"], device, OmegaConf.create(config["paths"]), **how)
    database = read_database(data_root(retriever.config, config["root"]), config["split"])
    dtype, output = config["dtype"], config["output"]
    folder = Path(output) if output else index_folder(Path(config["paths"]["cache"]), retriever, database, dtype)
    way = Extraction(
        batch_size=config["batch_size"],
        workers=config["workers"],
        prefetch=config["prefetch"],
        read_ahead=config["read_ahead"],
        dtype=dtype,
        verify=config["verify"],
        shard=shard,
        visible=visible,
    )
    source = {"split": config["split"], "checkpoint": str(config["checkpoint"])}
    report = fill_index(retriever, database, folder, way, **source, opened=lambda: opened(folder / DESCRIPTORS)).report
    assert report is not None
    return Done(folder, report)


def finish(done: Done, shard: Shard) -> Path:
    """Say and write down how it went; the index is complete, or others are still at work on it.

    Args:
        done: What this process, and those that it has started, have done.
        shard: Their share.

    Raises:
        StoreError: Rows are missing, and nobody else is to make them.
        UnwritableError: ``extraction.json`` cannot be written.
    """
    store = DescriptorStore.open(done.folder / DESCRIPTORS)
    if done.report.written:
        say(str(done.report))
        name = "extraction.json" if shard == WHOLE else f"extraction_{shard.number}.json"
        write_json(done.folder / name, done.report.as_dict())
    if shard != WHOLE and len(store.missing(1)):
        say(f"process {shard} has made its share; {amount(store)}, others are at work")
        return done.folder
    store.require_complete()
    say(f"{done.folder}: {len(store):,} descriptors of {store.size} numbers")
    return done.folder


def combine(parts: Sequence[Done]) -> Done:
    """What several processes have done together; at least one."""
    return Done(parts[0].folder, combined([part.report for part in parts]))


@contextmanager
def leaving_notes() -> Iterator[Opened]:
    """Surround the making of an index: when it is left early, say what is there and how it is continued.

    Yields:
        Is to be given the folder of the store once it is there.
    """
    stores: list[Path] = []
    try:
        yield stores.append
    except RunStopped:
        for path in stores[:1]:
            say(f"{path.parent}: {amount(DescriptorStore.open(path))}; the same command continues")
        raise


def amount(store: DescriptorStore) -> str:
    """How many descriptors there are, as a clause."""
    return f"{int(store.covered.sum()):,} of {len(store):,} descriptors are there"
