"""The plan of a round: which triplets to train on, as one integer array."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plan = NDArray[np.int32]
"""Shape [triplets, 2 + negatives]: query row, positive row, then negative rows; -1 where there is no such negative."""

NO_VIEW = -1
"""Fills the places of negatives that were not found."""


@dataclass(frozen=True)
class MiningReport:
    """What a refresh did, for the log.

    Attributes:
        extraction_seconds: Time spent on descriptors.
        candidates_seconds: Time spent on naming candidates: drawing, and making and searching an index of descriptors.
        reading_seconds: The part of it in which images were waited for.
        mining_seconds: Time spent on choosing.
        extracted: Number of images embedded.
        extracted_share: The same as a share of all training queries and database views.
        triplets: Rows of the plan.
        without_positive: Queries of the training set that no view can answer; they are in no round.
        without_negative: Queries of the round for which no negative was found.
        attempts: Samples of negatives drawn, over all queries of the round.
        violating: Share of mined negatives nearer to the query than its positive plus the margin, in 0..1.
        trivial: Share of triplets of which no mined negative is, in 0..1: they teach nothing.
        hardest: Mean squared distance from a query to its nearest mined negative.
        positive: Mean squared distance from a query to its positive.
        age_mean: Rounds since the descriptors of the chosen negatives were extracted, mean.
        age_max: The same, of the oldest.
    """

    extraction_seconds: float
    candidates_seconds: float
    reading_seconds: float
    mining_seconds: float
    extracted: int
    extracted_share: float
    triplets: int
    without_positive: int
    without_negative: int
    attempts: int
    violating: float
    trivial: float
    hardest: float
    positive: float
    age_mean: float
    age_max: float

    def metrics(self) -> dict[str, float]:
        """The figures under the names they are logged by."""
        return {
            "mining/extraction_seconds": self.extraction_seconds,
            "mining/candidates_seconds": self.candidates_seconds,
            "mining/reading_seconds": self.reading_seconds,
            "mining/mining_seconds": self.mining_seconds,
            "mining/extracted": float(self.extracted),
            "mining/extracted_share": self.extracted_share,
            "mining/triplets": float(self.triplets),
            "mining/without_positive": float(self.without_positive),
            "mining/without_negative": float(self.without_negative),
            "mining/attempts": float(self.attempts),
            "mining/violating": self.violating,
            "mining/trivial": self.trivial,
            "mining/hardest_distance": self.hardest,
            "mining/positive_distance": self.positive,
            "mining/age_mean": self.age_mean,
            "mining/age_max": self.age_max,
        }
