"""Ten million views on one machine: python scripts/benchmark_scale.py --folder <scratch> [--parts exact index ...].

A catalog of the size of CrossLocate's Uniform database with places all over the Alps (`synthetic_scale`), and clustered
descriptors in half precision (`synthetic_descriptors`). Every part runs in a process of its own and prints a row of a
Markdown table: seconds of the work itself, wall and CPU, and the highest resident memory of its process, as the kernel
counts it (VmHWM): with everything that was imported, and with the pages of mapped files. What is done stays in the
folder and is not repeated; the answers of the exact search are the truth that the approximate one is measured by.
At full size the folder takes 14 GB; --clean removes it in the end. Linux only.
"""

import argparse
import json
import multiprocessing
import os
import shutil
from pathlib import Path

from scale_parts import PARTS, Case, Figures

from crosslocate.threads import SPIN_COUNT


def run(name: str, case: Case, threads: int) -> Figures:
    """Do a part, in the process that this is called in."""
    found = PARTS[name].work(case)
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return found | {"peak": int(line.split()[1]) / 1024, "threads": threads}


def in_process_of_its_own(name: str, case: Case, threads: int) -> Figures:
    """What a part found; libraries read the number of their threads from the environment when they are imported."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, (name, case, threads))


class Results:
    """Figures of the parts that are done, in a file.

    Args:
        file: JSON; taken over where it is of the same sizes.
        sizes: What the figures are of.
    """

    def __init__(self, file: Path, sizes: dict[str, int]) -> None:
        self.file, self.sizes = file, sizes
        kept = json.loads(file.read_text()) if file.is_file() else {}
        self.parts: dict[str, Figures] = kept["parts"] if kept.get("sizes") == sizes else {}

    def keep(self, name: str, figures: Figures) -> None:
        """Add one part."""
        self.parts[name] = figures
        draft = self.file.with_suffix(".part")
        draft.write_text(json.dumps({"sizes": self.sizes, "parts": self.parts}, indent=1))
        draft.replace(self.file)


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="scratch, on a disk with 14 GB free at full size")
    parser.add_argument("--views", type=int, default=10_720_000)
    parser.add_argument("--queries", type=int, default=12_353)
    parser.add_argument("--size", type=int, default=512, help="numbers in a descriptor")
    parser.add_argument("--searched", type=int, default=1_000, help="queries with descriptors")
    parser.add_argument("--search", default="ivf_pq", help="option of conf/search")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="do these alone, again if need be")
    parser.add_argument("--clean", action="store_true", help="remove what was made in the end")
    return parser.parse_args()


def main() -> None:
    """Do what is not done yet, and print the table."""
    args = arguments()
    sizes = {name: getattr(args, name) for name in ("views", "queries", "size", "searched")}
    folder = args.folder / "x".join(map(str, sizes.values()))
    folder.mkdir(parents=True, exist_ok=True)
    case, results = Case(folder, **sizes, search=args.search), Results(folder / "results.json", sizes)
    print(
        f"{args.views:,} views, {args.queries:,} queries, {args.searched:,} of them searched, {args.size} dimensions\n"
    )
    print("| work | threads | wall s | CPU s | peak MiB | |\n|---|---:|---:|---:|---:|---|")
    for name, part in PARTS.items():
        key = f"{name} {args.search}" if part.approximate else name
        if name in args.parts if args.parts else key not in results.parts:
            results.keep(key, in_process_of_its_own(name, case, 1 if part.alone else args.threads))
        if row := results.parts.get(key):
            print(
                f"| {part.title} | {row['threads']} | {row['wall']:.2f} | {row['cpu']:.2f} | {row['peak']:,.0f} "
                f"| {row['said']} |",
                flush=True,
            )
    if args.clean:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
