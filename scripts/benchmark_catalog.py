"""Catalogs of millions of rows: python scripts/benchmark_catalog.py [--rows 10720000] [--folder DIR].

A synthetic database of the Alps (`synthetic_scale`) is written, opened and searched for missing images, and a meta
structure of its size is imported. Every measure has a process of its own; its highest memory is what the kernel counted
(VmHWM, with everything that is imported and the pages of mapped files). Prints a Markdown table. Linux only; at full
size it takes 6 GB of disk in a temporary folder.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from synthetic_scale import alpine_batches

from crosslocate.data import storage
from crosslocate.data.catalog import CatalogWriter, read_catalog
from crosslocate.data.catalog_mapped import discard_mapped
from crosslocate.data.completeness import require_images
from crosslocate.formats.companions import name_images
from crosslocate.formats.conversion import write_images
from crosslocate.formats.meta import MetaImages, MetaStructure, no_images, read_meta, write_meta
from crosslocate.formats.texts import Texts

CATALOG, META, IMPORTED = "database.parquet", "meta_test.npy", "imported/database.parquet"
IMAGES = {"depth": "database/depth/{name}.exr"}
STEPS = {
    "write": "written in batches, mapped form included",
    "first": "opened for the first time: checked, mapped form made",
    "again": "opened again",
    "used": "opened again, split and fingerprint",
    "columns": "opened again, four numeric columns read",
    "complete": "all images looked for among names that are given",
    "meta": "",
    "import": "imported from a meta structure",
    "imported": "the imported catalog opened",
}
"""Measures in their order, and what the table calls them; those without a name are preparations."""


def write(folder: Path, rows: int) -> None:
    with CatalogWriter(folder / CATALOG, "database", IMAGES) as writer:
        for batch in alpine_batches(rows):
            writer.append(batch)


def first(folder: Path, rows: int) -> None:
    assert len(read_catalog(folder / CATALOG)) == rows


def again(folder: Path, rows: int) -> None:
    assert len(read_catalog(folder / CATALOG)) == rows


def used(folder: Path, rows: int) -> None:
    split = read_catalog(folder / CATALOG).split("test")
    assert len(split) == rows
    assert len(split.fingerprint()) == 32


def columns(folder: Path, rows: int) -> None:
    catalog = read_catalog(folder / CATALOG)
    assert len(catalog) == rows
    assert all(np.isfinite(catalog.column(name).sum()) for name in ("longitude", "latitude", "yaw", "place"))


def complete(folder: Path, rows: int) -> None:
    catalog = read_catalog(folder / CATALOG)
    column = catalog.table["name"]

    def names(_: Path) -> object:
        for start in range(0, rows, 1 << 16):
            yield from (f"{name}.exr" for name in column.slice(start, 1 << 16).to_pylist())

    with patch.object(storage, "names", names):
        require_images([(catalog, ["depth"])])


def meta(folder: Path, rows: int) -> None:
    table = pa.concat_tables([pa.table(batch) for batch in alpine_batches(rows)])
    column = {name: table[name].to_numpy() for name in table.column_names if name not in ("name", "split")}
    position = np.stack([column["longitude"], column["latitude"]], 1)
    camera = np.stack([column[name] for name in ("yaw", "pitch", "roll", "horizontal_fov")], 1)
    files = pc.binary_join_element_wise(table["name"], "_depth.exr", "")
    names, places = Texts(table["name"]), Texts(table["place"].cast(pa.string()))
    metres = position * [77_800.0, 111_150.0]
    views = MetaImages(Texts(files), names, places, position, metres, column["elevation"], camera)
    write_meta(folder / META, MetaStructure(views, no_images()))


def import_(folder: Path, rows: int) -> None:
    views = read_meta(folder / META).database
    assert len(views) == rows
    naming = name_images(views.filenames, "depth", {"depth": "/views/depth"})
    write_images(folder / IMPORTED, views, "database", "test", naming, folder / META)


def imported(folder: Path, rows: int) -> None:
    assert len(read_catalog(folder / IMPORTED)) == rows


MEASURES: dict[str, Callable[[Path, int], None]] = {
    "write": write, "first": first, "again": again, "used": used, "columns": columns, "complete": complete,
    "meta": meta, "import": import_, "imported": imported,
}  # fmt: skip


def measured(step: str, folder: Path, rows: int) -> dict[str, float]:
    """Run one measure in this process."""
    if step == "first":
        discard_mapped(folder / CATALOG)
    wall, cpu = time.perf_counter(), time.process_time()
    MEASURES[step](folder, rows)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return {"wall": wall, "cpu": cpu, "memory": int(line.split()[1]) / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_720_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", choices=STEPS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        print(json.dumps(measured(args.measure, args.folder, args.rows)))
        return
    print(f"| {args.rows:,} rows | wall s | CPU s | peak memory MiB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for step, title in STEPS.items():
            command = [sys.executable, __file__, "--rows", str(args.rows), "--folder", folder, "--measure", step]
            answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ}).stdout
            found = json.loads(answer.splitlines()[-1])
            if title:
                print(f"| {title} | {found['wall']:.3g} | {found['cpu']:.3g} | {found['memory']:,.0f} |", flush=True)
        for title, file in (("Parquet file", CATALOG), ("mapped form", f".{CATALOG}.arrow"), ("meta structure", META)):
            print(f"| {title} | | | {(Path(folder) / file).stat().st_size / 2**20:,.0f} on disk |")


if __name__ == "__main__":
    main()
