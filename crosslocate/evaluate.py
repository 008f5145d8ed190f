"""Recalls of a trained retriever: python -m crosslocate.evaluate checkpoint=<folder of a run, or checkpoint file>."""

from typing import TYPE_CHECKING

from crosslocate.config.app import entry_point
from crosslocate.config.validate import validate_evaluate

if TYPE_CHECKING:
    from omegaconf import DictConfig


@entry_point("evaluate", validate_evaluate)
def main(cfg: "DictConfig") -> float:
    """Measure the splits asked for; returns the first recall of the first of them."""
    from pathlib import Path

    from crosslocate.threads import keep_freed_memory, limit_threads

    limit_threads(cfg.threads)
    keep_freed_memory()

    from crosslocate.lit import assembly, restore
    from crosslocate.lit.evaluation import evaluate
    from crosslocate.lit.report import write_report
    from crosslocate.lit.resume import changed
    from crosslocate.retrieval.results import metric_name, metrics

    file = restore.checkpoint_file(cfg.checkpoint)
    content = restore.read_checkpoint(file)
    run = changed(restore.saved_config(content, cfg.paths), list(cfg.overrides))
    datamodule, module = restore.restored_parts(run, content, file)
    evaluation, trainer = run.evaluation, cfg.trainer.copy()
    evaluation.objective = f"val/{metric_name(evaluation.numbers[0], evaluation.distances[0], None)}"
    trainer.precision = cfg.precision or run.trainer.precision
    recall = assembly.build_recall(run)
    evaluator = assembly.build_evaluator(trainer, cfg.paths.run, recall)
    results = evaluate(evaluator, module, datamodule, list(cfg.splits))
    if evaluator.is_global_zero:
        evaluations = {split: {"trained": result} for split, result in results.items()}
        write_report(Path(cfg.paths.run), evaluations, {"checkpoint": str(file)})
    first = cfg.splits[0]
    return metrics(results[first])[recall.objective.replace("val/", f"{first}/", 1)]


if __name__ == "__main__":
    main()
