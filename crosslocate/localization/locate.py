"""From a photograph and an index to an answer."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from crosslocate.data.reader import aspect_of_views
from crosslocate.lit.restore import Retriever
from crosslocate.localization.answer import Answer, describe_places
from crosslocate.localization.index import DescriptorIndex, ViewFormat
from crosslocate.localization.photo import Photo
from crosslocate.localization.places import Grouping, rank_places
from crosslocate.localization.selection import Selection
from crosslocate.retrieval.extract import as_float32
from crosslocate.retrieval.search import Search


@dataclass(frozen=True)
class Localizer:
    """Answers where photographs were taken.

    Args:
        retriever: Makes the descriptor of a photograph.
        index: Descriptors of the database, made by the same retriever.
        search: Finds the nearest of them.
        selection: Which of them may be answers.
        grouping: How retrieved views become places.
        views: How many views are retrieved.
        top: How many places an answer has at most.
        checkpoint: Where the retriever's weights came from, for the record.
    """

    retriever: Retriever
    index: DescriptorIndex
    search: Search
    selection: Selection
    grouping: Grouping
    views: int
    top: int
    checkpoint: str

    def locate(self, photo: Photo) -> Answer:
        """Ranked places for a photograph.

        Raises:
            DataError: The photograph cannot be decoded, or its descriptor is not finite.
            ConfigError: The selection is empty.
        """
        database = self.index.database
        among = self.selection.among(database)
        found = self.search.nearest(self.describe(photo), self.views, among)
        places = rank_places(database, found.rows[0], found.distances[0], self.grouping)[: self.top]
        return Answer(
            photo=photo,
            candidates=describe_places(places, database, photo.truth),
            database=str(database.path),
            searched=len(database) if among is None else int(np.count_nonzero(among)),
            retrieved=found.rows.shape[1],
            checkpoint=self.checkpoint,
            selection=self.selection,
            search=self.search.report,
        )

    def _aspect(self) -> float | None:
        """Height over width of the views, where photographs are brought to their field of view."""
        if ViewFormat.of(self.retriever.config).match_fov is None:
            return None
        return aspect_of_views(self.index.database, self.retriever.pipeline.compositions["database"].modalities[0])

    def describe(self, photo: Photo) -> NDArray[np.float32]:
        """The photograph's descriptor, [1, D]."""
        wanted = ViewFormat.of(self.retriever.config)
        raw = photo.read(wanted.size, wanted.match_fov, self._aspect())
        images = {name: torch.from_numpy(array).to(self.retriever.device) for name, array in raw.items()}
        with torch.inference_mode():
            descriptor = self.retriever.encode("query", self.retriever.pipeline.inputs("query", images))
        values: NDArray[np.float32] = as_float32(descriptor)
        return values
