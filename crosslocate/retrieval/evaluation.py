"""From descriptors to results: search, measure, count. What a training, a checkpoint and foreign descriptors share."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.distance import PlaceDistance, Posed
from crosslocate.data.relations import views_within
from crosslocate.errors import DataError
from crosslocate.retrieval.chance import Chance, ChanceLevels
from crosslocate.retrieval.field_of_view import FieldOfViewGroups
from crosslocate.retrieval.matches import Matches
from crosslocate.retrieval.recall import (
    Ints,
    QueryErrors,
    RecallCriteria,
    ViewCounts,
    compare,
    count_views,
    nearest,
)
from crosslocate.retrieval.results import Results, SuccessRecord, summarize
from crosslocate.retrieval.search import Neighbours, Searcher
from crosslocate.retrieval.search_report import SearchReport

log = logging.getLogger(__name__)


class Surroundings(NamedTuple):
    """What a split gives by itself, whatever the descriptors: views near each query, and recalls by chance."""

    views: ViewCounts
    levels: ChanceLevels


class Answers(NamedTuple):
    """What a search gave for some queries: how near each came, and its first neighbours."""

    errors: QueryErrors
    matches: Matches


@dataclass(frozen=True)
class Evaluator:
    """Measures how well descriptors retrieve.

    Args:
        criteria: What is counted.
        searcher: Finds neighbours.
        chance: Finds the recalls by chance.
        fields_of_view: Groups of queries that are looked at apart.
        success_distance: Metres within which the first neighbour, of a fitting heading, localizes a query.
    """

    criteria: RecallCriteria
    searcher: Searcher
    chance: Chance
    fields_of_view: FieldOfViewGroups
    success_distance: float

    def look_around(self, queries: Posed, database: Posed, model: PlaceDistance) -> Surroundings:
        """Views near each query, and recalls by chance."""
        criteria = self.criteria
        if len(database) < criteria.numbers[-1]:
            wanted = [number for number in criteria.numbers if number > len(database)]
            log.warning("the database has %d views; recall@%s looks at all of them", len(database), wanted)
        near = views_within(queries, database, float(criteria.thresholds[-1]), model=model)
        views = count_views(near.indptr, near.indices, queries, database, criteria, model)
        lacking = int((views.position[:, -1] == 0).sum())
        if lacking:
            log.warning(
                "%d of %d queries have no view within %g m; they count as misses",
                lacking, len(queries), criteria.thresholds[-1],
            )  # fmt: skip
        return Surroundings(views, self.chance.levels(views, queries, database, len(database), criteria, model))

    def answer(
        self,
        query_descriptors: NDArray[np.floating],
        query_rows: Ints,
        database_descriptors: NDArray[np.floating],
        queries: Posed,
        database: Posed,
        model: PlaceDistance,
    ) -> Answers:
        """Search some queries and measure what was found.

        Args:
            query_descriptors: Of these queries [q, D].
            query_rows: Their rows in ``queries`` [q].
            database_descriptors: Of all views [n, D].
            queries: Poses of all queries.
            database: Poses of all views.
            model: What distance means.
        """
        found = self.searcher.search(query_descriptors, database_descriptors, self.neighbours)
        return self.judge(found, query_rows, queries, database, model)

    @property
    def neighbours(self) -> int:
        """How many neighbours of a query are looked at."""
        return max(self.criteria.numbers)

    def judge(
        self, found: Neighbours, query_rows: Ints, queries: Posed, database: Posed, model: PlaceDistance
    ) -> Answers:
        """Measure what a search found for some queries; see `answer`."""
        compared = compare(queries, query_rows, database, found.rows, model)
        matches = Matches.of(
            query_rows, found.rows, compared, distance=self.success_distance, heading=self.criteria.heading
        )
        return Answers(nearest(compared, self.criteria), matches)

    def results(
        self,
        split: str,
        answers: Answers,
        around: Surroundings,
        queries: Posed,
        views: int,
        report: SearchReport | None = None,
    ) -> Results:
        """Count what the answers to all queries are worth, in a database of ``views`` views.

        Args:
            split: Name of the split, for the reader.
            answers: To all queries.
            around: What the split gives by itself.
            queries: Poses of all queries.
            views: Size of the database.
            report: Of the search, where it is approximate.

        Raises:
            DataError: There are no queries.
        """
        criteria, matches = self.criteria, answers.matches
        results = summarize(split, answers.errors, around.views, views, criteria, around.levels)
        results["chance_by"] = self.chance.record
        results["successes"] = SuccessRecord(
            distance_m=float(self.success_distance),
            heading_deg=float(criteria.heading),
            queries=int(matches.localized.sum()),
        )
        results["fields_of_view"] = self.fields_of_view.measure(matches, queries.horizontal_fov, criteria)
        if report is not None:
            results["search"] = report.record
        return results

    def evaluate(
        self,
        split: str,
        query_descriptors: NDArray[np.floating],
        database_descriptors: NDArray[np.floating],
        queries: Posed,
        database: Posed,
        model: PlaceDistance,
    ) -> tuple[Results, Matches]:
        """Everything at once, for descriptors of all queries [q, D] and views [n, D].

        Raises:
            DataError: There are no queries, or descriptors and poses differ in number.
        """
        pairs: Sequence[tuple[str, int, int]] = (
            ("queries", len(query_descriptors), len(queries)),
            ("views", len(database_descriptors), len(database)),
        )
        for role, descriptors, poses in pairs:
            if descriptors != poses:
                raise DataError(f"{descriptors} descriptors for {poses} {role} of split '{split}'")
        search = self.searcher.over(database_descriptors, queries=query_descriptors)
        found = search.nearest(query_descriptors, self.neighbours)
        answers = self.judge(found, np.arange(len(queries)), queries, database, model)
        around = self.look_around(queries, database, model)
        return self.results(split, answers, around, queries, len(database), search.report), answers.matches
