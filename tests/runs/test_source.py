"""Which source code a run was made with."""

import subprocess

import pytest

from crosslocate.runs import source


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with a package in it that stands for this one."""
    package = tmp_path / "checkout" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("one = 1\n")
    monkeypatch.setattr(source, "PACKAGE", package)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-q", "-m", "first")
    return package.parent


def git(folder, *arguments):
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_clean_checkout_is_its_commit(checkout):
    commit = git(checkout, "rev-parse", "HEAD").strip()
    assert source.source_state() == ({"commit": commit, "dirty": False}, "")


def test_changes_are_kept_as_a_patch_and_new_files_by_name(checkout):
    (checkout / "package" / "__init__.py").write_text("one = 2\n")
    (checkout / "new.py").write_text("secret\n")
    (checkout / ".gitignore").write_text("ignored\n")
    (checkout / "ignored").write_text("")
    state, difference = source.source_state()
    assert state["dirty"]
    assert "-one = 1\n+one = 2\n" in difference
    assert "untracked: new.py\n" in difference
    assert "secret" not in difference
    assert "untracked: ignored" not in difference
    patch = difference[difference.index("diff --git") :]
    git(checkout, "checkout", "-q", ".")
    subprocess.run(["git", "apply", "-"], cwd=checkout, input=patch, text=True, check=True)
    assert (checkout / "package" / "__init__.py").read_text() == "one = 2\n"


def test_a_staged_change_counts(checkout):
    (checkout / "package" / "__init__.py").write_text("one = 3\n")
    git(checkout, "add", ".")
    assert "+one = 3" in source.source_state()[1]


def test_a_huge_difference_is_cut(checkout, monkeypatch):
    monkeypatch.setattr(source, "LIMIT", 100)
    (checkout / "package" / "__init__.py").write_text("x\n" * 500)
    difference = source.source_state()[1]
    assert len(difference) < 160
    assert difference.endswith("characters more\n")


def test_an_installed_package_has_no_source_even_within_a_checkout(checkout, monkeypatch, tmp_path):
    installed = checkout / "environment" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    monkeypatch.setattr(source, "PACKAGE", installed)
    assert source.source_state() is None
    monkeypatch.setattr(source, "PACKAGE", tmp_path / "nowhere")
    assert source.source_state() is None


def test_without_git_there_is_no_source(checkout, monkeypatch):
    assert checkout.is_dir()
    monkeypatch.setenv("PATH", "")
    assert source.source_state() is None
