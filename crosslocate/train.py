"""Train a retriever and evaluate it.

python -m crosslocate.train modality=depth backbone=resnet50
python -m crosslocate.train -m modality=depth,segments,silhouettes pooling=mac,gem
"""

from pathlib import Path
from typing import TYPE_CHECKING

from crosslocate.config.app import entry_point
from crosslocate.config.validate import validate_train

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from crosslocate.runs.continuation import Start
    from crosslocate.runs.session import Session


@entry_point("train", validate_train)
def main(cfg: "DictConfig") -> float:
    """One training run; returns the objective, measured with the best checkpoint."""
    from hydra.core.hydra_config import HydraConfig

    from crosslocate.config.places import take_place
    from crosslocate.config.ranks import is_first_process
    from crosslocate.devices import take_free_gpus
    from crosslocate.lit.signals import listening
    from crosslocate.runs.process import process_settings
    from crosslocate.threads import keep_freed_memory, limit_threads

    overrides = list(HydraConfig.get().overrides.task)
    process = process_settings(cfg, overrides)
    with listening():
        take_place(HydraConfig.get(), process.accelerator, process.devices)
    take_free_gpus(process.accelerator, process.devices)
    limit_threads(process.threads)
    keep_freed_memory()

    from crosslocate.console import say
    from crosslocate.lit.resume import starting
    from crosslocate.memory import explained_memory
    from crosslocate.runs.reproduction import require_reproduced
    from crosslocate.runs.session import recorded

    with listening():
        start = starting(cfg, overrides)
        objective = start.earlier.objective
        if objective is None:
            with recorded(start) as session, explained_memory(start.cfg):
                objective = train(start, session)
        else:
            say(f"{start.cfg.paths.run} is finished: {start.cfg.evaluation.objective} {objective:.3f}")
    if start.cfg.reproduce is not None and is_first_process():
        require_reproduced(start.cfg.reproduce, Path(start.cfg.paths.run))
    return objective


def train(start: "Start", session: "Session") -> float:
    """Train and evaluate; returns the objective.

    Args:
        start: The configuration, and the checkpoint to go on from.
        session: Is told what the run's record keeps.
    """
    from crosslocate.config.rehearsal import rehearse
    from crosslocate.lit import assembly
    from crosslocate.lit.ending import why_ended
    from crosslocate.lit.evaluation import evaluate, measured_once, write_all_matches
    from crosslocate.lit.initialization import initialize_poolings
    from crosslocate.lit.report import plot_training, publish_report, write_report
    from crosslocate.lit.restore import load_network, read_checkpoint
    from crosslocate.lit.resume import built_for, callbacks_of, initial_weights
    from crosslocate.lit.wandb import finished_runs
    from crosslocate.retrieval.results import Results, metrics

    cfg, checkpoint, folder = start.cfg, start.checkpoint, session.folder
    with built_for(start):
        rehearse(cfg)
        assembly.require_devices(cfg.trainer)
        datamodule = assembly.build_datamodule(cfg)
        assembly.outline_network(cfg, datamodule)
    datamodule.require("fit", *(["test"] if cfg.test else []))  # what is missing is missed now, not after training
    session.saw_data(datamodule)
    initial = None if checkpoint else initial_weights(cfg)
    fresh = checkpoint is None and initial is None
    with built_for(start):
        module = assembly.build_module(cfg, datamodule, pretrained=fresh)
    if initial is not None:
        load_network(module.network, read_checkpoint(initial), initial)
    recall = assembly.build_recall(cfg)
    with finished_runs():
        trainer = assembly.build_trainer(cfg, [assembly.build_mining(cfg), recall, *callbacks_of(start, folder)])
        session.saw_trainer(trainer)
        if fresh:
            device, visible = trainer.strategy.root_device, trainer.is_global_zero
            initialize_poolings(module.network, datamodule, cfg.seed, device, visible=visible)
        splits = [*recall.splits, *(["test"] if cfg.test else [])]
        untrained: dict[str, Results] = {}
        if cfg.untrained:
            untrained = measured_once(
                folder / "untrained.json",
                lambda: evaluate(
                    assembly.build_evaluator(cfg.trainer, cfg.paths.run, recall), module, datamodule, splits
                ),
            )
            recall.begin_history(untrained)
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
        weights = session.fitted(module.network)
        ended, history = why_ended(trainer), list(recall.history)
        best = assembly.best_checkpoint(trainer)
        trained = evaluate(trainer, module, datamodule, splits, best)
        objective = metrics(trained["val"])[recall.objective]
        if trainer.is_global_zero:
            named = {"trained": trained, "untrained": untrained}
            evaluations = {s: {name: found[s] for name, found in named.items() if found} for s in splits}
            write_report(
                folder,
                evaluations,
                {
                    "objective": {recall.objective: objective},
                    "checkpoint": best and str(best),
                    "initial_weights": cfg.initial_weights,
                    "weights": weights,
                    "ended": ended,
                    "history": history,
                },
            )
            write_all_matches(folder, trainer, datamodule, splits)
            plot_training(folder, history, recall.criteria)
            publish_report(trainer.loggers, folder, evaluations, history, trainer.global_step)
        session.measured(recall.objective, objective)
    return objective


if __name__ == "__main__":
    main()
