"""Reading data sets that may be broken, as far as they can be read, for `crosslocate.formats.problems`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crosslocate.data.catalog import read_catalog
from crosslocate.data.catalog_paths import check_template, columns_of, files
from crosslocate.data.live import is_live, require_live
from crosslocate.data.schema import SCHEMA, read_header
from crosslocate.errors import DataError
from crosslocate.formats.companions import name_images
from crosslocate.formats.conversion import within_half_turns
from crosslocate.formats.matlab import read_matlab
from crosslocate.formats.meta import NUMBERS, ROLES, TEXTS, MetaImages
from crosslocate.formats.parts import FILES, guess_modality
from crosslocate.formats.problems import RANGES, Problem, Records
from crosslocate.formats.reference_set import SPLITS, ReferenceSet
from crosslocate.formats.sources import catalog_root, named_set, split_folders

if TYPE_CHECKING:
    from crosslocate.formats.pickles import Mapping as MetaFile

FIELDS = {
    "WGS": ("longitude", "latitude"),
    "UTM": ("easting", "northing"),
    "Elevations": ("elevation",),
    "CameraParams": ("yaw", "pitch", "roll", "horizontal_fov"),
}
"""Columns of the fields of a meta structure."""


def inspect(cfg: Any) -> Iterator[Records]:
    """What the configuration names, role by role; nothing about its content raises."""
    named = named_set(cfg)
    if cfg.meta is not None:
        folders = {role: cfg[role]["folder"] for role in FILES}
        yield from _meta(Path(cfg.meta), cfg.utm_zone, lambda role, names: _given(cfg, role, folders[role], names))
    elif named is not None:
        for split in SPLITS if cfg.split is None else [cfg.split]:
            path = named.meta_file(split)
            if path is not None:
                yield from _meta(path, named.utm_zone, lambda role, _: _named(named, role, cfg.modalities), named.roles)
            else:
                missing = Path(named.metas) / named.root / f"{named.meta}_{split}.npy"
                yield _nothing(missing, "", "missing meta structure", f"there is no {split} set")
    else:
        root = catalog_root(cfg)
        for path in _catalogs(root, cfg.split):
            yield _catalog(path, cfg.split, cfg.modalities)


def _catalogs(root: Path, split: str | None) -> list[Path]:
    """Catalogs that should be in a folder: of all splits together, or of each or the given one."""
    if any((root / file).is_file() for file in FILES.values()):
        return [root / file for role, file in FILES.items() if (root / file).is_file() or not _is_without(root, role)]
    splits = split_folders(root) if split is None else [split]
    return [root / name / file for name in splits for file in FILES.values()] or [root / FILES["database"]]


def _is_without(root: Path, role: str) -> bool:
    """Whether the manifest of a rendered data set says that it has no images of a role."""
    try:
        counts = json.loads((root / "manifest.json").read_bytes())["counts"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return isinstance(counts, dict) and "database" in counts and role != "database" and not counts.get(role)


def _given(cfg: Any, role: str, folder: str | None, names: list[str]) -> dict[str, str]:
    if folder is None:
        return {}
    return {cfg[role]["modality"] or guess_modality(names, f"{role}.modality"): str(Path(folder).absolute())}


def _named(named: ReferenceSet, role: str, modalities: list[str] | None) -> dict[str, str]:
    """Folders of the main modality, and of others that are asked for."""
    main, folders = named.modality(role), named.image_folders(role)
    return {name: folder for name, folder in folders.items() if name == main or name in (modalities or ())}


def _meta(path: Path, utm_zone: int, folders: Any, roles: tuple[str, ...] = tuple(FILES)) -> Iterator[Records]:
    if path.suffix == ".mat":
        try:
            meta = read_matlab(path, utm_zone).meta
        except DataError as error:
            yield _nothing(path, "", "meta structure", str(error))
            return
        for role in roles:
            yield _records_of(path, role, _fields_of(getattr(meta, role)), folders, [])
        return
    from crosslocate.formats.pickles import Mapping as MetaFile

    try:
        content = MetaFile(path)
    except DataError as error:
        yield _nothing(path, "", "meta structure", str(error))
        return
    for prefix, role in ROLES.items():
        if role in roles:
            fields, found = _fields(content, prefix, role)
            yield _records_of(path, role, fields, folders, found)


def _fields(content: "MetaFile", prefix: str, role: str) -> tuple[dict[str, Any], list[Problem]]:
    """Fields that can be read, by their name without prefix, and the problems of the others."""
    fields: dict[str, Any] = {}
    found = []
    for key in (*TEXTS, *NUMBERS):
        try:
            name = prefix + key
            fields[key] = content.texts(name) if key in TEXTS else content.numbers(name, NUMBERS[key][1])
        except DataError as error:
            found.append(Problem(content.path, role, None, "field", str(error)))
    return fields, found


def _fields_of(images: MetaImages) -> dict[str, Any]:
    numbers = {key: getattr(images, attribute) for key, (attribute, _) in NUMBERS.items()}
    return {key: getattr(images, attribute) for key, attribute in TEXTS.items()} | numbers


def _records_of(path: Path, role: str, fields: Mapping[str, Any], folders: Any, found: list[Problem]) -> Records:
    names = fields.get("ImageFns", [])
    columns = {
        column: np.asarray(fields[key]).reshape(len(fields[key]), len(group))[:, i]
        for key, group in FIELDS.items()
        if key in fields
        for i, column in enumerate(group)
    }
    if "pitch" in columns:
        columns["pitch"] = within_half_turns(columns["pitch"])
    images: dict[str, tuple[str, Sequence[str]]] = {}
    try:
        if names and (places := folders(role, names)):
            naming = name_images(names, next(iter(places)), places)
            images = {modality: (template, naming.names) for modality, template in naming.images.items()}
    except DataError as error:
        found.append(Problem(path, role, None, "missing folder", str(error)))
    return Records(path, role, names, columns, {key: len(values) for key, values in fields.items()}, images, found)


def _catalog(path: Path, split: str | None, modalities: list[str] | None) -> Records:
    role = next(role for role, file in FILES.items() if file == path.name)
    try:
        table = pq.read_table(path)
        header = read_header(path, table.schema)
    except (OSError, pa.ArrowException) as error:
        return _nothing(path, role, "catalog", f"cannot be read as Parquet: {error}")
    except DataError as error:
        return _nothing(path, role, "catalog", str(error))
    found = [
        Problem(path, role, None, "column", f"column {name} is missing")
        for name in SCHEMA.names
        if name not in table.column_names
    ]
    if split is not None and "split" in table.column_names:
        table = table.filter(pa.compute.equal(table["split"].cast(pa.string()), split))
    columns = {}
    for name in RANGES:
        if name in table.column_names:
            try:
                columns[name] = table[name].cast(pa.float64()).to_numpy()
            except pa.ArrowException as error:
                found.append(Problem(path, role, None, "column", f"{name} holds no numbers: {error}"))
    names = _strings(path, role, table, found)
    images = {}
    for modality, template in header["images"].items():
        if modalities is None or modality in modalities:
            try:
                if is_live(template):  # no file is missing where none should be
                    require_live(read_catalog(path), modality)
                else:
                    images[modality] = _files(path, modality, template, table, names)
            except DataError as error:
                kind = "live images" if is_live(template) else "path template"
                found.append(Problem(path, role, None, kind, str(error)))
    return Records(path, role, names, columns, {}, images, found)


def _files(path: Path, modality: str, template: str, table: pa.Table, names: list[str]) -> tuple[str, Sequence[str]]:
    """A path template that has nothing but names, and what to fill in: paths, where it had other columns."""
    root = path.absolute().parent
    if not columns_of(template):
        return str(root / template), names
    check_template(path, modality, template, table.schema)
    return "{name}" if template.startswith("/") else str(root / "{name}"), files(path, template, table).to_pylist()


def _strings(path: Path, role: str, table: pa.Table, found: list[Problem]) -> list[str]:
    if "name" not in table.column_names:
        return []
    names = table["name"].to_pylist()
    for row, name in enumerate(names):
        if not isinstance(name, str):
            found.append(Problem(path, role, row, "name", f"name is {name!r}; expected a string"))
            names[row] = str(name)
    return names


def _nothing(path: Path, role: str, kind: str, message: str) -> Records:
    return Records(path, role, [], {}, {}, {}, [Problem(path, role, None, kind, message)])
