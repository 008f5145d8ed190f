"""Kinds of refresh on the sample: python scripts/compare_refresh.py [--seeds 0 1 2] [--cases full partial memory].

Every training is one of ``experiment=demo_depth`` with rounds of four batches, so with twenty-three refreshes an epoch.
They differ in what a refresh embeds. Trainings that are finished in ``--folder`` are not repeated, one that was stopped
goes on; arguments ``key=value`` are passed on to all of them. Prints recalls on the test strip of every seed and on
average, and the images that were embedded for mining: in all, and as a share of those of the first case. ``memory``
has four times as many candidates as ``full`` and ``partial``, so it differs from them in more than the refresh. Case
``everything``, run when it is asked for, chooses among all views, embedded at every round.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

COMMON = [
    "experiment=demo_depth", "mining.queries_per_round=256", "mining.sampled_negatives=256", "mining.negatives=1",
    "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=3", "untrained=false", "threads=1", "logger=csv",
    "~callbacks.pictures", "trainer.enable_progress_bar=false",
]  # fmt: skip
CASES = {
    "everything": ["mining/refresh=full", "mining.sampled_negatives=4320"],
    "full": ["mining/refresh=full"],
    "partial": ["mining/refresh=partial"],
    "memory": ["mining/refresh=memory", "mining.refresh.renewed=128", "mining.sampled_negatives=1024"],
}
"""``full`` and ``partial`` choose among the same candidates, ``everything`` among all views; ``memory`` looks at four
times as many as those, and embeds half."""
NUMBERS, DISTANCE = (1, 5, 10), 20.0
NAMES = [f"recall@{number}" for number in NUMBERS]


def train(folder: Path, arguments: list[str]) -> None:
    """Train in a folder, unless that is done."""
    if (folder / "results.json").is_file():
        return
    begin = time.perf_counter()
    command = [sys.executable, "-m", "crosslocate.train", *arguments, f"hydra.run.dir={folder}"]
    if (folder / "checkpoints" / "last.ckpt").is_file():
        command = [sys.executable, "-m", "crosslocate.train", f"resume={folder}"]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("a") as output:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, stdout=output, stderr=subprocess.STDOUT, env=environment)
    print(f"{folder.name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)


def outcome(folder: Path) -> dict[str, float]:
    """Recalls on the test strip in percent, and what mining has cost."""
    from crosslocate.lit.csv import read_log

    results = json.loads((folder / "results.json").read_text())
    counted = results["evaluations"]["test"]["trained"]["recalls"]
    found = {
        f"recall@{entry['number']}": 100.0 * entry["recall"]
        for entry in counted
        if entry["number"] in NUMBERS and entry["distance_m"] == DISTANCE and entry["heading_deg"] is None
    }
    rounds = [row for row in read_log(folder / "metrics") if "mining/extracted" in row]
    return found | {
        "images": sum(float(row["mining/extracted"]) for row in rounds),
        "seconds": sum(float(row["mining/extraction_seconds"]) for row in rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cases", choices=CASES, nargs="+", default=["full", "partial", "memory"])
    parser.add_argument("--folder", type=Path, default=Path("outputs/compare_refresh"))
    options, more = parser.parse_known_args()
    folder = options.folder.resolve()
    found: dict[str, list[dict[str, float]]] = {case: [] for case in options.cases}
    for seed in options.seeds:
        for case in options.cases:
            run = folder / f"{case}_{seed}"
            train(run, [*COMMON, *CASES[case], f"seed={seed}", *more])
            found[case].append(outcome(run))
    (folder / "results.json").write_text(json.dumps(found, indent=1))
    show(found, more)


def sampled(case: str, more: list[str]) -> str:
    """Candidates of a round: what the last of the arguments says."""
    key = "mining.sampled_negatives="
    return next(a for a in reversed([*COMMON, *CASES[case], *more]) if a.startswith(key)).removeprefix(key)


def show(found: dict[str, list[dict[str, float]]], more: list[str]) -> None:
    """Print the table, and what its cases do not have in common beside the refresh."""
    print("mining.sampled_negatives: " + ", ".join(f"{case} {sampled(case, more)}" for case in found))
    if "memory" in found and "everything" not in found:
        print("So memory differs by its candidates too; --cases everything embeds all views at every round.")
    print()
    print("| refresh | recall@1 | recall@5 | recall@10 | mean | images embedded for mining | share | seconds |")
    print("|---|---|---|---|---|---:|---:|---:|")
    first = next(iter(found.values()))
    for case, runs in found.items():
        columns = [", ".join(f"{run[name]:.1f}" for run in runs) for name in NAMES]
        means = ", ".join(f"{np.mean([run[name] for run in runs]):.1f}" for name in NAMES)
        images = np.mean([run["images"] for run in runs])
        share = images / np.mean([run["images"] for run in first])
        seconds = np.mean([run["seconds"] for run in runs])
        print(f"| {case} | {' | '.join(columns)} | {means} | {images:,.0f} | {share:.1%} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
