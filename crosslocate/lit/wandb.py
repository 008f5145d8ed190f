"""The wandb logger: one of its runs for each run, however often continued; offline unless there is an account."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from crosslocate.config.ranks import is_first_process
from crosslocate.console import say
from crosslocate.lit.guarded import Guarded, guarded
from crosslocate.lit.idle import IdleLogger
from crosslocate.lit.outcome import Outcome, finished_runs, keep_open
from crosslocate.lit.provenance import choice_tags, provenance, record_of, sweep_name
from crosslocate.lit.publish import Lines, Rows
from crosslocate.lit.run_id import kept_run_id
from crosslocate.lit.wandb_account import has_account, reachable, server, setting

__all__ = ["RunWandbLogger", "finished_runs", "wandb_logger"]

DATA = "WANDB_DATA_DIR"
"""Where wandb keeps tables until they are sent: with the run, not in the user's home."""
STEP, EPOCH = "trainer/global_step", "epoch"
BY_EPOCH = ("val/*", "train/loss_epoch", "train/recall*", "train/chance*", "train/median_error_m")
"""Metrics whose horizontal axis is the epoch; that of all others is the optimizer step."""
Checkpoints = Literal["none", "best", "all"]


class RunWandbLogger(WandbLogger, Guarded):
    """Logs a run to wandb, and never ends it: where wandb fails, training goes on without.

    Args:
        folder: Folder of the run.
        offline: Whether nothing is sent while the run goes on.
        checkpoint: Which checkpoints are kept as an artifact at the end.
        options: Passed to ``wandb.init``.
    """

    def __init__(self, folder: str, *, offline: bool, checkpoint: Checkpoints, **options: Any) -> None:
        super().__init__(save_dir=folder, offline=offline, resume=None if offline else "allow", **options)
        self.checkpoint = checkpoint
        self._own_data = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of wandb, begun when it is first asked for."""
        return self.begun(self._begin) if self._experiment is None else self._experiment

    def _begin(self) -> Any:
        folder = Path(str(self.save_dir)) / "wandb"
        self._id = kept_run_id(folder / "run_id")
        if DATA not in os.environ:
            os.environ[DATA] = str(folder.absolute() / "data")
            self._own_data = True
        try:
            self._experiment = run = self._init()
        except BaseException:
            self._forget_data()
            raise
        keep_open(self)
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP, step_sync=True)
        run.define_metric(EPOCH, step_metric=STEP, step_sync=True)
        for name in BY_EPOCH:
            run.define_metric(name, step_metric=EPOCH, step_sync=True)
        return run

    def _init(self) -> Any:
        """Begin the run; offline where the server that answered a moment ago does not take it."""
        import wandb

        options = {name: value for name, value in self._wandb_init.items() if name != "anonymous"}  # gone from wandb
        begin = {**options, "id": self._id, "reinit": "finish_previous"}
        try:
            return wandb.init(**begin, mode="offline" if self._offline else "online")
        except wandb.Error as error:
            if self._offline:
                raise
            text = " ".join(str(error).split())
            rank_zero_warn(f"wandb takes no run ({text}): it is kept offline in {self.save_dir}/wandb")
            self._offline = True
            _abandon()  # its service believes the run to be in use
            return wandb.init(**{**begin, "resume": None}, mode="offline")

    def _forget_data(self) -> None:
        """Leave the environment as it was: the next job of this process has a folder of its own."""
        if self._own_data:
            os.environ.pop(DATA, None)
            self._own_data = False

    @guarded
    def log_hyperparams(self, params: Any) -> None:
        """Keep the configuration of the run."""
        super().log_hyperparams(params)

    @guarded
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures at an optimizer step."""
        super().log_metrics(metrics, step)

    @guarded
    def publish_pictures(self, name: str, files: Sequence[Path], step: int) -> None:
        """Show PNG files under one name."""
        self.log_image(name, [str(file) for file in files], step=step)

    @guarded
    def publish_table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        """Keep a table."""
        self.log_table(name, columns=list(columns), data=[list(row) for row in rows], step=step)

    @guarded
    def publish_lines(self, name: str, lines: Lines, step: int) -> None:
        """Show lines as a chart of wandb's own, which can be laid over that of other runs."""
        import wandb

        chart = wandb.plot.line_series(
            xs=[list(xs) for xs, _ in lines.series.values()],
            ys=[list(ys) for _, ys in lines.series.values()],
            keys=list(lines.series),
            title=lines.title,
            xname=lines.x,
        )
        self.experiment.log({name: chart, STEP: step})

    @guarded
    def publish_summary(self, values: Mapping[str, float]) -> None:
        """Keep figures of the whole run in the summary."""
        self.experiment.summary.update(dict(values))

    @guarded
    def publish_checkpoints(self, files: Mapping[str, Path], values: Mapping[str, float]) -> None:
        """Keep the checkpoints that were asked for as an artifact.

        Offline, the artifact refers to the files where they are: they have to be there when the run is synchronized.
        """
        import wandb

        wanted = {"none": [], "best": ["best"], "all": list(files)}[self.checkpoint]
        kept = {name: files[name] for name in wanted if name in files}
        if kept:
            artifact = wandb.Artifact(f"checkpoint-{self.version}", type="model", metadata=dict(values))
            for name, file in kept.items():
                artifact.add_file(str(file), name=f"{name}.ckpt", policy="immutable", skip_cache=True)
            self.experiment.log_artifact(artifact, aliases=["latest", *kept])

    def close(self, outcome: Outcome) -> None:
        """Finish the run as it ended; wandb shows one that was preempted as such."""
        run: Any = self._experiment
        self._experiment = None
        self._forget_data()
        try:
            run.summary.update({"status": outcome.status, "reason": outcome.reason})
            if outcome.preempted:
                run.mark_preempting()
            run.finish(exit_code=outcome.exit_code)
        except Exception:
            _abandon()
            raise


def _abandon() -> None:
    """Forget a run whose service is gone: the next job of this process begins one of its own, with a service."""
    import wandb
    from wandb.sdk.lib import module

    with suppress(Exception, SystemExit):
        wandb.teardown(exit_code=1)
    os.environ.pop("WANDB_SERVICE", None)
    module.unset_globals()


def wandb_logger(
    save_dir: str,
    *,
    offline: bool | None,
    group: str | None,
    tags: list[str],
    checkpoint: Checkpoints,
    finish_timeout: float,
    **options: Any,
) -> Logger:
    """Make the logger of one run; one that idles where wandb is switched off (``WANDB_MODE=disabled``).

    The id of wandb's run is kept in ``<save_dir>/wandb/run_id`` before the run begins: whoever continues the run
    continues that one too. What the record of the run says becomes group, tags and configuration.

    Args:
        save_dir: Folder of the run; wandb writes ``wandb/`` there.
        offline: None keeps the run offline when no account is known or the server cannot be reached.
        group: None: the name of the sweep, where the run is part of one.
        tags: Tags beside modality, backbone and data set.
        checkpoint: ``none``, ``best``, or ``all``: kept as an artifact at the end.
        finish_timeout: Seconds that the end of a run waits for what was not sent yet; 0: for ever.
        options: Passed to ``wandb.init``: project, entity, name, job_type, notes, ...
    """
    if setting("mode") == "disabled":
        return IdleLogger()
    record = record_of(save_dir)
    return RunWandbLogger(
        save_dir,
        offline=_stays_offline(save_dir) if offline is None else offline,
        checkpoint=checkpoint,
        group=group or sweep_name(record),
        tags=list(dict.fromkeys([*choice_tags(record), *tags])),
        config={"provenance": provenance(record)},
        settings={"finish_timeout": finish_timeout},
        **options,
    )


def _stays_offline(save_dir: str) -> bool:
    wanted = setting("mode") or ("online" if has_account() else "offline")
    offline = wanted != "online" or (is_first_process() and not reachable(server()))
    if offline and wanted == "online":
        say(f"{server()} cannot be reached: the wandb run is kept offline in {save_dir}/wandb")
    return offline
