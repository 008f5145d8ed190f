"""The CSV logger, which keeps what a run logged before it was resumed."""

from pathlib import Path

from pytorch_lightning.loggers import CSVLogger

FILE = "metrics.csv"


def csv_logger(save_dir: str, folder: str) -> CSVLogger:
    """Log to ``<save_dir>/<folder>/metrics.csv``; a file that is there already becomes ``metrics-1.csv``, and so on.

    Lightning's logger deletes what it finds. `log_files` gives all of them in order.
    """
    current = Path(save_dir) / folder / FILE
    if current.is_file():
        current.rename(current.with_name(f"metrics-{len(log_files(current.parent))}.csv"))
    return CSVLogger(save_dir=save_dir, name="", version=folder)


def log_files(folder: Path) -> list[Path]:
    """Log files of a run, the oldest first."""
    earlier = sorted(folder.glob("metrics-*.csv"), key=lambda path: int(path.stem.split("-")[1]))
    return [*earlier, *folder.glob(FILE)]
