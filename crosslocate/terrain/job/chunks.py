"""The fixed pieces of a rendering: so many views each, which one process renders at a time."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from crosslocate.errors import ConfigError


@dataclass(frozen=True)
class Chunk:
    """Consecutive views of a role.

    Attributes:
        role: ``database`` or ``queries``.
        number: Of the chunk in its role, from 0.
        start: Row of the first view.
        stop: Row behind the last view.
    """

    role: str
    number: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def label(self) -> str:
        """Name of the chunk in its role, which is also that of its shard: five digits at least."""
        return label_of(self.number)


def label_of(number: int) -> str:
    """Five digits, or as many as the number has."""
    return f"{number:05d}"


def cut(counts: Mapping[str, int], views: int) -> list[Chunk]:
    """Cut every role into chunks of ``views`` rows; the last one of a role has what is left."""
    return [
        Chunk(role, start // views, start, min(start + views, count))
        for role, count in counts.items()
        for start in range(0, count, views)
    ]


@dataclass(frozen=True)
class Share:
    """The part of the chunks that a process takes: every ``of``-th one. Tasks of an array need no lock then.

    Attributes:
        part: From 1 to ``of``.
        of: Number of parts.
    """

    part: int
    of: int

    @classmethod
    def read(cls, text: str) -> "Share":
        """``3/16`` is the third of sixteen parts.

        Raises:
            ConfigError: It says something else.
        """
        found = re.fullmatch(r"([0-9]+)/([0-9]+)", str(text))
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError("share", text, "part/parts with a part from 1 to parts, as 3/16, or null for everything")
        return cls(int(found[1]), int(found[2]))

    def take(self, chunks: list[Chunk]) -> Iterator[Chunk]:
        """The chunks of this part, spread over the whole job."""
        return iter(chunks[self.part - 1 :: self.of])
