"""Kills builds of an index, and continues them: python scripts/stress_extraction.py [--kills 10] [--processes 1].

An index of small views is first built undisturbed. Then the same build is ended by SIGKILL, SIGTERM and SIGINT, at
random moments of its start and at random amounts of descriptors, and begun again each time. Of several processes, a
SIGKILL meets the first or one of the others. After every kill the exit status must be the signal's, no process may be
left, and every row that is covered must be that of the undisturbed build and fit its checksum; in the end all bytes of
the store must be the same. Prints a line a kill, and ends with status 1 if anything was not so. Linux only; needs a
checkout, whose tests draw the views.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from crosslocate.errors import StoreError
from crosslocate.retrieval.store import COVERED, DescriptorStore

CHECKOUT = Path(__file__).resolve().parents[1]
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGKILL")
STARTING = 0.2
"""Share of the kills that come at a random moment of the start."""
SECONDS_OF_START = 6.0
LIMIT = 600.0
"""Seconds after which a build is taken to hang."""
DIED_STARTING = {"SIGTERM": (-15, 143), "SIGINT": (-2, 1, 130), "SIGKILL": (-9,)}
"""Statuses of a process that a signal meets before it listens."""


@dataclass
class Builds:
    """Builds of one index, one after the other.

    Args:
        folder: For views, checkpoint, index and log.
        processes: ``devices`` of the build.
        faults: What was not as it should be.
    """

    folder: Path
    processes: int
    faults: list[str] = field(default_factory=list)

    def start(self, index: Path) -> subprocess.Popen[bytes]:
        """Start, or continue, a build."""
        command = [
            sys.executable, "-m", "crosslocate.index", f"checkpoint={self.folder / 'best.ckpt'}", f"output={index}",
            f"paths.cache={self.folder / 'cache'}", f"paths.outputs={self.folder / 'outputs'}", "batch_size=7",
            "workers=1", "device=cpu", f"devices={self.processes}", "threads=1",
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT)}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def finish(self, index: Path) -> float:
        """Build to the end; seconds that it took."""
        begin = time.monotonic()
        if (status := self.start(index).wait(LIMIT)) != 0:
            raise SystemExit(f"a build that nobody disturbed ended with status {status}: see {self.folder / 'log'}")
        return time.monotonic() - begin


def covered(index: Path) -> int:
    """Rows that an index has by now."""
    path = index / "descriptors" / "coverage.bin"
    return path.read_bytes().count(COVERED) if path.is_file() else 0


def members(session: int) -> list[int]:
    """Processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def victim(build: subprocess.Popen[bytes], name: str, draw: random.Random, processes: int) -> int:
    """Who gets a signal: the first process, or for a SIGKILL perhaps one that embeds or reads images."""
    children = [pid for pid in members(build.pid) if pid != build.pid and "spawn_main(" in _command(pid)]
    if name != "SIGKILL" or processes == 1 or not children or draw.random() < 0.5:
        return build.pid
    return draw.choice(sorted(children))


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def kill(builds: Builds, index: Path, name: str, draw: random.Random, rows: int) -> str:
    """Start a build and end it; says how that went."""
    build, begin = builds.start(index), time.monotonic()
    starting, before = draw.random() < STARTING, covered(index)
    moment = draw.uniform(0, SECONDS_OF_START)
    target = draw.randint(before + 1, before + 1 + (rows - before) // 3)
    while build.poll() is None and time.monotonic() - begin < LIMIT:
        if time.monotonic() - begin > moment if starting else covered(index) >= target:
            break
        time.sleep(0.001)
    alone = build.poll() is not None
    pid = victim(build, name, draw, builds.processes)
    if not alone:
        os.kill(pid, signal.Signals[name])
    status = build.wait(LIMIT)
    where = "at the start" if starting else f"from {before} to {covered(index)} of {rows} rows"
    text = f"{name} to {'the build' if pid == build.pid else 'one of its processes'} {where}: status {status}"
    text = f"too late for {text}" if alone else text
    if status not in _allowed(name, alone=alone, starting=starting, first=pid == build.pid):
        builds.faults.append(text)
    end = time.monotonic() + 20  # processes that read images look for their parent every few seconds
    while (left := members(build.pid)) and time.monotonic() < end:
        time.sleep(0.1)
    if left:
        builds.faults.append(f"{text}: processes {left} are left")
    return text


def _allowed(name: str, *, alone: bool, starting: bool, first: bool) -> tuple[int, ...]:
    """Statuses that a build may end with; 0 where the signal came in its last moments."""
    if alone:
        return (0,)
    if not first:
        return (0, 1)
    return (0, *DIED_STARTING[name]) if starting or name == "SIGKILL" else (0, 128 + signal.Signals[name])


def compare(builds: Builds, index: Path, reference: DescriptorStore) -> None:
    """Note what a store that was left has otherwise than the undisturbed one."""
    path = index / "descriptors"
    if not path.exists():
        return
    try:
        store = DescriptorStore.open(path, verify=True)
    except StoreError as error:
        builds.faults.append(str(error))
        return
    rows = np.flatnonzero(store.covered)
    if not np.array_equal(store.descriptors[rows], reference.descriptors[rows]):
        builds.faults.append(f"{path}: covered rows are not those of the undisturbed build")


def stress(folder: Path, kills: int, seed: int, processes: int, places: int) -> list[str]:
    """Kill builds of one index, then let it finish; gives what was not as it should be."""
    sys.path[:0] = [str(CHECKOUT / "tests"), str(CHECKOUT / "tests" / "localization")]
    import tiny_scenes  # type: ignore[import-not-found]
    from tiny_checkpoint import DEPTH_TO_DEPTH, save_checkpoint  # type: ignore[import-not-found]

    tiny_scenes.PLACES = {"train": places, "val": 1, "test": 1}
    save_checkpoint(folder / "best.ckpt", tiny_scenes.build_dataset(folder / "views"), DEPTH_TO_DEPTH)
    builds, draw = Builds(folder, processes), random.Random(seed)
    seconds = builds.finish(folder / "whole")
    reference = DescriptorStore.open(folder / "whole" / "descriptors", verify=True)
    print(f"{len(reference)} views, undisturbed in {seconds:.1f} s", flush=True)
    signals = [SIGNALS[k % len(SIGNALS)] for k in range(kills)]
    draw.shuffle(signals)
    index, round_ = folder / "killed_0", 0
    for name in signals:
        print(kill(builds, index, name, draw, len(reference)), flush=True)
        compare(builds, index, reference)
        if covered(index) == len(reference):
            round_ += 1
            index = folder / f"killed_{round_}"
    builds.finish(index)
    for name in ("header.json", "descriptors.bin", "checksums.bin", "coverage.bin"):
        whole = folder / "whole" / "descriptors" / name
        for killed in folder.glob("killed_*"):
            if (killed / "descriptors" / name).read_bytes() != whole.read_bytes():
                builds.faults.append(f"{killed}: {name} is not that of the undisturbed build")
    return builds.faults


def main() -> None:
    """Read the command line, kill, and report."""
    parser = argparse.ArgumentParser(description="Kill builds of an index; they must end with the same bytes.")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--places", type=int, default=100, help="of twelve views each")
    parser.add_argument("--folder", type=Path, help="kept; a temporary one by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        faults = stress(folder, arguments.kills, arguments.seed, arguments.processes, arguments.places)
    print("\n".join(["faults:", *faults]) if faults else f"{arguments.kills} kills, the same bytes, no faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
