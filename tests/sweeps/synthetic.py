"""Folders of runs as training leaves them, with figures that a test chooses."""

import json
from pathlib import Path


def recall(number: int, distance: float, value: float, heading: float | None = None) -> dict:
    return {"number": number, "distance_m": distance, "heading_deg": heading, "recall": value, "chance": 0.01}


def write_run(folder: Path, overrides: dict[str, object], value: float = 0.0, **changes) -> Path:
    """A run of ``overrides`` whose recall@1 at 20 m is ``value`` on val and half of that on test.

    Args:
        folder: Of the run.
        overrides: By key; keys without a dot are options of groups, but for the seed.
        value: From 0 to 1.
        changes: Entries of the record that replace the usual ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{key}={content}" for key, content in overrides.items()]
    record = {
        "format": 1, "name": "run", "status": "finished", "reason": None,
        "objective": {"name": "val/recall@1_20m", "value": value}, "argv": [], "overrides": lines,
        "choices": {key: content for key, content in overrides.items() if "." not in key and key != "seed"},
        "sweep": None, "seed": overrides.get("seed", 0), "fingerprints": {"config": repr(lines), "data": "d"},
        "sessions": [{"began": "2026-01-01T00:00:00+00:00"}], "config": {"seed": overrides.get("seed", 0)},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps({**record, **changes}))
    evaluations = {
        split: {
            "trained": {"split": split, "median_error_m": 1000.0 * (1 - found), "recalls": [recall(1, 20.0, found)]}
        }
        for split, found in (("val", value), ("test", value / 2))
    }
    (folder / "results.json").write_text(json.dumps({"evaluations": evaluations}))
    return folder


def write_sweep(folder: Path, jobs: list[dict[str, object]], places: list[str] | None = None) -> Path:
    """The record of a sweep; ``places`` are the jobs' folders, by default named after their numbers and not noted."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [[f"{key}={value}" for key, value in job.items()] for job in jobs]
    content = {
        "format": 1, "name": folder.name, "created": "2026-01-01T00:00:00+00:00", "cwd": "/", "argv": ["train.py"],
        "overrides": [],
        "jobs": [{"number": n, "overrides": o, "fingerprint": repr(o)} for n, o in enumerate(lines)],
    }  # fmt: skip
    for job, place in zip(content["jobs"], places or [], strict=False):
        job["folder"] = place
    (folder / "sweep.json").write_text(json.dumps(content))
    return folder
