"""Fingerprints: whether two configurations, or two data sets, or two networks, must give the same run."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosslocate.data.datamodule import RetrievalDataModule

IRRELEVANT = (
    "callbacks.gradient_norms",
    "callbacks.history",
    "callbacks.hit_maps",
    "callbacks.last",
    "callbacks.learning_rate",
    "callbacks.not_finite.names",
    "callbacks.pictures",
    "callbacks.signals",
    "callbacks.stop",
    "dataset.cache",
    "dataset.relations_cache",
    "dataset.prefetch",
    "dataset.read_ahead",
    "dataset.staging",
    "dataset.workers",
    "debug",
    "evaluation.directory",
    "experiment",
    "logger",
    "name",
    "paths",
    "reproduce",
    "resume",
    "sweep",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
)
"""Keys, with all below them, that cannot change what a run finds: where it writes, what it shows, how fast it reads."""
IRRELEVANT_TO = {
    "crosslocate.retrieval.search.ExactSearcher": ("database_block", "query_block"),
    "crosslocate.retrieval.approximate.ApproximateSearcher": ("floor", "sample"),
}
"""The same by what is built: settings of one option that another may have, too, and be changed by."""
ABSENT = "(absent)"
"""Stands for a value that one of two configurations does not have."""


def config_fingerprint(cfg: Any) -> str:
    """Hash over every value of a configuration that can change what a run finds, 32 hexadecimal digits.

    It is made from the values before interpolation, so that a configuration has the same one wherever and whenever it
    is composed from the same YAML and the same command line.

    Args:
        cfg: A DictConfig, or plain values.
    """
    return _digest(dict(_leaves(plain(cfg), "")))


def config_differences(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """The values, by full key, that make the fingerprints of two configurations differ: (old, new).

    Args:
        old: A DictConfig, or plain values.
        new: The same.
    """
    first, second = dict(_leaves(plain(old), "")), dict(_leaves(plain(new), ""))
    pairs = {key: (first.get(key, ABSENT), second.get(key, ABSENT)) for key in sorted({*first, *second})}
    return {key: pair for key, pair in pairs.items() if _digest(pair[0]) != _digest(pair[1])}


def plain(cfg: Any) -> dict[str, Any]:
    """A configuration as plain values, interpolations as they were written."""
    from omegaconf import OmegaConf

    content: Any = OmegaConf.to_container(cfg, resolve=False) if OmegaConf.is_config(cfg) else cfg
    return dict(content)


def data_parts(datamodule: "RetrievalDataModule") -> dict[str, str]:
    """What a data set is made of: the fingerprint of each catalog, as ``<split>/<role>``, and of its rendering.

    The catalogs' say which images there are and where they were taken, and not what is in the image files; those of a
    rendered data set are known from its manifest.
    """
    manifest = Path(datamodule.root) / "manifest.json"
    parts = dict(datamodule.fingerprints())
    if manifest.is_file():
        parts["rendering"] = hashlib.blake2b(manifest.read_bytes(), digest_size=16).hexdigest()
    return parts


def fingerprint_of_parts(parts: Mapping[str, str]) -> str:
    """Hash over all splits of a data set, of its `data_parts`: 32 hexadecimal digits."""
    return _digest(dict(parts))


def weights_fingerprint(state: Mapping[str, Any]) -> str:
    """Hash over names, types and values of tensors, 32 hexadecimal digits.

    Args:
        state: A network's ``state_dict``.
    """
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _leaves(node: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    irrelevant = IRRELEVANT_TO.get(str(node.get("_target_")), ())
    for name, value in node.items():
        key = f"{above}{name}"
        if key in IRRELEVANT or name in irrelevant:
            continue
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
