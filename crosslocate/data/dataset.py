"""Stateless datasets that give whole batches: of views or queries, and of the triplets of a plan.

Both are indexed by a list of keys at once (``__getitems__``), so that a DataLoader's worker reads a batch in one go;
use `whole_batch` as ``collate_fn``. They hold no plan and no order, so persistent workers never go stale.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset

from crosslocate.data.reader import ImageReader
from crosslocate.data.relations import NegativeRule
from crosslocate.data.share import Share

Batch = dict[str, Any]
Rows = NDArray[np.int64]

NO_VIEW = -1
"""Stands in a plan where a triplet has no further negative."""


class ViewDataset(Dataset[Batch]):
    """Images of one role, in any order.

    A batch holds ``images`` (raw, by modality), ``positions`` (the keys: where a row stands in ``rows``), ``rows``
    (catalog rows), both int64 [n], and ``role``, which is ``query`` or ``database``.

    Args:
        reader: Reads the images.
        rows: Catalog rows, int64 [m]; keys are positions in it. None: all rows.
    """

    def __init__(self, reader: ImageReader, rows: ArrayLike | None = None) -> None:
        self.reader = reader
        self.role = {"queries": "query", "database": "database"}[reader.catalog.role]
        self.rows: Rows | None = None if rows is None else np.asarray(rows, np.int64)

    def __len__(self) -> int:
        return len(self.reader.catalog if self.rows is None else self.rows)

    def __getitem__(self, key: int) -> Batch:
        """A batch of one."""
        return self.__getitems__([key])

    def __getitems__(self, keys: ArrayLike) -> Batch:
        """The batch of some positions."""
        positions = np.array(keys, np.int64)
        rows = positions.copy() if self.rows is None else self.rows[positions]
        return {
            "images": _tensors(self.reader, rows),
            "positions": torch.from_numpy(positions),
            "rows": torch.from_numpy(rows),
            "role": self.role,
        }


class TripletDataset(Dataset[Batch]):
    """Triplets of a plan; the keys are the plan's rows themselves: query, positive, negatives (-1: none).

    A batch of B triplets with N negatives each, in which M different views occur:

    * ``query``: images of the queries [B, ...]; ``database``: images of the views [M, ...], the positives first;
    * ``query_rows`` [B], ``database_rows`` [M]: catalog rows, int64;
    * ``positive`` [B], ``negatives`` [B, N]: positions among the M views, -1 where there is no such negative, int64;
    * ``negative_mask`` [B, M]: which views may serve as further negatives of which query, bool; never its positive.

    Of several processes, each has the whole of this but the images, of which it reads its own: those at the positions
    that ``share``, a `Share`, gives it. For one process alone there is no such entry.

    Args:
        query_reader: Reads queries.
        database_reader: Reads views.
        negative_rule: What may serve as a negative.
        rank: This process, from 0.
        world_size: Number of processes that share every batch.
    """

    def __init__(
        self,
        query_reader: ImageReader,
        database_reader: ImageReader,
        negative_rule: NegativeRule,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.query_reader, self.database_reader = query_reader, database_reader
        self.negative_rule = negative_rule
        self.rank, self.world_size = rank, world_size

    def __getitem__(self, key: Sequence[int]) -> Batch:
        """A batch of one triplet."""
        return self.__getitems__([key])

    def __getitems__(self, keys: ArrayLike) -> Batch:
        """The batch of some plan rows, [B, 2 + N]."""
        plan = np.array(keys, np.int64)
        query_rows = np.ascontiguousarray(plan[:, 0])
        database_rows, positive, negatives = unique_views(plan[:, 1], plan[:, 2:])
        return {
            **self._images({"query": query_rows, "database": database_rows}),
            "query_rows": torch.from_numpy(query_rows),
            "database_rows": torch.from_numpy(database_rows),
            "positive": torch.from_numpy(positive),
            "negatives": torch.from_numpy(negatives),
            "negative_mask": torch.from_numpy(self._mask(query_rows, database_rows, positive)),
        }

    def _images(self, rows: dict[str, Rows]) -> Batch:
        readers = {"query": self.query_reader, "database": self.database_reader}
        if self.world_size == 1:
            return {role: _tensors(readers[role], rows[role]) for role in readers}
        share = Share.of({role: len(values) for role, values in rows.items()}, self.rank, self.world_size)
        images = {role: _tensors(readers[role], rows[role][share.positions(role)]) for role in readers}
        return {**images, "share": share}

    def _mask(self, query_rows: Rows, database_rows: Rows, positive: Rows) -> NDArray[np.bool_]:
        queries, database = self.query_reader.catalog, self.database_reader.catalog
        mask = self.negative_rule.allowed(queries, query_rows[:, None], database, database_rows)
        mask[np.arange(len(query_rows)), positive] = False
        return mask


def unique_views(positives: Rows, negatives: Rows) -> tuple[Rows, Rows, Rows]:
    """The different views of some triplets, in order of first use: positives first, then negatives.

    Args:
        positives: Database rows [B].
        negatives: Database rows [B, N], -1 for none.

    Returns:
        Database rows [M], and positives [B] and negatives [B, N] as positions among them, -1 for none.
    """
    used = np.concatenate([positives, negatives.ravel()])
    present = used != NO_VIEW
    rows, first, inverse = np.unique(used[present], return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    places = np.full(len(used), NO_VIEW, np.int64)
    places[present] = rank[inverse]
    return rows[order], places[: len(positives)], places[len(positives) :].reshape(negatives.shape)


def whole_batch(batch: Any) -> Any:
    """The collate function of these datasets: what they give is a batch already."""
    return batch


def _tensors(reader: ImageReader, rows: Rows) -> dict[str, Tensor]:
    return {name: torch.from_numpy(images) for name, images in reader.read(rows).items()}
