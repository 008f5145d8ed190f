"""Say whether reading or the network is the limit, in embedding views and in training, on this machine.

python scripts/benchmark_throughput.py [--workers 0,1,2] [--images 256] [overrides of conf/train.yaml ...]
python scripts/benchmark_throughput.py --generate 500 --layouts folder,zip,tar,shards [--latency 5] backbone=resnet18

Without ``--generate`` it measures the data set of the overrides (``dataset=...``) as it lies. Every row of the first
table reads the same views: from files whose pages were given back to the system before (another machine's or a disk's
own memory may still hold them), and from the cache of decoded images. ``--latency`` makes every read from a file wait
so many milliseconds, as on a network file system, with and without ``dataset.read_ahead``.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from generated_images import generate, packed
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch.utils.data import DataLoader, Sampler

from crosslocate.config.app import conf_dir
from crosslocate.config.build import build
from crosslocate.config.schema import register
from crosslocate.data import archive, storage
from crosslocate.data.catalog import Catalog
from crosslocate.data.dataset import TripletDataset, ViewDataset, whole_batch
from crosslocate.data.live import is_live
from crosslocate.data.reader import ImageReader
from crosslocate.lit.assembly import build_datamodule, build_module
from crosslocate.lit.module import parameter_groups

ENOUGH = 1.25
"""Times as fast as the other that one side has to be to be called no limit at all."""


class Given(Sampler[list[Any]]):
    """Batches of the keys assigned last: rows, or the rows of a plan."""

    def __init__(self, size: int, keys: list[Any]) -> None:
        self.size, self.keys = size, keys

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield the keys in batches."""
        for start in range(0, len(self.keys), self.size):
            yield self.keys[start : start + self.size]

    def __len__(self) -> int:
        return -(-len(self.keys) // self.size)


@dataclass
class Bench:
    """What is measured: a data set, a network, and how both are used."""

    cfg: DictConfig
    datamodule: Any
    module: pl.LightningModule
    context: Callable[[], AbstractContextManager[Any]]
    device: torch.device
    images: int

    def batches(self, dataset: Any, keys: list[Any], size: int, workers: int) -> DataLoader[Any]:
        """A loader of keys whose workers run already."""
        sampler = Given(1, keys[:1] * max(1, workers))  # one for every worker, to begin with
        options = {**self.datamodule.loading(), "num_workers": workers}
        options["prefetch_factor"] = self.datamodule.prefetch if workers else None
        loader: DataLoader[Any] = DataLoader(
            dataset, batch_sampler=sampler, collate_fn=whole_batch, persistent_workers=workers > 0, **options
        )
        for _ in loader:
            pass
        sampler.size, sampler.keys = size, keys
        return loader

    def reader(self, catalog: Catalog, role: str, cache: Path | None, ahead: int | None = None) -> ImageReader:
        """Reads the images of a role as the configuration says."""
        modalities = self.datamodule.pipeline.compositions[role].modalities
        reads = self.datamodule.read_ahead if ahead is None else ahead
        return ImageReader(catalog, modalities, self.datamodule.size, cache=cache, read_ahead=reads)

    def moved(self, images: Any) -> Any:
        """Raw images on the device."""
        return {name: pixels.to(self.device, non_blocking=True) for name, pixels in images.items()}

    def embed(self, images: Any) -> torch.Tensor:
        """Descriptors of network inputs of views."""
        with torch.inference_mode(), self.context():
            descriptors: torch.Tensor = self.module.encode("database", images)  # type: ignore[operator]
        return descriptors

    def train(self, batch: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """One step from network inputs."""
        with self.context():
            found = [self.module.encode(role, batch[role]) for role in ("query", "database")]  # type: ignore[operator]
            loss = self.module.loss(*found, batch["positive"], batch["negatives"], batch["negative_mask"])  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def inputs(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A raw training batch, moved, mirrored, augmented and composed."""
        stamped = self.datamodule.pipeline.arrange({**batch, "stamp": torch.zeros(3, dtype=torch.int64)})
        moved = {k: self.moved(v) if isinstance(v, dict) and k != "mirrored" else v for k, v in stamped.items()}
        tensors = ("positive", "negatives", "negative_mask")
        made: dict[str, Any] = self.datamodule.pipeline(moved | {k: moved[k].to(self.device) for k in tensors})
        return made

    def seconds(self, work: Callable[[], Any]) -> float:
        """How long some work takes, after once for warming up: by events on a GPU."""
        work()
        if self.device.type != "cuda":
            return _timed(work)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1e3


def _timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def forget(catalog: Catalog, modalities: tuple[str, ...], rows: np.ndarray) -> None:
    """Give the pages of image files back to the system, so that they are read anew."""
    for modality in modalities:
        if is_live(catalog.template(modality)):
            continue  # no file holds them
        paths = {
            storage.container(catalog.image_path(modality, row)) or catalog.image_path(modality, row) for row in rows
        }
        for path in paths:
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def slow_down(milliseconds: float) -> None:
    """Have every read from a file take longer."""
    plain, pread = storage.read_bytes, os.pread

    def read_bytes(path: Path) -> bytes:
        time.sleep(milliseconds / 1e3)
        return plain(path)

    def slow_pread(file: int, length: int, offset: int) -> bytes:
        time.sleep(milliseconds / 1e3)
        return pread(file, length, offset)

    storage.read_bytes = lambda path: plain(path) if storage.container(path) else read_bytes(path)
    archive.os.pread = slow_pread


def reading(bench: Bench, catalog: Catalog, cache: Path | None, workers: int, ahead: int | None = None) -> float:
    """Images a second that come out of a loader."""
    rows = np.arange(len(catalog))[: bench.images]
    reader = bench.reader(catalog, "database", cache, ahead)
    if cache is not None:
        reader.read(rows)
    size = min(bench.datamodule.extraction_batch_size, max(1, len(rows) // (2 * max(1, workers))))
    loader = bench.batches(ViewDataset(reader), rows.tolist(), size, workers)
    if cache is None:
        forget(catalog, reader.modalities, rows)
    return len(rows) / _timed(lambda: list(_counted(loader)))


def _counted(loader: DataLoader[Any]) -> Iterator[int]:
    for batch in loader:
        yield len(batch["rows"])


def embedding(bench: Bench, catalog: Catalog, cache: Path, workers: int) -> dict[str, float]:
    """Images a second of the steps of embedding views, and of all together."""
    rows = np.arange(len(catalog))[: bench.images]
    size = min(bench.datamodule.extraction_batch_size, len(rows))
    compose_inputs = bench.datamodule.pipeline.inputs
    bench.module.eval()
    reader = bench.reader(catalog, "database", cache)
    raw = bench.moved({name: torch.from_numpy(pixels) for name, pixels in reader.read(rows[:size]).items()})
    inputs = compose_inputs("database", raw)
    found = {"composition": size / bench.seconds(lambda: compose_inputs("database", raw))}
    found["network"] = size / bench.seconds(lambda: bench.embed(inputs))
    for name, folder in (("from files", None), ("from the cache", cache)):
        loader = bench.batches(ViewDataset(bench.reader(catalog, "database", folder)), rows.tolist(), size, workers)

        def work(loader: DataLoader[Any] = loader) -> None:
            for batch in loader:
                bench.embed(compose_inputs("database", bench.moved(batch["images"])))

        found[name] = len(rows) / _timed(work)
    return found


def training(bench: Bench, queries: Catalog, views: Catalog, cache: Path, workers: int) -> dict[str, float]:
    """Images a second of the steps of training, and of all together; queries and different views are counted."""
    cfg, rng = bench.cfg, np.random.default_rng(0)
    size = int(cfg.dataset.batch_size)
    triplets = size * max(2, bench.images // (size * (2 + cfg.mining.negatives)))
    plan = [rng.integers(0, len(queries), triplets)[:, None]]
    plan.append(rng.integers(0, min(len(views), bench.images), (triplets, 1 + cfg.mining.negatives)))
    keys = list(np.hstack(plan))
    optimizer = build(cfg.optimizer.factory)(parameter_groups(bench.module, cfg.optimizer.weight_decay))
    bench.module.train()

    def dataset(folder: Path | None) -> TripletDataset:
        readers = (bench.reader(queries, "query", folder), bench.reader(views, "database", folder))
        return TripletDataset(*readers, bench.datamodule.negative_rule)

    batch = dataset(cache).__getitems__(keys[:size])
    inputs = bench.inputs(batch)
    count = size + len(batch["database_rows"])
    found = {"composition": count / bench.seconds(lambda: bench.inputs(batch))}
    found["network"] = count / bench.seconds(lambda: bench.train(inputs, optimizer))
    for name, folder in (("from files", None), ("from the cache", cache)):
        data = dataset(folder)
        for part in range(0, triplets, size):
            data.__getitems__(keys[part : part + size])  # fills the cache
        loader = bench.batches(data, keys, size, workers)
        sums: list[int] = []

        def work(loader: DataLoader[Any] = loader, sums: list[int] = sums) -> None:
            for batch in loader:
                sums.append(len(batch["query_rows"]) + len(batch["database_rows"]))
                bench.train(bench.inputs(batch), optimizer)

        seconds = _timed(work)
        found[name] = sum(sums) / seconds
    return found


def shown(rate: float) -> str:
    """A rate with two digits at least."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def verdict(work: str, files: float, cached: float, network: float, workers: int, cores: int) -> str:
    """One sentence: which side is the limit, and what to change."""
    if network * ENOUGH < files:
        return f"{work}: the network is the limit: it takes {shown(network)} images/s of {shown(files)} that are read."
    kind = "reading is the limit" if files * ENOUGH < network else "reading and the network are about as fast"
    change = []
    if cached > files * ENOUGH:
        change.append(f"dataset.cache on a local disk ({shown(cached)} images/s from the second time on)")
    if workers < cores - 1:
        change.append(f"more than dataset.workers={workers} ({cores} cores)")
    if not change:
        change.append("smaller or less compressed files, or more cores")
    says = f"{work}: {kind}: {shown(files)} images/s are read of {shown(network)} that the network takes"
    return f"{says}; what helps: {', '.join(change)}, and for files far away dataset.staging or dataset.read_ahead."


def table(header: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    lines += [[shown(cell) if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def configured(overrides: list[str]) -> DictConfig:
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", overrides=["paths.run=run", "name=throughput", *overrides])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=lambda text: [int(n) for n in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=256, help="views that are read for every figure")
    parser.add_argument("--threads", type=int, default=2, help="of the network, on a CPU")
    parser.add_argument("--generate", type=int, default=0, metavar="VIEWS", help="measure on so many generated views")
    parser.add_argument("--side", type=int, default=500, help="pixels of a side of a generated image")
    parser.add_argument(
        "--layouts", type=lambda text: text.split(","), default=["folder"], help="folder,zip,tar,shards"
    )
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds")
    parser.add_argument("--split", default="train")
    args, overrides = parser.parse_known_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        if args.generate:
            overrides = ["dataset=custom", f"dataset.root={root}", *overrides]
        run(args, configured(overrides), root)


def run(args: argparse.Namespace, cfg: DictConfig, folder: Path) -> None:
    """Measure and print."""
    datamodule = build_datamodule(cfg)
    trainer = pl.Trainer(
        accelerator=cfg.trainer.accelerator, devices=1, precision=cfg.trainer.precision, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    device = trainer.strategy.root_device
    module = build_module(cfg, datamodule, pretrained=False).to(device)
    bench = Bench(cfg, datamodule, module, trainer.precision_plugin.forward_context, device, args.images)
    if args.generate:
        catalogs = {
            role: generate(folder, role, composition.modalities, args.generate, args.side)
            for role, composition in datamodule.pipeline.compositions.items()
        }
        layouts = {layout: packed(catalogs["database"], layout) for layout in args.layouts}
    else:
        datamodule.prepare_data()
        split = datamodule.split(args.split)
        catalogs = {"query": split.queries, "database": split.database}
        layouts = {"as it lies": split.database}
    cache = folder / "cache"
    if args.latency:
        slow_down(args.latency)
    report(args, bench, catalogs, layouts, cache)


def report(
    args: argparse.Namespace, bench: Bench, catalogs: dict[str, Catalog], layouts: dict[str, Catalog], cache: Path
) -> None:
    """Print both tables, and what they say."""
    height, width = bench.datamodule.size
    latency = f", {args.latency:g} ms a read" if args.latency else ""
    print(f"{args.images} views to {width} x {height} px, {bench.device}, {os.cpu_count()} cores{latency}; images/s\n")
    rows: list[list[Any]] = []
    files: dict[int, float] = {}
    for layout, catalog in layouts.items():
        aheads = [0, bench.datamodule.read_ahead] if args.latency else [bench.datamodule.read_ahead]
        for ahead in aheads:
            rates = [reading(bench, catalog, None, workers, ahead) for workers in args.workers]
            rows.append([f"{layout}, read_ahead={ahead}", *rates])
            files = files or dict(zip(args.workers, rates, strict=True))
            if ahead and args.latency:
                files = dict(zip(args.workers, rates, strict=True))
    cached = [reading(bench, catalogs["database"], cache, workers) for workers in args.workers]
    rows.append(["cache of decoded images", *cached])
    print(table(["reading alone", *[f"workers={n}" for n in args.workers]], rows), "\n")
    workers = max(args.workers, key=lambda n: files[n])
    views = next(iter(layouts.values()))
    steps = {
        "embedding": embedding(bench, views, cache, workers),
        "training": training(bench, catalogs["query"], views, cache, workers),
    }
    header = ["with the network", *next(iter(steps.values()))]
    print(table(header, [[name, *figures.values()] for name, figures in steps.items()]), "\n")
    best = dict(zip(args.workers, cached, strict=True))[workers]
    for name, figures in steps.items():
        print(verdict(name, files[workers], best, figures["network"], workers, os.cpu_count() or 1))


if __name__ == "__main__":
    main()
