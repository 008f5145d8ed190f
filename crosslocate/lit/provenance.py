"""What loggers are told about where a run comes from: out of its record, ``run.json``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crosslocate.runs.record import read_record

TAGS = ("modality", "backbone", "dataset")
"""Groups whose chosen options become tags."""
KEPT = ("source", "fingerprints", "versions", "machine", "slurm", "sweep", "overrides", "argv")
"""Entries of the record that say where a run comes from."""


def record_of(folder: str | Path) -> dict[str, Any]:
    """The record of the run in a folder; empty where there is none."""
    return read_record(folder) or {}


def choice_tags(record: Mapping[str, Any]) -> list[str]:
    """What a run is about: the options of its main groups."""
    choices = record.get("choices") or {}
    return list(dict.fromkeys(str(choices[group]) for group in TAGS if choices.get(group)))


def sweep_name(record: Mapping[str, Any]) -> str | None:
    """The sweep that a run belongs to."""
    name = (record.get("sweep") or {}).get("name")
    return None if name is None else str(name)


def provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    """Commit, fingerprints, versions, machine, and where the run stands in its sweep and its queue."""
    return {key: record[key] for key in KEPT if record.get(key)}
