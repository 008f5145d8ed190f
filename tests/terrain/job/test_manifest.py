import pytest

from crosslocate.errors import TerrainError
from crosslocate.terrain.job.manifest import MANIFEST, read_manifest, require_same


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": 2, "counts": {}}', "damaged"),
        ('{"format": 9, "counts": {}, "rendering": {}}', "format 9"),
        ('{"format": 1, "counts": {}, "rendering": {}}', "render again"),
    ],
)
def test_an_unreadable_manifest_is_named(content, says, tmp_path):
    if content is not None:
        (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(TerrainError, match=says) as error:
        read_manifest(tmp_path)
    assert str(tmp_path / MANIFEST) in str(error.value)


def test_another_rendering_is_refused_with_what_differs(tmp_path):
    job = {"seed": 1, "survey": {"places": {"train": 3}, "width": 8}}
    require_same(tmp_path, job, dict(job))
    with pytest.raises(TerrainError, match=r"survey\.places\.train is 3, now asked for is 4"):
        require_same(tmp_path, job, {"seed": 1, "survey": {"places": {"train": 4}, "width": 8}})
