"""Relations on disk: the same as computed, kept by everything they depend on, and never believed when damaged."""

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

from crosslocate.data import relation_cache
from crosslocate.data.catalog import Catalog, read_catalog, write_catalog
from crosslocate.data.distance import GEODESIC, Geodesic, Utm, Vincenty
from crosslocate.data.relation_cache import RelationCache
from crosslocate.data.relations import relate
from crosslocate.errors import ConfigError

LIMITS = {"positive_distance": 20.0, "positive_heading": 15.0, "negative_distance": 500.0, "model": GEODESIC}


def catalog(folder, role, count, seed, **changed):
    rng = np.random.default_rng(seed)
    place = rng.integers(0, 15, (count, 2)) * 100.0
    columns = {
        "name": [f"{role[0]}{i}" for i in range(count)],
        "place": np.arange(count),
        "split": ["test"] * count,
        "longitude": 7 + place[:, 0] / 77_400,
        "latitude": 46 + place[:, 1] / 111_150,
        "elevation": np.zeros(count),
        "yaw": rng.uniform(0, 6, count),
        "pitch": np.zeros(count),
        "roll": np.zeros(count),
        "horizontal_fov": np.full(count, 1.0),
        "easting": 350_000 + place[:, 0],
        "northing": 5_000_000 + place[:, 1],
    }
    for name, change in changed.items():
        columns[name] = columns[name] + change
    path = folder / f"{role}.parquet"
    write_catalog(path, columns, role, {"depth": "{name}.exr"})
    return read_catalog(path)


@pytest.fixture
def catalogs(tmp_path, monkeypatch):
    monkeypatch.setattr(relation_cache, "WORTHWHILE", 1)
    return catalog(tmp_path, "queries", 40, 0), catalog(tmp_path, "database", 300, 1)


@pytest.fixture
def related(monkeypatch):
    """Counts how often relations are computed."""
    calls = []

    def counted(*args, **kwargs):
        calls.append(kwargs)
        return relate(*args, **kwargs)

    monkeypatch.setattr(relation_cache, "relate", counted)
    return calls


def parts(relations):
    return [array for csr in (relations.positives, relations.nonnegatives) for array in (csr.indptr, csr.indices)]


def assert_same(found, expected):
    for a, b in zip(parts(found), parts(expected), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.name.startswith("crosslocate") and r.levelno >= logging.WARNING]


@pytest.mark.parametrize("model", [Geodesic(), Vincenty(), Utm()], ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("heading", [15.0, None])
def test_what_is_read_is_what_was_found(tmp_path, catalogs, related, model, heading):
    limits = LIMITS | {"model": model, "positive_heading": heading}
    expected = relate(*catalogs, **limits)
    assert len(expected.positives.indices)
    for _ in range(3):
        found = RelationCache(tmp_path / "relations")(*catalogs, **limits)
        assert_same(found, expected)
        assert not any(array.flags.writeable for array in parts(found))
    assert len(related) == 1


def test_lists_without_any_row(tmp_path, catalogs, related):
    limits = LIMITS | {"positive_distance": 0.0, "positive_heading": 0.0, "negative_distance": 0.0}
    far = catalogs[0].take([0]), catalog(tmp_path, "database", 5, 2, longitude=1.0)
    for pair in (far, (catalogs[0].take([]), catalogs[1]), (catalogs[0], catalogs[1].take([]))):
        for _ in range(2):
            assert_same(RelationCache(tmp_path / "relations")(*pair, **limits), relate(*pair, **limits))


@dataclass(frozen=True)
class Halved(Geodesic):
    """A distance of one's own."""

    share: float = 0.5

    def metres(self, places, to):
        return self.share * super().metres(places, to)

    def reach(self, metres):
        return super().reach(metres / self.share)

    def bounds(self, straight):
        return tuple(self.share * bound for bound in super().bounds(straight))


def test_everything_that_decides_has_an_entry_of_its_own(tmp_path, catalogs, related):
    queries, database = catalogs
    others = [
        {"positive_distance": 150.0},
        {"positive_heading": None},
        {"positive_heading": 16.0},
        {"negative_distance": 501.0},
        {"model": Vincenty()},
        {"model": Utm()},
        {"model": Halved()},
        {"model": Halved(0.25)},
    ]
    moved = catalog(tmp_path, "database", 300, 1, easting=30.0)  # which the fingerprint of a catalog does not cover
    turned = catalog(tmp_path, "database", 300, 1, yaw=0.1)
    cases = [(queries, database, LIMITS | other) for other in [{}, *others]]
    cases += [
        (queries, turned, LIMITS),
        (queries, moved, LIMITS | {"model": Utm()}),
        (queries.take(np.arange(39)), database, LIMITS),
        (queries, database.take(np.arange(300)[::-1]), LIMITS),
    ]
    cache = RelationCache(tmp_path / "relations")
    for count, (asking, views, limits) in enumerate(cases, start=1):
        for _ in range(2):
            assert_same(cache(asking, views, **limits), relate(asking, views, **limits))
        assert len(related) == count
        assert len(list(cache.folder.iterdir())) == count


def entry(cache):
    (found,) = cache.folder.iterdir()
    return found


def flip(file, at):
    content = bytearray(file.read_bytes())
    content[at % len(content)] ^= 4
    file.write_bytes(content)


FILES = [f"{name}_{part}.npy" for name in ("positives", "nonnegatives") for part in ("indptr", "indices")]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["first", "middle", "last", "cut", "gone", "empty"])
def test_damaged_files_are_found_anew(tmp_path, catalogs, related, caplog, file, damage):
    cache = RelationCache(tmp_path / "relations")
    expected = relate(*catalogs, **LIMITS)
    cache(*catalogs, **LIMITS)
    path = entry(cache) / file
    size = path.stat().st_size
    match damage:
        case "gone":
            path.unlink()
        case "cut" | "empty":
            path.write_bytes(path.read_bytes()[: size // 2 if damage == "cut" else 0])
        case _:
            flip(path, {"first": 0, "middle": size // 2, "last": size - 1}[damage])
    assert_same(cache(*catalogs, **LIMITS), expected)
    assert len(related) == 2
    assert len(warnings_of(caplog)) == 1
    assert "found anew" in warnings_of(caplog)[0]
    assert_same(cache(*catalogs, **LIMITS), expected)
    assert len(related) == 2


def rewritten(header, damage):
    match damage:
        case "no object":
            return []
        case "no key":
            return {"crc32": header["crc32"]}
        case "other thresholds":
            return header | {"key": header["key"] | {"negative_distance": 501.0}}
        case "no sum":
            return header | {"crc32": {k: v for k, v in header["crc32"].items() if k != FILES[3]}}
    raise AssertionError(damage)


@pytest.mark.parametrize("damage", ["no object", "no key", "other thresholds", "no sum"])
def test_damaged_headers_are_not_believed(tmp_path, catalogs, related, caplog, damage):
    cache = RelationCache(tmp_path / "relations")
    cache(*catalogs, **LIMITS)
    header = entry(cache) / "header.json"
    header.write_text(json.dumps(rewritten(json.loads(header.read_text()), damage)))
    assert_same(cache(*catalogs, **LIMITS), relate(*catalogs, **LIMITS))
    assert (len(related), len(warnings_of(caplog))) == (2, 1)


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("positives_indptr.npy", np.zeros(40, np.int64)),
        ("nonnegatives_indptr.npy", lambda indptr: indptr + 1),
        ("nonnegatives_indptr.npy", lambda indptr: indptr[::-1].copy()),
        ("nonnegatives_indptr.npy", lambda indptr: indptr.astype(np.int32)),
        ("positives_indices.npy", lambda indices: indices.astype(np.int64)),
        ("positives_indices.npy", lambda indices: indices[None]),
        ("positives_indices.npy", lambda indices: indices[:-1]),
    ],
)
def test_arrays_that_are_no_lists_are_not_believed(tmp_path, catalogs, related, caplog, file, value):
    """Even with a checksum that fits."""
    cache = RelationCache(tmp_path / "relations")
    cache(*catalogs, **LIMITS)
    path, header = entry(cache) / file, entry(cache) / "header.json"
    np.save(path, value(np.load(path)) if callable(value) else value)
    content = json.loads(header.read_text())
    content["crc32"][file] = relation_cache._checksum(path)
    header.write_text(json.dumps(content))
    assert_same(cache(*catalogs, **LIMITS), relate(*catalogs, **LIMITS))
    assert len(related) == 2
    assert "no lists" in warnings_of(caplog)[0]


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path, catalogs, related, caplog):
    (tmp_path / "file").write_text("no folder")
    cache = RelationCache(tmp_path / "file" / "relations")
    for heading in (15.0, 20.0):
        limits = LIMITS | {"positive_heading": heading}
        assert_same(cache(*catalogs, **limits), relate(*catalogs, **limits))
    (warning,) = warnings_of(caplog)
    assert "dataset.relations_cache" in warning
    assert str(cache.folder) in warning


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path, catalogs, caplog, monkeypatch):
    def full(file, values, **_):
        file.write_bytes(b"some of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(relation_cache.np, "save", full)
    cache = RelationCache(tmp_path / "relations")
    assert_same(cache(*catalogs, **LIMITS), relate(*catalogs, **LIMITS))
    assert list(cache.folder.iterdir()) == []
    assert "No space left" in warnings_of(caplog)[0]


def test_many_at_once_keep_one_entry(tmp_path, catalogs, caplog):
    expected = relate(*catalogs, **LIMITS)
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(RelationCache(tmp_path / "relations"), *catalogs, **LIMITS) for _ in range(24)]
    for run in runs:
        assert_same(run.result(), expected)
    assert len(list((tmp_path / "relations").iterdir())) == 1
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("found", ["nothing", "damage"])
def test_an_entry_that_another_process_publishes_meanwhile_stays(tmp_path, catalogs, caplog, monkeypatch, found):
    folder, opened, checksum = tmp_path / "relations", relation_cache._opened, relation_cache._checksum
    RelationCache(folder)(*catalogs, **LIMITS)
    (kept,) = folder.iterdir()
    kept.rename(tmp_path / "good")
    if found == "damage":
        shutil.copytree(tmp_path / "good", kept)
        flip(kept / FILES[0], 0)

    def published():
        if (tmp_path / "good").exists():
            if kept.exists():
                kept.rename(tmp_path / "bad")
            (tmp_path / "good").rename(kept)

    def opened_before(*args):
        answer = opened(*args)
        published()
        return answer

    def summed_before(file):
        answer = checksum(file)
        published()
        return answer

    name, late = ("_opened", opened_before) if found == "nothing" else ("_checksum", summed_before)
    (tmp_path / "good/the_same").touch()
    monkeypatch.setattr(relation_cache, name, late)
    assert_same(RelationCache(folder)(*catalogs, **LIMITS), relate(*catalogs, **LIMITS))
    assert list(folder.iterdir()) == [kept]
    assert (kept / "the_same").exists()
    assert len(warnings_of(caplog)) == (found == "damage")


def test_what_is_not_kept(tmp_path, catalogs, monkeypatch):
    class Own(Geodesic):
        """No dataclass itself: nothing says what its settings are."""

    queries, database = catalogs
    monkeypatch.setattr(relation_cache, "WORTHWHILE", len(queries) * len(database) + 1)
    monkeypatch.setattr(Catalog, "fingerprint", lambda _: pytest.fail("fingerprints take longer than relations"))
    assert_same(RelationCache(tmp_path / "relations")(*catalogs, **LIMITS), relate(*catalogs, **LIMITS))
    monkeypatch.setattr(relation_cache, "WORTHWHILE", 1)
    limits = LIMITS | {"model": Own()}
    assert_same(RelationCache(tmp_path / "relations")(*catalogs, **limits), relate(*catalogs, **limits))
    assert_same(RelationCache(None)(*catalogs, **LIMITS), relate(*catalogs, **LIMITS))
    assert not (tmp_path / "relations").exists()


def test_thresholds_that_cannot_be_are_refused(tmp_path, catalogs):
    with pytest.raises(ConfigError, match=r"dataset\.positive_distance=600"):
        RelationCache(tmp_path / "relations")(*catalogs, **LIMITS | {"positive_distance": 600.0})
    assert not (tmp_path / "relations").exists()


def test_a_data_set_keeps_the_relations_of_each_split(tmp_path, make_datamodule, related, monkeypatch):
    monkeypatch.setattr(relation_cache, "WORTHWHILE", 1)
    splits = ("train", "val")
    first = [make_datamodule(relations_cache=tmp_path / "relations").split(name).relations for name in splits]
    assert len(list((tmp_path / "relations").iterdir())) == len(related) == 2
    again = [make_datamodule(relations_cache=str(tmp_path / "relations")).split(name).relations for name in splits]
    plain = [make_datamodule().split(name).relations for name in splits]
    assert len(related) == 4
    for found in (again, plain):
        for one, other in zip(found, first, strict=True):
            assert_same(one, other)
    with pytest.raises(ConfigError, match=r"dataset\.positive_distance"):
        _ = make_datamodule(relations_cache=tmp_path / "relations", positive_distance=3000.0).val.relations
