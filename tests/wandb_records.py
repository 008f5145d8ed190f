"""Reads an offline wandb run back: a record log in LevelDB's format holding protobuf messages."""

import json
import struct
import time
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7
FULL, FIRST, LAST = 1, 2, 4
MAGIC = b":W&B"
PATIENCE = 100
"""Attempts to find the end of a run."""


def log_records(path: Path):
    """The payloads of the log, put together from their fragments."""
    data = path.read_bytes()
    assert data[:4] == MAGIC, data[:8]
    position, parts = 7, []
    while position + HEADER <= len(data):
        if BLOCK - position % BLOCK < HEADER:  # the rest of a block is padding
            position += BLOCK - position % BLOCK
            continue
        _checksum, length, kind = struct.unpack_from("<IHB", data, position)
        payload = data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        parts = [payload] if kind in (FULL, FIRST) else [*parts, payload]
        if kind in (FULL, LAST):
            yield b"".join(parts)


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """Every offline run below ``folder``, the oldest first; see `read_run`."""
    return [_read_finished(path) for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))]


def read_run(folder: Path) -> dict[str, Any]:
    """The only offline run below ``folder``.

    Its name, id, group, tags and job type; configuration; history; definitions of metrics by name or pattern; summary;
    artifacts with their files; whether it was preempted, and its exit code, None while it is open.
    """
    (run,) = read_runs(folder)
    return run


def _read_finished(path: Path) -> dict[str, Any]:
    """A run that was finished a moment ago is still being written by wandb's service."""
    for _ in range(PATIENCE):
        run = _read(path)
        if run["exit_code"] is not None:
            break
        time.sleep(0.05)
    return run


def _read(path: Path) -> dict[str, Any]:
    from wandb.proto import wandb_internal_pb2 as messages

    run: dict[str, Any] = {
        "config": {}, "history": [], "summary": {}, "metrics": {}, "artifacts": [], "preempted": False,
        "exit_code": None,
    }  # fmt: skip
    for payload in log_records(path):
        record = messages.Record()
        record.ParseFromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.update(name=record.run.display_name, id=record.run.run_id, group=record.run.run_group)
            run.update(tags=list(record.run.tags), job_type=record.run.job_type, project=record.run.project)
            run["config"] |= values(record.run.config.update)
        elif kind == "config":
            run["config"] |= values(record.config.update)
        elif kind == "history":
            run["history"].append(values(record.history.item))
        elif kind == "summary":
            run["summary"] |= values(record.summary.update)
        elif kind == "metric":
            run["metrics"][record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif kind == "preempting":
            run["preempted"] = True
        elif kind == "request" and record.request.WhichOneof("request_type") == "log_artifact":
            run["artifacts"].append(_artifact(record.request.log_artifact.artifact))
        elif kind == "artifact":
            run["artifacts"].append(_artifact(record.artifact))
        elif kind == "exit":
            run["exit_code"] = record.exit.exit_code
    return run


def _artifact(record) -> dict[str, Any]:
    files = {entry.path: entry.local_path for entry in record.manifest.contents}
    return {"name": record.name, "type": record.type, "aliases": list(record.aliases), "files": files}


def values(items) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
