"""The MLflow logger: one run of MLflow for each run, however often it is continued; in a local store by default."""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, MLFlowLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only, rank_zero_warn

from crosslocate.config.ranks import is_first_process
from crosslocate.errors import ConfigError
from crosslocate.lit.guarded import Guarded, guarded
from crosslocate.lit.idle import IdleLogger
from crosslocate.lit.outcome import Outcome, keep_open
from crosslocate.lit.provenance import choice_tags, provenance, record_of, sweep_name
from crosslocate.lit.publish import Lines, Rows, as_markdown
from crosslocate.lit.run_id import known_run_id, note_run_id

STATUSES = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
"""MLflow's words for how a run ended."""
TRACKING, RETRIES = "MLFLOW_TRACKING_URI", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
SQLITE = "sqlite:///"
"""Beginning of the address of a store in a file."""


class RunMlflowLogger(MLFlowLogger, Guarded):
    """Logs a run to MLflow, and never ends it: where MLflow fails, training goes on without.

    MLflow's names have no ``@``: ``val/recall@1_20m`` is ``val/recall_at_1_20m`` there.

    Args:
        id_file: Keeps the id of MLflow's run.
        checkpoint: Whether the checkpoints are kept as artifacts at the end.
        options: Passed to Lightning's logger.
    """

    def __init__(self, id_file: Path, *, checkpoint: bool, **options: Any) -> None:
        super().__init__(**options)
        self.id_file, self.checkpoint = id_file, checkpoint

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The client of MLflow; the run begins, or goes on, when it is first asked for."""
        return self._mlflow_client if self._initialized else self.begun(self._begin)

    def _begin(self) -> Any:
        self._run_id = self._known()
        with _restored(TRACKING):  # MLflow writes its address there, where the next job would take it for the user's
            client = MLFlowLogger.experiment.fget(self)  # type: ignore[attr-defined]
        keep_open(self)
        note_run_id(self.id_file, str(self._run_id))
        client.update_run(self._run_id, status="RUNNING")
        return client

    def _known(self) -> str | None:
        """The run's id, if the store has it: one that was begun with another store is begun anew."""
        from mlflow.exceptions import MlflowException

        known = known_run_id(self.id_file)
        try:
            return known and str(self._mlflow_client.get_run(known).info.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    @guarded
    def log_hyperparams(self, params: Any) -> None:
        """Keep the configuration of the run, as it was when it began: MLflow's parameters never change."""
        known = self.experiment.get_run(self.run_id).data.params
        if not known:
            super().log_hyperparams(params)

    @guarded
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures at an optimizer step."""
        super().log_metrics({mlflow_name(name): value for name, value in metrics.items()}, step)

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Do nothing: Lightning calls this after every stage, and `close` knows how the run ended."""

    @guarded
    def publish_pictures(self, name: str, files: Sequence[Path], step: int) -> None:
        """Keep PNG files."""
        for file in files:
            self.experiment.log_artifact(self.run_id, str(file), name.rpartition("/")[0])

    @guarded
    def publish_table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        """Keep a table in Markdown."""
        self.experiment.log_text(self.run_id, as_markdown(columns, rows) + "\n", f"{name}.md")

    @guarded
    def publish_lines(self, name: str, lines: Lines, step: int) -> None:
        """Keep lines as CSV, one row a point."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["line", lines.x, "y"])
        for line, points in lines.series.items():
            writer.writerows([line, x, y] for x, y in zip(*points, strict=True))
        self.experiment.log_text(self.run_id, text.getvalue(), f"{name}.csv")

    @guarded
    def publish_summary(self, values: Mapping[str, float]) -> None:
        """Keep figures of the whole run as metrics."""
        self.log_metrics({name: value for name, value in values.items() if value is not None})

    @guarded
    def publish_checkpoints(self, files: Mapping[str, Path], values: Mapping[str, float]) -> None:
        """Keep the checkpoints, if that was asked for."""
        for file in files.values() if self.checkpoint else ():
            self.experiment.log_artifact(self.run_id, str(file), "checkpoints")

    def close(self, outcome: Outcome) -> None:
        """Note how the run ended; once, without waiting, where the logger was given up: the store may be back."""
        run_id = str(self._run_id)
        with _restored(RETRIES):
            if self.silent:
                os.environ[RETRIES] = "0"
            self._mlflow_client.set_terminated(run_id, STATUSES[outcome.status])
            if outcome.reason:
                self._mlflow_client.set_tag(run_id, "reason", outcome.reason)


def mlflow_logger(
    save_dir: str,
    *,
    experiment: str,
    name: str,
    tracking_uri: str,
    artifacts: str,
    group: str | None,
    tags: list[str],
    checkpoint: bool,
) -> Logger:
    """Make the logger of one run, on the first process; elsewhere, or where the store cannot be opened, one that idles.

    The id of MLflow's run is kept in ``<save_dir>/mlflow/run_id``: whoever continues the run continues that one too.

    Args:
        save_dir: Folder of the run.
        experiment: Name of the experiment that runs are gathered in.
        name: Name of the run.
        tracking_uri: Where the store is: ``sqlite:///mlflow.db``, ``http://server:5000``; ``MLFLOW_TRACKING_URI`` in
            the environment goes before it.
        artifacts: Folder of pictures, tables and checkpoints of a store on this machine; a server has its own.
        group: Tag ``group``; None: the name of the sweep, where the run is part of one.
        tags: Tags beside modality, backbone and data set.
        checkpoint: Whether checkpoints are kept as artifacts.

    Raises:
        ConfigError: MLflow is not installed.
    """
    if not is_first_process():
        return IdleLogger()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is told to anybody unasked
    record = record_of(save_dir)
    where = os.environ.get(TRACKING) or tracking_uri
    try:
        return RunMlflowLogger(
            Path(save_dir) / "mlflow" / "run_id",
            checkpoint=checkpoint,
            experiment_name=experiment,
            run_name=name,
            tracking_uri=where,
            artifact_location=_local(where, Path(artifacts).absolute()),
            tags=_tags(record, group or sweep_name(record), tags),
        )
    except ModuleNotFoundError as error:
        raise ConfigError(
            "logger", "mlflow", 'a logger that is installed: pip install "crosslocate[mlflow]"'
        ) from error
    except Exception as error:
        text = " ".join(str(error).split())
        rank_zero_warn(f"MLflow's store {where} cannot be opened, nothing is sent to it: {text}")
        return IdleLogger()


@contextmanager
def _restored(name: str) -> Iterator[None]:
    """Give a variable of the environment back the value that it has now."""
    before = os.environ.get(name)
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _local(where: str, artifacts: Path) -> str | None:
    """Address of the artifacts of a store in a file, whose folders are made; None for a server, which has its own."""
    if not where.startswith(SQLITE):
        return None
    for folder in (artifacts, Path(where.removeprefix(SQLITE)).parent):
        folder.mkdir(parents=True, exist_ok=True)
    return artifacts.as_uri()


def mlflow_name(name: str) -> str:
    """A metric's name as MLflow takes it."""
    return name.replace("@", "_at_")


def _tags(record: Mapping[str, Any], group: str | None, more: Sequence[str]) -> dict[str, str]:
    """MLflow's tags are texts by name: what the run is about, its group, and where it comes from."""
    own = dict.fromkeys([*choice_tags(record), *more], "")
    grouped = {} if group is None else {"group": group}
    return own | grouped | {key: str(value) for key, value in provenance(record).items()}
