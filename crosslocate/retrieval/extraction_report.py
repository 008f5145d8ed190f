"""Where the time of an extraction went, and what it was limited by."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ExtractionReport:
    """Seconds of one extraction; stages that overlap on a GPU are counted each for itself.

    Args:
        written: Number of descriptors.
        seconds: From the first image asked for to the last descriptor on disk.
        reading: For which the network waited for images to be read and decoded.
        transfer: For which images were copied to the device.
        compute: For which the device made descriptors of them.
        writing: For which descriptors were written.
    """

    written: int
    seconds: float
    reading: float
    transfer: float
    compute: float
    writing: float

    @property
    def images_per_second(self) -> float:
        """Descriptors written per second."""
        return self.written / self.seconds if self.seconds > 0 else 0.0

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage: reading, transfer, network, writing."""
        return {
            "reading": self.reading,
            "transfer": self.transfer,
            "network": self.compute,
            "writing": self.writing,
        }

    @property
    def limit(self) -> str:
        """The stage that took longest, which more of anything else would not make faster."""
        return max(self.stages, key=self.stages.__getitem__)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with what follows from them."""
        return {**asdict(self), "images_per_second": self.images_per_second, "limit": self.limit}

    def __str__(self) -> str:
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.stages.items())
        return (
            f"{self.written:,} descriptors in {self.seconds:.1f} s, {self.images_per_second:.1f} a second; {stages}: "
            f"limited by {self.limit}"
        )


def combined(reports: Sequence[ExtractionReport]) -> ExtractionReport:
    """The extraction of several processes at once: what all have written, by the slowest, with stages of one of them.

    Args:
        reports: At least one.
    """

    def mean(stage: str) -> float:
        total: float = sum(getattr(report, stage) for report in reports)
        return total / len(reports)

    return ExtractionReport(
        sum(report.written for report in reports),
        max(report.seconds for report in reports),
        *(mean(stage) for stage in ("reading", "transfer", "compute", "writing")),
    )
