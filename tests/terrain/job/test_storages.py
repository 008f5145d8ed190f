"""What all ways to keep images have, and what only those have that keep any."""

import pytest
from tiny_survey import SMALL, tiny_plan

from crosslocate.terrain.job.live import Live
from crosslocate.terrain.job.storage import Files, ImageStorage, Shards, Storage, views_per_chunk


@pytest.mark.parametrize(("storage", "views"), [(Files(7), 7), (Shards(9), 9), (Live(), None)])
def test_only_what_keeps_images_has_chunks_and_writes_them(storage, views):
    assert isinstance(storage, Storage)
    assert views_per_chunk(storage) == views
    assert isinstance(storage, ImageStorage) == hasattr(storage, "write") == (views is not None)


@pytest.mark.parametrize("storage", [Files(), Shards()])
def test_nothing_lies_beside_catalogs_and_images(storage, tmp_path):
    plan = tiny_plan(storage)
    assert storage.finish(tmp_path, plan.world, SMALL) is False
    assert storage.files == ()
    assert not list(tmp_path.iterdir())


def test_a_storage_without_its_template_cannot_be_made():
    class Half(ImageStorage):
        def parameters(self):
            return {}

    with pytest.raises(TypeError, match=r"template.*write"):
        Half()
