"""Approximate indexes by faiss: made, filled, written, opened and asked. Must not be called in forked worker processes.

Opened read-only, the inverted lists of IVF indexes and the codes of flat and scalar-quantized ones stay in the file and
are mapped (`IO_FLAG_MMAP_IFC`); the links of HNSW, and coarse centroids, are read into memory.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import faiss as untyped
import numpy as np
from numpy.typing import NDArray

from crosslocate.console import track
from crosslocate.errors import ConfigError
from crosslocate.retrieval.blocks import blocks

faiss: Any = untyped  # its stubs lack half of what it has
VERSION: str = faiss.__version__
CLUSTER_ROUNDS = 10
"""Rounds of k-means; more of them change the share of neighbours found by less than a tenth of a percent."""
CODE_POINTS = 64
"""Training rows per centroid of a product quantizer."""
FILLED_ROWS = 65536
"""Rows that are added at a time."""
MOST_IN_SIGHT = 8192
"""Nodes of a graph that are kept in sight for a selection; smaller ones are searched exactly."""
_MAPPED = faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Limit faiss to some threads within; None leaves them."""
    before = faiss.omp_get_max_threads()
    if count is not None:
        faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def empty_index(factory: str, construction: str, size: int, seed: int) -> Any:
    """An untrained index.

    Args:
        factory: faiss' factory string, complete.
        construction: Parameters that count when it is built, such as ``efConstruction=200``; may be empty.
        size: Numbers in a descriptor.
        seed: Of every clustering.

    Raises:
        ConfigError: faiss cannot make one of these.
    """
    try:
        index = faiss.index_factory(size, factory)
    except RuntimeError as error:
        allowed = f"a factory string of faiss that fits descriptors of {size} numbers ({_reason(error)})"
        raise ConfigError("search.factory", factory, allowed) from None
    set_parameters(index, construction, "search.construction")
    for part in _parts(index):
        for clustering in _clusterings(part):
            clustering.seed, clustering.niter = seed, CLUSTER_ROUNDS
        if hasattr(part, "pq"):
            part.pq.cp.max_points_per_centroid = CODE_POINTS * (16 if part.pq.nbits < 8 else 1)
        if isinstance(part, faiss.IndexIVFPQ):
            part.use_precomputed_table = -1  # it takes more memory than the index
            part.do_polysemous_training = False  # takes minutes, and this search does not use it
    return index


def set_parameters(index: Any, parameters: str, key: str) -> None:
    """Set parameters such as ``nprobe=64,quantizer_efSearch=32``; none where the text is empty.

    Raises:
        ConfigError: The index has no such parameter; names ``key``.
    """
    if not parameters:
        return
    try:
        faiss.ParameterSpace().set_index_parameters(index, parameters)
    except RuntimeError as error:
        allowed = f"parameters that this index has, such as nprobe=64 or efSearch=128 ({_reason(error)})"
        raise ConfigError(key, parameters, allowed) from None


def check(factory: str, construction: str, parameters: str, size: int) -> None:
    """Try what an index is made and searched with, without making it.

    Raises:
        ConfigError: faiss cannot make one of these, or it has no such parameters.
    """
    set_parameters(empty_index(factory, construction, size, 0), parameters, "search.parameters")


def train(index: Any, rows: NDArray[np.float32], factory: str) -> None:
    """Train on some rows [t, D] of the database.

    Raises:
        ConfigError: They are too few for this factory.
    """
    try:
        index.train(rows)
    except RuntimeError as error:
        allowed = f"a factory that {len(rows)} training rows suffice for ({_reason(error)})"
        raise ConfigError("search.factory", factory, allowed) from None


def fill(index: Any, database: NDArray[np.floating]) -> None:
    """Add all rows, in order and in blocks."""
    total = -(-len(database) // FILLED_ROWS)
    found = track(blocks(database, FILLED_ROWS), "Filling the index", total, visible=total > 1)
    for _, part in found:
        index.add(np.ascontiguousarray(part, np.float32))


def write(index: Any, file: IO[bytes]) -> None:
    """Write an index to an open file.

    Raises:
        OSError: Of the file.
    """
    failed: list[OSError] = []

    def put(data: bytes) -> int:
        try:
            return file.write(data)
        except OSError as error:  # faiss would lose its kind
            failed.append(error)
            return 0

    try:
        faiss.write_index(index, faiss.PyCallbackIOWriter(put))
    except RuntimeError:
        if failed:
            raise failed[0] from None
        raise
    if failed:
        raise failed[0]


def read(path: Path) -> Any:
    """Open an index for searching, mapped as far as its kind allows.

    Raises:
        ValueError: It is no index, or cut short.
    """
    try:
        return faiss.read_index(str(path), _MAPPED)
    except (RuntimeError, MemoryError) as error:
        raise ValueError(f"faiss cannot read it: {_reason(error)}") from None


def read_trained(path: Path) -> Any:
    """Open an index that is to be filled.

    Raises:
        ValueError: It is no index, cut short, or not an empty trained one.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE)
    except (RuntimeError, MemoryError) as error:
        raise ValueError(f"faiss cannot read it: {_reason(error)}") from None
    if not index.is_trained or index.ntotal:
        raise ValueError("it is not trained, or not empty")
    return index


def candidates(
    index: Any, queries: NDArray[np.float32], count: int, among: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Squared distances and rows [q, count] that the index finds; -1 where it finds no more.

    With a selection, lists are probed, and nodes of a graph kept in sight, in inverse proportion to the share that it
    leaves, so that as many rows are looked at.
    """
    if among is None:
        squared, rows = index.search(queries, count)
        return squared, rows
    bits = np.packbits(among, bitorder="little")
    selector = faiss.IDSelectorBitmap(bits)
    share = float(among.mean())
    squared, rows = index.search(queries, count, params=_selecting(index, selector, count, share))
    return squared, rows


def can_select(index: Any, count: int, share: float) -> bool:
    """Whether an index can be asked for ``count`` of a selected share of its rows, for less than an exact search."""
    last = _parts(index)[-1]
    if isinstance(last, faiss.IndexHNSW):
        return _in_sight(last, count, share) <= MOST_IN_SIGHT
    return isinstance(last, faiss.IndexIVF)


def _selecting(index: Any, selector: Any, count: int, share: float) -> Any:
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=_selecting(index.index, selector, count, share))
    if isinstance(index, faiss.IndexIVF):
        probes = min(index.nlist, int(np.ceil(index.nprobe / share)))
        return faiss.SearchParametersIVF(sel=selector, nprobe=probes)
    return faiss.SearchParametersHNSW(sel=selector, efSearch=_in_sight(index, count, share))


def _in_sight(index: Any, count: int, share: float) -> int:
    """``efSearch`` of a graph for a selection: as many rows of it are in sight as without one."""
    return int(np.ceil(max(index.hnsw.efSearch, count) / share))


def _parts(index: Any) -> list[Any]:
    """An index and what is nested in it, outermost first."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return [index, *_parts(index.index)]
    return [index]


def _clusterings(part: Any) -> Iterator[Any]:
    if hasattr(part, "cp"):
        yield part.cp
    if hasattr(part, "pq"):
        yield part.pq.cp


def _reason(error: BaseException) -> str:
    """What faiss says, without the place in its source."""
    said = re.sub(r"^Error in .* at \S+:\d+: ", "", str(error).strip())
    return said.rpartition("Error: ")[2] or type(error).__name__
