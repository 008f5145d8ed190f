"""The TensorBoard logger: one curve for a run, however often it is continued."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from crosslocate.errors import ConfigError
from crosslocate.lit.publish import Lines, Rows, as_markdown


class RunTensorBoardLogger(TensorBoardLogger):
    """Logs a run to TensorBoard.

    A run that is continued begins a new file of events with the step of its first figures: TensorBoard drops what
    earlier files have from that step on, since it was done again.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._begun = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures at an optimizer step."""
        if not self._begun and step is not None:
            self._begun = True
            self._begin_again(step)
        super().log_metrics(metrics, step)

    def _begin_again(self, step: int) -> None:
        """Tell TensorBoard that a session begins, as ``SummaryWriter`` does when it is given a ``purge_step``."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        writer = self.experiment.file_writer
        writer.add_event(Event(step=step, file_version="brain.Event:2"), step)
        writer.add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)), step)

    def publish_pictures(self, name: str, files: Sequence[Path], step: int) -> None:
        """Show PNG files, each under a name of its own."""
        for number, file in enumerate(files):
            tag = name if number == 0 else f"{name}_{number + 1}"
            self.experiment.add_image(tag, _pixels(file), step, dataformats="HWC")

    def publish_table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        """Show a table as text."""
        self.experiment.add_text(name, as_markdown(columns, rows), step)

    def publish_lines(self, name: str, lines: Lines, step: int) -> None:
        """Leave them out: TensorBoard draws over steps alone."""

    def publish_summary(self, values: Mapping[str, float]) -> None:
        """Keep figures as the metrics of the hyperparameters."""
        self.log_hyperparams(dict(self.hparams), dict(values))

    def publish_checkpoints(self, files: Mapping[str, Path], values: Mapping[str, float]) -> None:
        """Leave them out: TensorBoard keeps no files."""


def tensorboard_logger(save_dir: str, folder: str) -> RunTensorBoardLogger:
    """Log to ``<save_dir>/<folder>``.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    try:
        return RunTensorBoardLogger(save_dir=save_dir, name="", version=folder, default_hp_metric=False)
    except ModuleNotFoundError as error:
        raise ConfigError(
            "logger", "tensorboard", 'a logger that is installed: pip install "crosslocate[tensorboard]"'
        ) from error


def _pixels(file: Path) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))
