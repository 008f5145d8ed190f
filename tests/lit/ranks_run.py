"""What several processes find together, for test_several_devices.py: stores, relations, mined plans and recalls."""

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytorch_lightning as pl
import recall_run
import torch
import torch.distributed
from hydra import compose, initialize_config_dir
from running import overrides
from torch import nn

from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register
from crosslocate.data import relation_cache
from crosslocate.data.catalog import read_catalog, write_catalog
from crosslocate.data.distance import Geodesic
from crosslocate.data.relation_cache import RelationCache
from crosslocate.data.schema import SCHEMA
from crosslocate.lit.assembly import build_datamodule, build_mining, build_module, build_recall
from crosslocate.retrieval import approximate as maker
from crosslocate.retrieval.approximate import ApproximateSearcher
from crosslocate.retrieval.search import ExactSearcher
from crosslocate.retrieval.store import DescriptorStore

ROWS, SIZE, QUERIES = 1103, 16, 17
"""Of a store, and of what is searched in it."""
LEFT_OUT = {"queries": (1, 17, 23), "database": (0, 7, 13, 30, 44, 50, 95)}
"""Rows of the tiny data set; of training there remain 11 queries and 43 views, which no number of processes divides."""
THRESHOLDS = {"positive_distance": 20.0, "positive_heading": 30.0, "negative_distance": 4000.0, "model": Geodesic()}
MINING = {
    "full": ["mining=semihard_and_hard"],
    "partial": ["mining=hardest", "mining/refresh=partial", "mining.sampled_negatives=9"],
    "memory": ["mining=hardest", "mining/refresh=memory", "mining.refresh.renewed=5"],
    "indexed": ["mining=hardest", "mining/refresh=partial", "mining/candidates=indexed", "mining.sampled_negatives=5"],
}


def without_batch_norm(module: nn.Module) -> None:
    """Put normalisation by image in the place of that by batch."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(1, child.num_features))
        without_batch_norm(child)


def write_uneven(dataset: Path, root: Path) -> Path:
    """The tiny data set without some rows; its images stay where they are."""
    for role, left_out in LEFT_OUT.items():
        catalog = read_catalog(dataset / f"{role}.parquet")
        kept = catalog.take(np.setdiff1d(np.arange(len(catalog)), left_out))
        columns = {name: kept.table[name].combine_chunks() for name in SCHEMA.names}
        images = {name: f"{dataset}/{template}" for name, template in catalog.images.items()}
        write_catalog(root / f"{role}.parquet", columns, role, images)
    return root


def measure(folder: Path, dataset: Path, ranks: int) -> dict[str, Any]:
    """Everything, by the processes that are there; ``folder`` is theirs together."""
    rank = torch.distributed.get_rank() if ranks > 1 else 0
    found = {case: mine(case, folder / case, dataset, ranks) for case in MINING}
    found["store"] = fill(folder / "store", rank, ranks)
    found["searched"] = search(folder, rank, ranks)
    found["recalls"] = recalls_by_index(folder / "recalls", rank, ranks)
    return {**found, "relations": relate(folder, dataset, ranks)}


def meet(ranks: int) -> None:
    if ranks > 1:
        torch.distributed.barrier()


def fill(path: Path, rank: int, ranks: int) -> dict[str, Any]:
    """A store that every process makes at the same time, and fills in part; all see all of it."""
    meet(ranks)
    store = DescriptorStore.create(path, ROWS, SIZE, "float16", "mine", exist_ok=True)
    values = np.random.default_rng(0).random((ROWS, SIZE), np.float32)
    own = np.arange(rank, ROWS, ranks)
    for part in np.array_split(own, 4):
        store.write(part, values[part])
    store.flush()
    meet(ranks)
    whole = DescriptorStore.open(path, "mine", verify=True)
    whole.require_complete()
    return {"digest": whole.digest(), "own": len(own), "values": np.array(whole.descriptors)}


def search(folder: Path, rank: int, ranks: int) -> dict[str, Any]:
    """Neighbours of this process's queries, exact and by an index that the first one makes and all of them open."""
    store = DescriptorStore.open(folder / "store")
    queries = np.random.default_rng(1).random((QUERIES, SIZE), np.float32)[rank::ranks]
    found = {}
    for name, searcher in (("exact", ExactSearcher("cpu", 100, 5)), ("approximate", approximate())):
        parts = store.descriptors, folder / "search", store.digest()
        if rank == 0:
            searcher.over(*parts)
        meet(ranks)
        with mock.patch.object(ApproximateSearcher, "_make", side_effect=AssertionError("made again")):
            neighbours = searcher.over(*parts).nearest(queries, 10)
        found[name] = {"rows": neighbours.rows, "distances": neighbours.distances}
    return {**found, "files": sorted(path.suffix for path in (folder / "search").iterdir())}


def recalls_by_index(folder: Path, rank: int, ranks: int) -> dict[str, Any]:
    """Recalls that the callback measures with an index that loses some neighbours."""
    if rank == 0:
        folder.mkdir()
        recall_run.write_catalogs(folder)
    meet(ranks)
    found = {}
    for name, searcher in (("exact", ExactSearcher("cpu")), ("approximate", approximate("IVF4,Flat", "nprobe=1"))):
        changes = {"numbers": [1, 2], "objective": "val/recall@1_20m", "searcher": searcher}
        callback = recall_run.recall_callback(folder / name, **changes)
        trainer = recall_run.make_trainer(folder, callback, ranks)
        with mock.patch.object(maker, "FEWEST_ROWS", 1):
            trainer.validate(recall_run.Module(), datamodule=recall_run.Data(folder), verbose=False)
        found[name] = {"results": dict(callback.results["val"]), "matches": vars(callback.matches["val"])}
    return found


def approximate(factory: str = "IVF16,Flat", parameters: str = "nprobe=3") -> ApproximateSearcher:
    return ApproximateSearcher(
        factory, "", parameters, training_rows=1000, rerank=1, sample=5, floor=0.0, threads=1, seed=0
    )  # fmt: skip


def relate(folder: Path, dataset: Path, ranks: int) -> dict[str, Any]:
    """Relations that every process looks for, and keeps, at the same time; then those that are kept."""
    catalogs = [read_catalog(dataset / f"{role}.parquet") for role in ("queries", "database")]
    cache, found = RelationCache(folder / "relations"), []
    with mock.patch.object(relation_cache, "WORTHWHILE", 0):
        meet(ranks)
        found.append(cache(*catalogs, **THRESHOLDS))
        meet(ranks)
        with mock.patch.object(relation_cache, "relate", side_effect=AssertionError("found again")):
            found.append(cache(*catalogs, **THRESHOLDS))
    arrays = [
        [getattr(c, part) for c in (r.positives, r.nonnegatives) for part in ("indptr", "indices")] for r in found
    ]
    return {"arrays": [[np.array(array) for array in one] for one in arrays], "entries": entries(folder / "relations")}


def entries(folder: Path) -> int:
    return len([path for path in folder.iterdir() if not path.name.startswith(".")])


def mine(case: str, folder: Path, dataset: Path, ranks: int) -> dict[str, Any]:
    """Plans, reports and recalls of two epochs whose steps change nothing."""
    register()
    arguments = overrides(
        dataset, folder.parent, *MINING[case], f"dataset.batch_size={6 // ranks}", "mining.queries_per_round=6",
        "optimizer=sgd", "optimizer.lr=0", "scheduler=constant", "mining.negatives=3", "augmentation=none",
        f"paths.run={folder}", "name=x", "network.normalize_after=true", "evaluation.dtype=float32",
    )  # fmt: skip
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=arguments)
    datamodule = build_datamodule(cfg)
    module = build_module(cfg, datamodule, pretrained=False)
    without_batch_norm(module)  # its statistics change with every step
    mining, recall = build_mining(cfg), build_recall(cfg)
    plans, figures, plan = [], [], mining.plan

    def recorded(epoch: int, index: int) -> np.ndarray:
        plans.append(plan(epoch, index))
        figures.append({k: v for k, v in mining.report.metrics().items() if "seconds" not in k})
        return plans[-1]

    mining.plan = recorded
    trainer = pl.Trainer(
        accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto", max_epochs=2, logger=False,
        limit_val_batches=1.0 if case == "full" else 0, check_val_every_n_epoch=2, num_sanity_val_steps=0,
        callbacks=[mining, recall], enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, datamodule=datamodule)
    matches = {split: vars(found) for split, found in recall.matches.items()}
    return {"plans": plans, "figures": figures, "results": recall.results, "matches": matches}
