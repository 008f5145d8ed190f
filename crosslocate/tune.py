"""Tune settings of a training with Optuna, every trial a training of its own.

python -m crosslocate.tune study=first space=demo trials=30 'fixed=["experiment=demo"]'
The same command continues an interrupted study.
"""

from typing import TYPE_CHECKING, Any

from crosslocate.config.app import entry_point
from crosslocate.config.tune_schema import validate_tune

if TYPE_CHECKING:
    from omegaconf import DictConfig


@entry_point("tune", validate_tune)
def main(cfg: "DictConfig") -> float:
    """Run what a study lacks of its trials; returns the best objective."""
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from crosslocate.tuning.loop import run_trials
    from crosslocate.tuning.process import Training
    from crosslocate.tuning.progress import Progress, interruptible
    from crosslocate.tuning.slots import slot_environments
    from crosslocate.tuning.space import read_space
    from crosslocate.tuning.study import Trials, explained_storage
    from crosslocate.tuning.summary import summarize
    from crosslocate.tuning.trainings import composed, group_in_wandb

    folder = Path(HydraConfig.get().runtime.output_dir)
    kept: Any = OmegaConf.to_container(OmegaConf.masked_copy(cfg, ["fixed", "space", "sampler", "pruner", "seed"]))
    space, fixed = read_space(cfg.space), list(cfg.fixed)
    training = composed(fixed)
    objective, environments = training.evaluation.objective, slot_environments(training.trainer, cfg.jobs)
    shared = [*fixed, *group_in_wandb(training, cfg.study)]
    with explained_storage(cfg.storage):
        trials = Trials(folder, cfg.study, cfg.storage, space, cfg.sampler, cfg.pruner, cfg.seed, kept, training)
        with interruptible(folder), Progress(cfg.trials, trials) as progress:
            run_trials(
                trials,
                lambda task, slot: Training(task, shared, cfg.study, objective, environments[slot]),
                cfg.trials,
                cfg.jobs,
                cfg.failures,
                progress.tell,
            )
        return summarize(folder, trials.study, fixed, objective)


if __name__ == "__main__":
    main()
