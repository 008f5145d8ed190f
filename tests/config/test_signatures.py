"""Arguments of configured targets: their names and types are checked before anything is built."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from crosslocate.config.signatures import check_calls, described, fits
from crosslocate.errors import ConfigError


class Base:
    pass


class Derived(Base):
    pass


class Speaks(Protocol):
    def speak(self) -> str: ...


CALLED = []


def target(
    count: int,
    share: float,
    name: str | None = None,
    size: Sequence[int] = (),
    pair: tuple[float, float] = (0.0, 0.0),
    mode: Literal["a", "b"] = "a",
    part: Base | None = None,
    speaker: Speaks | None = None,
    undeclared=None,
) -> None:
    CALLED.append(count)


def anything(**options: Any) -> None:
    CALLED.append(options)


def node(**values):
    return OmegaConf.create({"x": {"_target_": f"{__name__}.target", "count": 1, "share": 0.5, **values}})


def derived(kind):
    return {"_target_": f"{__name__}.{kind}"}


ADMITTED = [
    {"share": 1}, {"share": -0.5}, {"name": None}, {"name": "x"}, {"size": []}, {"size": [1, 2]}, {"pair": [1, 2.5]},
    {"mode": "b"}, {"part": None}, {"part": derived("Base")}, {"part": derived("Derived")},
    {"speaker": derived("Base")}, {"undeclared": [1, "a"]}, {"name": "${oc.env:HOME}"}, {"name": "${no:such}"},
    {"count": "${x.size.0}", "size": [3]},
]  # fmt: skip
REFUSED = [
    ({"count": 1.0}, "x.count", "an integer"),
    ({"count": True}, "x.count", "an integer"),
    ({"count": "1"}, "x.count", "an integer"),
    ({"count": None}, "x.count", "an integer"),
    ({"share": "half"}, "x.share", "a number"),
    ({"share": True}, "x.share", "a number"),
    ({"name": 3}, "x.name", "a text, or null"),
    ({"size": 3}, "x.size", "a list, each an integer"),
    ({"size": [1, 2.5]}, "x.size", "a list, each an integer"),
    ({"size": "12"}, "x.size", "a list"),
    ({"pair": [1]}, "x.pair", "a list of 2"),
    ({"mode": "c"}, "x.mode", "one of a, b"),
    ({"part": 3}, "x.part", "Base"),
    ({"part": {"a": 1}}, "x.part", "Base"),
    ({"part": derived("Speaks")}, "x.part", "Base"),
    ({"counts": 3}, "x.counts", "count, share, name"),
    ({"count": "${x.size}", "size": [3]}, "x.count", "an integer"),
]


@pytest.mark.parametrize("values", ADMITTED, ids=str)
def test_what_fits_is_admitted_and_nothing_is_called(values):
    check_calls(node(**values))
    assert not CALLED


@pytest.mark.parametrize(("values", "key", "allowed"), REFUSED, ids=[str(r[0]) for r in REFUSED])
def test_what_does_not_fit_is_refused_by_its_key(values, key, allowed):
    with pytest.raises(ConfigError) as caught:
        check_calls(node(**values))
    assert caught.value.key == key
    assert allowed in caught.value.allowed


def test_nodes_within_nodes_and_lists_have_their_full_key():
    cfg = OmegaConf.create({"a": [{"b": {"_target_": f"{__name__}.target", "count": "x"}}]})
    with pytest.raises(ConfigError, match=r"^a\.0\.b\.count='x'"):
        check_calls(cfg)


def test_a_node_that_another_refers_to_is_checked_once_by_its_own_name():
    cfg = OmegaConf.create({"a": "${b}", "b": {"_target_": f"{__name__}.target", "count": "x"}})
    with pytest.raises(ConfigError, match=r"^b\.count"):
        check_calls(cfg)


def test_a_target_of_any_arguments_takes_them():
    check_calls(OmegaConf.create({"x": {"_target_": f"{__name__}.anything", "whatever": 3, "_partial_": True}}))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"{__name__}.nothing", "nothing"),
        ("crosslocate.no_module.Thing", "no_module"),
        ("no_package_of_this_name.Thing", "full name"),
        ("broken_module_of_a_test.Thing", "not_installed_anywhere"),
    ],
)
def test_a_target_that_cannot_be_imported_is_refused(name, reason, tmp_path, monkeypatch):
    (tmp_path / "broken_module_of_a_test.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=reason) as caught:
        check_calls(OmegaConf.create({"x": {"_target_": name}}))
    assert caught.value.key == "x._target_"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


@given(PLAIN)
def test_simple_types_admit_what_python_would_call_so(value):
    assert fits(value, bool) == (type(value) is bool)
    assert fits(value, int) == (type(value) is int)
    assert fits(value, float) == (type(value) in (int, float))
    assert fits(value, str) == (type(value) is str)
    assert fits(value, Path) == (type(value) is str)
    assert fits(value, None) == (value is None)
    assert fits(value, Mapping[str, int]) == isinstance(value, dict)
    assert fits(value, Any)
    for inner in (int, str | None):
        assert fits(value, list[inner]) == (isinstance(value, list) and all(fits(v, inner) for v in value))
        assert fits(value, inner | bool) == (fits(value, inner) or type(value) is bool)


def test_types_in_words():
    assert described(float | None) == "a number, or null"
    assert described(Sequence[int] | str) == "a text"
    assert described(tuple[float, float]) == "a list of 2: a number; a number"
    assert described(Mapping[str, Any]) == "a mapping"
    assert described(Callable[[int], str]).startswith("a node with a _target_")
