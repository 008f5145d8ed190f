"""The train loader: asks for a plan at the start of every round, and walks it with one set of worker processes."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from crosslocate.data.dataset import whole_batch
from crosslocate.mining.plan import Plan
from crosslocate.mining.workers import end_workers

Batch = dict[str, Any]


class RoundPlanner(Protocol):
    """Who makes the plans: the mining callback."""

    @property
    def epoch(self) -> int:
        """The epoch being trained, from 0."""

    def round_sizes(self) -> list[int]:
        """Triplets of every round of an epoch; the same in every epoch."""

    def plan(self, epoch: int, index: int) -> Plan:
        """The plan of a round, made with the weights of this moment; the same on every rank."""


class PlanSampler(Sampler[list[Any]]):
    """Walks the rows of the plan assigned last, in batches."""

    def __init__(self) -> None:
        self._batches: list[Plan] = []

    def assign(self, batches: list[Plan]) -> None:
        """Set what the next iteration yields."""
        self._batches = batches

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield every batch as a list of plan rows."""
        for batch in self._batches:
            yield list(batch)

    def __len__(self) -> int:
        """Number of batches assigned."""
        return len(self._batches)


class RoundLoader:
    """Yields the batches of an epoch, round by round.

    It is a generator around a single DataLoader rather than a DataLoader itself: a plan is made in the main process
    when its round begins, and the persistent workers receive rows of it, so they are never stale. The state holds the
    place and the plan: a run that is resumed in the middle of a round sees the same batches.

    Of several processes, each walks the same batches, of which its data set reads a share; nothing here depends on how
    many there are.

    Every epoch has as many batches, whatever the plans: a round has those that a triplet of every query would fill, and
    those beyond the end of a shorter plan are empty, with no ``query_rows`` and no images. The last batch of a plan may
    be smaller.

    Args:
        dataset: Stateless; indexed by a list of plan rows, gives a batch.
        planner: Makes the plans.
        batch_size: Triplets of a batch, over all processes.
        workers: Worker processes; 0 decodes in this process.
        prefetch: Batches that each of them holds ready.
        pin_memory: Whether batches are put into pinned memory, for a faster copy to a GPU.
        repeats: Places in succession that every triplet takes, in one batch or in two.
    """

    def __init__(
        self,
        dataset: Dataset[Batch],
        planner: RoundPlanner,
        batch_size: int,
        workers: int = 0,
        prefetch: int = 2,
        pin_memory: bool = False,
        repeats: int = 1,
    ) -> None:
        self._planner, self._repeats = planner, repeats
        self._batch_size = batch_size
        self._sampler = PlanSampler()
        self._inner: DataLoader[Batch] = DataLoader(
            dataset,
            batch_sampler=self._sampler,
            collate_fn=whole_batch,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=prefetch if workers else None,
            pin_memory=pin_memory,
            generator=torch.Generator().manual_seed(0),
        )
        self._round, self._position = 0, 0
        self._plan: Plan | None = None
        self._epoch = -1
        self._resumed = False

    def steps(self) -> list[int]:
        """Batches of every round, repeats counted."""
        return [max(1, self._batches(self._repeats * size)) for size in self._planner.round_sizes()]

    def _batches(self, triplets: int) -> int:
        return -(-triplets // self._batch_size)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return sum(self.steps())

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rest of the epoch after a resume, a whole epoch otherwise."""
        epoch, steps = self._planner.epoch, self.steps()
        if not (self._resumed and self._epoch == epoch):
            self._round, self._position, self._plan = 0, 0, None
        self._epoch, self._resumed = epoch, False
        while self._round < len(steps):
            if self._plan is None:
                self._plan = np.repeat(self._planner.plan(epoch, self._round), self._repeats, axis=0)
            yield from self._rest_of_round(self._plan, steps[self._round])

    def _rest_of_round(self, plan: Plan, steps: int) -> Iterator[Batch]:
        index = self._round
        self._sampler.assign(self._plan_batches(plan)[self._position :])
        for batch in self._inner:
            yield self._stamped(batch, steps)
        while self._round == index:
            yield self._stamped({"query_rows": torch.empty(0, dtype=torch.int64)}, steps)

    def _stamped(self, batch: Batch, steps: int) -> Batch:
        """A batch with its stamp; the state is already the one after it."""
        stamp = torch.tensor([self._epoch, self._round, self._position])
        self._position += 1
        if self._position >= steps:
            self._round, self._position, self._plan = self._round + 1, 0, None
        return {**batch, "stamp": stamp}

    def _plan_batches(self, plan: Plan) -> list[Plan]:
        size = self._batch_size
        return [plan[i * size : (i + 1) * size] for i in range(self._batches(len(plan)))]

    def close(self) -> None:
        """End the worker processes."""
        end_workers(self._inner)

    def state_dict(self) -> dict[str, Any]:
        """Place in the epoch, and the plan of a round that has begun; primitives and a tensor only."""
        plan = None if self._plan is None else torch.from_numpy(np.ascontiguousarray(self._plan))
        return {"epoch": self._epoch, "round": self._round, "position": self._position, "plan": plan}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state`` was taken, if that epoch is the one being trained; else begin the epoch anew."""
        self._epoch, self._round, self._position = (int(state[k]) for k in ("epoch", "round", "position"))
        plan = state["plan"]
        self._plan = None if plan is None else np.asarray(plan.numpy(), np.int32)
        self._resumed = self._round < len(self._planner.round_sizes())
