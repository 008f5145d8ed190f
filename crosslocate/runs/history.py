"""The history of a training, ``history.json``: losses and recalls of every epoch."""

import json
from pathlib import Path

FORMAT = 1
FILE = "history.json"
Epoch = dict[str, float]


def read_history(folder: Path) -> list[Epoch]:
    """The epochs of a run's ``history.json``; none where there is no such file."""
    path = folder / FILE
    return list(json.loads(path.read_text())["epochs"]) if path.is_file() else []
