"""What an approximate search loses, and what it costs, beside the exact one."""

from dataclasses import asdict, dataclass
from typing import Any

AMONG = {"among": "all rows"}
"""Says in every record that the report is about searches without a selection."""


@dataclass(frozen=True)
class SearchReport:
    """Measured on a sample of queries, each searched in all rows of the database: a selection may lose more, or less.

    Args:
        queries: Size of the sample.
        of_database: Whether they are rows of the database, which are then no answers themselves.
        found: Share of the exact k nearest that is among the k found, by k.
        median_ms: Milliseconds of a query searched by itself, median.
        slow_ms: The same, 95th percentile.
        index_bytes: Of the index file.
        build_seconds: Wall time of training and filling.
        peak_bytes: Highest resident memory of the process until the index was made, as the kernel counts it (mapped
            pages of files too).
    """

    queries: int
    of_database: bool
    found: dict[int, float]
    median_ms: float
    slow_ms: float
    index_bytes: int
    build_seconds: float
    peak_bytes: int

    @property
    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"found": {str(k): share for k, share in self.found.items()}} | AMONG

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "SearchReport":
        """From JSON values.

        Raises:
            ValueError, KeyError, TypeError: They are no report.
        """
        values = {key: value for key, value in record.items() if key not in AMONG}
        return cls(**values | {"found": {int(k): float(share) for k, share in record["found"].items()}})

    def __str__(self) -> str:
        shares = ", ".join(f"{share:.1%} of the exact {k}" for k, share in self.found.items())
        kind = "rows of the database" if self.of_database else "queries"
        return (
            f"approximate search finds {shares} ({self.queries} {kind}), {self.median_ms:.1f} ms a query "
            f"(95 % below {self.slow_ms:.1f} ms); index of {self.index_bytes / 2**20:.0f} MiB, made in "
            f"{self.build_seconds:.0f} s, peak memory {self.peak_bytes / 2**30:.1f} GiB"
        )
