"""Which positions train, which validate and which test: by blocks of land, all in one, or as a list says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from crosslocate.errors import ConfigError, TerrainError
from crosslocate.geo import destination
from crosslocate.terrain.viewpoints.lattice import Lattice
from crosslocate.terrain.viewpoints.positions import Positions
from crosslocate.terrain.viewpoints.survey import SPLITS

Names = NDArray[np.str_]
Integers = NDArray[np.int64]
_STREAM = 5  # of random numbers
_AROUND = 64
_ENLARGED = 1.06
_CHUNK = 1 << 14


class Splits(Protocol):
    """Assigns positions to splits. Plain values, as in ``conf/survey/splits``."""

    @property
    def gap(self) -> float:
        """Metres that positions of different splits are at least apart; checked when all are assigned."""
        ...

    def assign(self, positions: Positions, database: Positions, seed: int) -> tuple[Names, dict[str, Any]]:
        """Split of each position, '' for those that are left out, and what to tell of it.

        Args:
            positions: Of the database or of the queries.
            database: Those of the database, on which the land is divided.
            seed: Of the draw.
        """
        ...


@dataclass(frozen=True)
class OneSplit:
    """All in one split.

    Attributes:
        name: Its name.
    """

    name: str = "test"
    gap: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.name not in SPLITS:
            raise ConfigError("survey.splits.name", self.name, SPLITS)

    def assign(self, positions: Positions, database: Positions, seed: int) -> tuple[Names, dict[str, Any]]:  # noqa: ARG002
        """The one split for all."""
        return np.full(len(positions), self.name), {}


@dataclass(frozen=True)
class ListedSplits:
    """As the column ``split`` of the lists says.

    Attributes:
        gap: Metres that positions of different splits must be apart.
    """

    gap: float = 0.0

    def __post_init__(self) -> None:
        if self.gap < 0.0:
            raise ConfigError("survey.splits.gap", self.gap, "0 metres or more")

    def assign(self, positions: Positions, database: Positions, seed: int) -> tuple[Names, dict[str, Any]]:  # noqa: ARG002
        """The splits that the positions came with.

        Raises:
            TerrainError: A position has none; names it.
        """
        for row in np.flatnonzero(positions.split == "")[:1]:
            raise TerrainError(
                f"viewpoint {positions.name[row]} has no split, and survey.splits takes them from a list; give the "
                f"list a column split ({', '.join(SPLITS)}), or use survey/splits=blocks or one"
            )
        return positions.split, {}


@dataclass(frozen=True)
class Blocks:
    """Square blocks of land (the cells of a `Lattice`), each of one split.

    Blocks that hold positions of the database are shuffled and dealt: each goes to the split that is farthest behind
    its share of positions. Positions nearer than half the gap to a block of another split are left out, so that
    positions of different splits are at least the gap apart. Blocks without database hold no queries either.

    Attributes:
        size: Side of a block in metres.
        gap: Metres.
        shares: Shares of the positions by split, in proportion.
    """

    size: float = 10_000.0
    gap: float = 2_000.0
    shares: Mapping[str, float] = field(default_factory=lambda: {"train": 0.7, "val": 0.1, "test": 0.2})

    def __post_init__(self) -> None:
        if not 100.0 <= self.size <= 1e6:
            raise ConfigError("survey.splits.size", self.size, "100 to 1,000,000 metres")
        if not 0.0 <= self.gap <= 0.5 * self.size:
            raise ConfigError(
                "survey.splits.gap", self.gap, f"0 to {0.5 * self.size:g} metres, half the size of a block"
            )
        for split, share in self.shares.items():
            if split not in SPLITS:
                raise ConfigError("survey.splits.shares", split, SPLITS)
            if not 0.0 <= share < np.inf:
                raise ConfigError(f"survey.splits.shares.{split}", share, "0 or more")
        if not any(self.shares.values()):
            raise ConfigError("survey.splits.shares", dict(self.shares), "at least one share above 0")

    def assign(self, positions: Positions, database: Positions, seed: int) -> tuple[Names, dict[str, Any]]:
        """The split of each position's block; '' in the gaps and in blocks without database.

        Raises:
            TerrainError: There are fewer blocks than splits.
        """
        lattice = Lattice(self.size)
        blocks, inverse = np.unique(_keys(lattice, database.longitude, database.latitude), return_inverse=True)
        names = [split for split in SPLITS if self.shares.get(split, 0.0) > 0.0]
        dealt = self._deal(np.bincount(inverse), names, default_rng([seed, _STREAM]))
        own = _split_of(lattice, blocks, dealt, positions.longitude, positions.latitude)
        free = (own >= 0) & self._clear(lattice, blocks, dealt, positions, own)
        told = {
            "blocks": {name: int((dealt == k).sum()) for k, name in enumerate(names)},
            "in_gaps": int(((own >= 0) & ~free).sum()),
            "in_blocks_without_database": int((own < 0).sum()),
        }
        return np.where(free, np.array([*names, ""])[own], ""), told

    def _deal(self, weights: Integers, names: list[str], rng: np.random.Generator) -> Integers:
        """Number of the split of each block, [blocks]."""
        if len(weights) < len(names):
            raise TerrainError(
                f"the database lies in {len(weights)} blocks of {self.size:.0f} m; {len(names)} splits need as "
                "many: make survey.splits.size smaller, or use survey/splits=one"
            )
        shares = np.array([self.shares[name] for name in names]) / sum(self.shares[name] for name in names)
        dealt = np.empty(len(weights), np.int64)
        have, used = np.zeros(len(names)), np.zeros(len(names), bool)
        order = rng.permutation(len(weights))
        for turn, block in enumerate(order):
            behind = shares * (have.sum() + weights[block]) - have
            if len(order) - turn <= (~used).sum():  # the last blocks go to splits that have none
                behind[used] = -np.inf
            split = int(behind.argmax())
            dealt[block], used[split] = split, True
            have[split] += weights[block]
        return dealt

    def _clear(
        self, lattice: Lattice, blocks: Integers, dealt: Integers, positions: Positions, own: Integers
    ) -> NDArray[np.bool_]:
        """Which positions are farther than half the gap from blocks of other splits.

        Looked at are 64 points on a circle around each. It is 6 % wider than half the gap: a block is larger than the
        circle, and the corner of one that comes between two points stays outside of half the gap.
        """
        clear = np.ones(len(positions), bool)
        if self.gap == 0.0:
            return clear
        heading, radius = 2.0 * np.pi * np.arange(_AROUND) / _AROUND, 0.5 * _ENLARGED * self.gap
        outer = np.flatnonzero(lattice.to_edge(positions.longitude, positions.latitude) < 1.02 * radius)
        for k in range(0, len(outer), _CHUNK):
            part = outer[k : k + _CHUNK]
            lon, lat = destination(positions.longitude[part, None], positions.latitude[part, None], heading, radius)
            around = _split_of(lattice, blocks, dealt, lon, lat)
            clear[part] = ((around < 0) | (around == own[part, None])).all(axis=1)
        return clear


def _keys(lattice: Lattice, longitude: Any, latitude: Any) -> Integers:
    """One number for every cell."""
    row, column = lattice.cells(longitude, latitude)
    return row * (4 * lattice.rows) + column


def _split_of(lattice: Lattice, blocks: Integers, dealt: Integers, longitude: Any, latitude: Any) -> Integers:
    """Number of the split of the blocks that hold positions, -1 for blocks that were not dealt."""
    keys = _keys(lattice, longitude, latitude)
    at = np.minimum(np.searchsorted(blocks, keys), len(blocks) - 1)
    return np.where(blocks[at] == keys, dealt[at], -1)
