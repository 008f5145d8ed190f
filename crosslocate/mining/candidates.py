"""Where the candidates that a round's negatives are chosen among come from."""

from typing import Protocol

from crosslocate.mining.descriptors import RowDescriptors, Rows
from crosslocate.mining.miner import Miner, MiningTask
from crosslocate.mining.refresh import Extractor, Moment


class Candidates(Protocol):
    """Names the database rows that a round may look at."""

    def require(self, miner: Miner) -> None:
        """Check that they are of use to a miner.

        Raises:
            ConfigError: They are not.
        """

    def rows(
        self, task: MiningTask, miner: Miner, moment: Moment, queries: RowDescriptors | None, extractor: Extractor
    ) -> Rows:
        """Database rows, ascending and unique; all processes of a run call it alike.

        Args:
            task: The round.
            miner: What it draws by itself are candidates too.
            moment: Which round of the run it is.
            queries: Fresh descriptors of at least the round's queries; None when the miner needs none.
            extractor: Embeds what else is needed.
        """

    def close(self) -> None:
        """Let go of files at the end of a training."""


class SampledCandidates:
    """What the miner draws, and nothing else."""

    def require(self, miner: Miner) -> None:
        """See Candidates; they are of use to any."""

    def rows(
        self, task: MiningTask, miner: Miner, moment: Moment, queries: RowDescriptors | None, extractor: Extractor
    ) -> Rows:
        """See Candidates."""
        del moment, queries, extractor
        return miner.candidates(task)

    def close(self) -> None:
        """See Candidates; there are none."""
