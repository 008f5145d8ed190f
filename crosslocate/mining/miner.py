"""What a miner is given and what it gives: one protocol for all ways of choosing triplets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.relations import Relations
from crosslocate.mining.descriptors import RowDescriptors, Rows
from crosslocate.mining.plan import Plan

PairRule = Callable[[Rows, Rows], NDArray[np.bool_]]
"""Whether paired database rows may be negatives of query rows: NegativeRule bound to the two catalogs."""


@dataclass(frozen=True)
class MiningTask:
    """A round to be mined.

    Args:
        queries: Query rows in the order of the plan, shape [n]; each has at least one positive.
        relations: Positives and non-negatives of all queries.
        rule: What may be a negative.
        database_size: Rows of the database.
        key: What the draws of this round are made from: seed, epoch, round.
    """

    queries: Rows
    relations: Relations
    rule: PairRule
    database_size: int
    key: tuple[int, ...]
    rng: np.random.Generator = field(init=False)
    """Source of the draws that all queries share; whoever draws moves it on."""

    def __post_init__(self) -> None:
        """Make the source of the shared draws."""
        object.__setattr__(self, "rng", np.random.default_rng([*self.key, 1]))


@dataclass(frozen=True)
class MinedRound:
    """A plan and what was seen while making it.

    Attributes:
        plan: See Plan; a query may be left out when nothing was found for it.
        violating: Share of the mined negatives that are nearer than the positive plus the margin of the report.
        trivial: Share of the triplets of which no mined negative is, so that they teach nothing; NaN without
            descriptors, or where nothing is mined.
        hardest: Mean squared distance of the nearest mined negatives; NaN without descriptors.
        positive: Mean squared distance of the positives; NaN without descriptors.
        without_negative: Queries for which no negative was found.
        attempts: Samples drawn, over all queries.
    """

    plan: Plan
    violating: float
    trivial: float
    hardest: float
    positive: float
    without_negative: int
    attempts: int


class Miner(Protocol):
    """Chooses a positive and negatives for the queries of a round."""

    @property
    def needs_descriptors(self) -> bool:
        """Whether descriptors are looked at; without need nothing is extracted."""

    @property
    def shares_candidates(self) -> bool:
        """Whether all queries of a round look at the same candidates, which may then come from elsewhere too."""

    def candidates(self, task: MiningTask) -> Rows:
        """Database rows that may be looked at besides the positives, ascending and unique."""

    def mine(
        self,
        task: MiningTask,
        candidates: Rows,
        query_descriptors: RowDescriptors | None,
        database_descriptors: RowDescriptors | None,
    ) -> MinedRound:
        """Make the plan.

        Args:
            task: The round.
            candidates: What `candidates` gave for it, or what is put in its place, ascending and unique.
            query_descriptors: Descriptors of at least the queries; None when descriptors are not needed.
            database_descriptors: Of at least ``candidates`` and the queries' positives; likewise. Candidates that
                are not known to it are passed over; positives all are.
        """

    def state_dict(self) -> dict[str, Any]:
        """What is remembered from round to round, as plain values and tensors."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember what ``state`` holds."""
