"""Path templates: where the image files of a catalog's rows lie, by their names and other columns.

``depth/{shard}.tar/{name}.exr`` is filled in, row by row, with the columns ``shard`` and ``name``. A template has
``{name}``, or ``{stem}``, the name without what follows its last dot, and may have any other column of strings or
integers. Braces stand for nothing else.
"""

import os
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crosslocate.errors import DataError

FILE_ROW = "file_row"
"""Column added on reading: the row in the file, which selections (`split`, `take`) keep for messages."""
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NAMED = re.compile(r"\{(name|stem)\}")
_STEM = r"(?s)^(.+)\.[^.]*$"
_FILE = "/[^/]*$"
_ROWS = 1 << 16
"""Rows whose paths are in memory at once."""


def file_of(template: str, name: str) -> str:
    """Path of an image: a template that has no other columns with a name filled in."""
    return _NAMED.sub(lambda match: name if match[1] == "name" else name.rpartition(".")[0] or name, template)


@lru_cache(maxsize=256)
def columns_of(template: str) -> tuple[str, ...]:
    """What a template has between braces besides ``name`` and ``stem``; each once."""
    return tuple(dict.fromkeys(name for name in _PLACEHOLDER.findall(template) if name not in ("name", "stem")))


def check_template(path: Path, modality: str, template: str, schema: pa.Schema) -> None:
    """Check that a catalog has the columns of a template.

    Raises:
        DataError: When it has neither ``{name}`` nor ``{stem}``, or a column that the catalog lacks or that holds
            neither strings nor integers; names the columns that there are.
    """
    if not _NAMED.search(template):
        raise DataError(f"{path}: path template '{template}' of modality '{modality}' lacks {{name}} (or {{stem}})")
    allowed = [field.name for field in schema if _is_plain(field.type)]
    for name in columns_of(template):
        if name not in allowed:
            raise DataError(
                f"{path}: path template '{template}' of modality '{modality}' has {{{name}}}, which is no column of "
                f"strings or integers; such columns: {', '.join(allowed)}"
            )


def folder_of(template: str) -> str:
    """The part of a template that is the same for all rows: the folder before its first column."""
    return template.split("{")[0].rpartition("/")[0]


def folders(path: Path, template: str, table: pa.Table, most: int) -> list[str]:
    """The folders that the files of some rows lie in, each once, sorted; archives are folders.

    Those above them where there are more than ``most``. Rows that lack a value for the template are passed over.
    """
    needed = [name for name in ("name", *columns_of(template)) if table[name].null_count]
    for name in needed:
        table = table.filter(table[name].is_valid())
    head, _, tail = template.rpartition("/")
    if _NAMED.search(head) or _has_slashes(tail, table):
        found = _folders_of_files(path, template, table, most)
        if found is not None:
            return found
    while columns_of(head) or _NAMED.search(head):
        if not _NAMED.search(head):
            rows = table.select(columns_of(head)).group_by(columns_of(head), use_threads=False).aggregate([])
            if rows.num_rows <= most:
                return sorted(files(path, head, rows).unique().to_pylist())
        head = head.rpartition("/")[0]
    return [head]


def files(path: Path, template: str, table: pa.Table) -> pa.Array:
    """Paths of the rows of a table, as the template says them; strings [n].

    Raises:
        DataError: When a row has no value for a column of the template; names its row in the file where the table has
            `FILE_ROW`.
    """
    pieces = _PLACEHOLDER.split(template)  # fixed text and columns by turns
    if len(pieces) == 1:
        return pa.repeat(pa.scalar(template), table.num_rows)
    parts = [pa.scalar(piece) if k % 2 == 0 else _texts(table, piece) for k, piece in enumerate(pieces)]
    found = pc.binary_join_element_wise(*parts, "")
    if found.null_count:
        row = int(np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False))[0])
        number = table[FILE_ROW][row] if FILE_ROW in table.column_names else row
        raise DataError(f"{path}: path template '{template}': row {number} ({table['name'][row]}) lacks a value for it")
    return found


def joined(root: Path, template: str, table: pa.Table, path: Path) -> list[str]:
    """Paths of the rows of a table, below a root unless they are absolute."""
    head = "" if template.startswith("/") or os.fspath(root) == "." else f"{root}/"
    return [head + file for file in files(path, template, table).to_pylist()]


def rows_by_folder(path: Path, template: str, table: pa.Table) -> list[tuple[str, NDArray[np.int64], list[str]]]:
    """Folders, the rows whose files lie there, and the names of these files."""
    head, _, tail = template.rpartition("/")
    names = files(path, tail, table)
    if pc.any(pc.match_substring(names, "/")).as_py():
        return _by_any_folder(files(path, template, table).to_pylist())
    if "{" not in head:
        return [(head, np.arange(table.num_rows), names.to_pylist())] if table.num_rows else []
    folders = files(path, head, table).dictionary_encode()
    codes = folders.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return [
        (folders.dictionary[int(codes[rows[0]])].as_py(), rows, names.take(pa.array(rows)).to_pylist())
        for rows in groups
        if len(rows)
    ]


def _has_slashes(file: str, table: pa.Table) -> bool:
    """Whether the part of a template that gives files their names leads into folders in some row."""
    columns = dict.fromkeys("name" if name == "stem" else name for name in _PLACEHOLDER.findall(file))
    texts = (table[name] for name in columns if not pa.types.is_integer(table[name].type))
    return any(pc.any(pc.match_substring(column.cast(pa.string()), "/")).as_py() for column in texts)


def _folders_of_files(path: Path, template: str, table: pa.Table, most: int) -> list[str] | None:
    """Folders of rows, found file by file; None where they are more than ``most``."""
    found: set[str] = set()
    for start in range(0, table.num_rows, _ROWS):
        paths = files(path, template, table.slice(start, _ROWS))
        found.update(pc.replace_substring_regex(paths, pattern=_FILE, replacement="").unique().to_pylist())
        if len(found) > most:
            return None
    return sorted(found)


def _by_any_folder(paths: list[str]) -> list[tuple[str, NDArray[np.int64], list[str]]]:
    folders: dict[str, tuple[list[int], list[str]]] = {}
    for row, path in enumerate(paths):
        folder, _, file = path.rpartition("/")
        rows, names = folders.setdefault(folder, ([], []))
        rows.append(row)
        names.append(file)
    return [(folder, np.array(rows), names) for folder, (rows, names) in folders.items()]


def _texts(table: pa.Table, name: str) -> pa.Array:
    column = table["name" if name == "stem" else name].cast(pa.string()).combine_chunks()
    return pc.replace_substring_regex(column, pattern=_STEM, replacement=r"\1") if name == "stem" else column


def _is_plain(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))
