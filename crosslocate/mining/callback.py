"""The in-training refresh: at the start of every round, extract descriptors, mine, and hand out the plan."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from crosslocate.console import say
from crosslocate.errors import DataError
from crosslocate.lit.ending import limit_reached
from crosslocate.mining.candidates import Candidates
from crosslocate.mining.descriptors import RowDescriptors, Rows
from crosslocate.mining.extraction import RoundExtractor
from crosslocate.mining.loader import RoundLoader
from crosslocate.mining.miner import MinedRound, Miner, MiningTask
from crosslocate.mining.order import spread_over_places
from crosslocate.mining.plan import NO_VIEW, MiningReport, Plan
from crosslocate.mining.refresh import Moment, Refresh
from crosslocate.mining.related import flatten


class MiningCallback(pl.Callback):
    """Owns the length of a round, its refresh, and its log.

    Queries without a positive are left out of training and reported once. All others are visited once an epoch, in an
    order drawn from (seed, epoch); a plan is drawn from (seed, epoch, round) and the weights.

    Args:
        miner: Chooses triplets.
        refresh: Which rows are embedded again.
        candidates: Where the views come from among which negatives are chosen.
        queries_per_round: Queries between two refreshes; None refreshes once an epoch.
        queries_together: Queries of a place that follow each other, and so mostly share a batch.
        shuffle: Whether every epoch has an order of its own; otherwise queries come as the catalog lists them.
        seed: Seed of every draw.

    Attributes:
        rounds: Rounds planned so far, over all epochs.
        between_batches: Called after every batch of an extraction, equally often on every process; may end the run.
    """

    def __init__(
        self,
        miner: Miner,
        refresh: Refresh,
        candidates: Candidates,
        queries_per_round: int | None,
        queries_together: int,
        shuffle: bool,
        seed: int,
    ) -> None:
        candidates.require(miner)
        self.miner, self.refresh, self.candidates = miner, refresh, candidates
        self.rounds = 0
        self.queries_per_round, self.queries_together = queries_per_round, queries_together
        self.shuffle, self.seed = shuffle, seed
        self.report: MiningReport | None = None
        self._naming_seconds = 0.0
        self.between_batches: Callable[[], None] = _go_on

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Look up the training set and offer the plans to the data module."""
        if stage != "fit":
            return
        self._trainer, self._module = trainer, pl_module
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._data, self._rule = datamodule.train, datamodule.negative_rule
        counts = self._data.relations.positives.counts
        self._queries = np.flatnonzero(counts > 0)
        if len(self._queries) == 0:
            raise DataError(
                f"none of the {len(counts)} training queries has a positive view; allowed: at least one within "
                "dataset.positive_distance metres and dataset.positive_heading degrees"
            )
        if (left_out := len(counts) - len(self._queries)) and trainer.is_global_zero:
            say(f"{left_out} of {len(counts)} training queries have no positive view and are left out of training")
        self._extractor = RoundExtractor(trainer, pl_module, datamodule, lambda: self.between_batches())
        datamodule.planner = self

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remove descriptors that no run goes on with, and end the processes that read images."""
        if stage == "fit":
            self.refresh.close()
            self.candidates.close()
            self._extractor.clear(everything=limit_reached(trainer) is not None)
            if isinstance(trainer.train_dataloader, RoundLoader):
                trainer.train_dataloader.close()

    @property
    def epoch(self) -> int:
        """The epoch being trained, from 0."""
        return self._trainer.current_epoch

    def round_sizes(self) -> list[int]:
        """Queries of every round of an epoch."""
        total, size = len(self._queries), self.queries_per_round or len(self._queries)
        return [min(size, total - start) for start in range(0, total, size)]

    def plan(self, epoch: int, index: int) -> Plan:
        """Extract, mine, and log; the plan of round ``index`` of ``epoch``."""
        queries = self._round_queries(epoch, index)
        key = (self.seed, epoch, index)
        task = MiningTask(queries, self._data.relations, self._may_be_negative, len(self._data.database), key)
        moment = Moment(self.rounds, key)
        begin = time.perf_counter()
        self._extractor.begin()
        candidates, lookups = self._looked_at(task, moment)
        extracted = time.perf_counter()
        mined = self.miner.mine(task, candidates, *lookups)
        seconds = extracted - begin - self._naming_seconds, self._naming_seconds, time.perf_counter() - extracted
        self._log(mined, moment, lookups[1], seconds)
        self.rounds += 1
        return mined.plan

    def state_dict(self) -> dict[str, Any]:
        """What the miner remembers, and how many rounds there were."""
        return {"miner": self.miner.state_dict(), "rounds": self.rounds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with what the miner of a checkpoint remembered; earlier versions did not count rounds."""
        self.miner.load_state_dict(state_dict["miner"])
        self.rounds = state_dict.get("rounds", 0)

    def _may_be_negative(self, queries: Rows, views: Rows) -> NDArray[np.bool_]:
        return self._rule.allowed(self._data.queries, queries, self._data.database, views)

    def _round_queries(self, epoch: int, index: int) -> Rows:
        order = self._queries
        if self.shuffle:
            rng = np.random.default_rng([self.seed, epoch, 0])
            places = self._data.queries.place[self._queries]
            order = spread_over_places(self._queries, places, self.queries_together, rng)
        size = self.queries_per_round or len(order)
        return order[index * size : (index + 1) * size]

    def _looked_at(
        self, task: MiningTask, moment: Moment
    ) -> tuple[Rows, tuple[RowDescriptors | None, RowDescriptors | None]]:
        """Candidates of a round, and descriptors of its queries, and of candidates and positives."""
        if not self.miner.needs_descriptors:
            return self._named(task, moment, None), (None, None)
        queries = self._extractor.queries(self.refresh.query_rows(task.queries, len(self._data.queries)))
        candidates = self._named(task, moment, queries)
        _, positives = flatten(self._data.relations.positives, task.queries)
        return candidates, (queries, self.refresh.database(moment, positives, candidates, self._extractor))

    def _named(self, task: MiningTask, moment: Moment, queries: RowDescriptors | None) -> Rows:
        """Candidates of a round, timed without what is extracted for them."""
        begin = time.perf_counter() - self._extractor.seconds
        rows = self.candidates.rows(task, self.miner, moment, queries, self._extractor)
        self._naming_seconds = time.perf_counter() - self._extractor.seconds - begin
        return rows

    def _log(
        self,
        mined: MinedRound,
        moment: Moment,
        database: RowDescriptors | None,
        seconds: tuple[float, float, float],
    ) -> None:
        """Log a round; ``seconds`` are those of extracting, naming candidates, and mining."""
        ages = self._ages(mined.plan, moment, database)
        images = self._extractor.extracted
        self.report = MiningReport(
            extraction_seconds=seconds[0],
            candidates_seconds=seconds[1],
            reading_seconds=self._extractor.reading_seconds,
            mining_seconds=seconds[2],
            extracted=images,
            extracted_share=images / (len(self._data.queries) + len(self._data.database)),
            triplets=len(mined.plan),
            without_positive=len(self._data.queries) - len(self._queries),
            without_negative=mined.without_negative,
            attempts=mined.attempts,
            violating=mined.violating,
            trivial=mined.trivial,
            hardest=mined.hardest,
            positive=mined.positive,
            age_mean=float(ages.mean()) if len(ages) else float("nan"),
            age_max=float(ages.max()) if len(ages) else float("nan"),
        )
        metrics = {name: value for name, value in self.report.metrics().items() if np.isfinite(value)}
        for logger in self._trainer.loggers:
            logger.log_metrics(metrics, step=self._trainer.global_step)

    def _ages(self, plan: Plan, moment: Moment, database: RowDescriptors | None) -> Rows:
        """Ages of the descriptors of all negatives that have one; those near the query need none."""
        rows = np.unique(plan[:, 2:])
        rows = rows[rows != NO_VIEW].astype(np.int64)
        if database is None:
            return rows[:0]
        return self.refresh.ages(moment, rows[database.known[rows]] if database.known is not None else rows)


def _go_on() -> None:
    pass
