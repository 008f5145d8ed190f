"""The whole road once: render the sample, train photo -> depth, evaluate, and locate a photograph.

Run by ``make demo``. Prints the seconds of each phase, the recalls beside chance and the untrained network, and where
the pictures are.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

PHOTO = "p0534_q07"
"""The photograph of the test strip that is located: one of the tenth or so that most trainings get right."""


def free_threads(limit: int, seconds: float = 1.0) -> int:
    """Cores that are idle now, at least one, at most ``limit``: more threads than idle cores would stall each other."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return limit

    def idle() -> float:
        return int(stat.read_text().split()[4]) / os.sysconf("SC_CLK_TCK")

    before = idle()
    time.sleep(seconds)
    return max(1, min(limit, round((idle() - before) / seconds)))


def run(name: str, module: str, *arguments: str) -> float:
    """Run an entry point; gives its seconds, or ends the demo with its exit status."""
    print(f"\n=== {name}: python -m {module} {' '.join(arguments)}", flush=True)
    begin = time.perf_counter()
    status = subprocess.call([sys.executable, "-m", module, *arguments])
    if status:
        sys.exit(status)
    return time.perf_counter() - begin


def percent(results: dict, number: int, heading: float | None) -> str:
    """Recall@number within the smallest distance: trained, untrained and chance, in percent."""
    trained, untrained = (
        next(r for r in results[name]["recalls"] if (r["number"], r["heading_deg"]) == (number, heading))
        for name in ("trained", "untrained")
    )
    values = (trained["recall"], untrained["recall"], trained["chance"])
    return "".join(f"{100 * value:>11.1f}" for value in values)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="threads of the training at most")
    parser.add_argument("--folder", type=Path, default=Path("outputs/demo"), help="where the runs go")
    parser.add_argument("overrides", nargs="*", help="further overrides of the training")
    arguments = parser.parse_args()
    folder = arguments.folder
    training, answer = folder / "train", folder / "localize"
    shutil.rmtree(training, ignore_errors=True)  # a new demo, not the old one continued
    seconds = {"render": run("render", "crosslocate.render", f"hydra.run.dir={folder / 'render'}")}
    threads = free_threads(arguments.threads)
    seconds["train and evaluate"] = run(
        "train and evaluate", "crosslocate.train", "experiment=demo", f"threads={threads}", f"hydra.run.dir={training}",
        *arguments.overrides,
    )  # fmt: skip
    seconds["localize"] = run(
        "localize", "crosslocate.localize", f"photo={PHOTO}", f"checkpoint={training}", "split=test",
        f"threads={threads}", f"hydra.run.dir={answer}",
    )  # fmt: skip
    results = json.loads((training / "results.json").read_text())["evaluations"]["test"]
    print("\nTest strip, recall in % within 20 m   trained  untrained     chance")
    for heading, label in ((None, "any heading"), (results["trained"]["heading_deg"], "heading within 30 deg")):
        for number in (1, 5, 10):
            print(f"  recall@{number:<3} {label:<23}{percent(results, number, heading)}")
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("\n" + ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items()), end="")
    print(f"; together {sum(seconds.values()):.0f} s with {threads} thread(s)")
    print(f"CPU {usage.ru_utime + usage.ru_stime:.0f} s, largest process {usage.ru_maxrss / 2**20:.2f} GiB")
    print(f"\nLook at  {answer / 'answer.png'}\n         {training / 'plots'}/")


if __name__ == "__main__":
    main()
