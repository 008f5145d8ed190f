"""A caster on a device is given the views of a chunk together; the bytes are those of views one by one."""

from dataclasses import replace

import pytest
import torch
from tiny_survey import SMALL, changed, storage_of, tiny_plan, tree

from crosslocate.errors import TerrainError
from crosslocate.terrain.casting import torch_caster
from crosslocate.terrain.casting.torch_caster import TorchCaster
from crosslocate.terrain.job.opening import begin, choose_cameras
from crosslocate.terrain.job.plan import describe
from crosslocate.terrain.job.processes import rendered
from crosslocate.terrain.job.rendering import render_dataset
from crosslocate.terrain.viewpoints.survey import Surveyed

SURVEY = changed(places={"train": 2}, queries_per_place={"train": 2}, headings=4)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def plan():
    plan = tiny_plan(storage_of("files:5"))
    caster = TorchCaster(plan.world.caster.terrain, max_distance=9_000.0, device="cpu")
    return replace(plan, survey=SURVEY, world=replace(plan.world, caster=caster))


def test_chunks_are_cast_together_and_give_the_same_bytes(plan, tmp_path, monkeypatch):
    counts, cast_many = [], TorchCaster.cast_many

    def counted(caster, cameras):
        counts.append(len(cameras))
        return cast_many(caster, cameras)

    monkeypatch.setattr(TorchCaster, "cast_many", counted)
    render_dataset(tmp_path / "together", plan, workers=1, tell=lambda _: counts.clear())
    assert counts == [5, 3, 4]  # the chunks of eight views and four queries
    monkeypatch.setattr(torch_caster, "PIXELS_AT_ONCE", 1)
    render_dataset(tmp_path / "alone", plan, workers=1, tell=lambda _: counts.clear())
    assert counts == [1] * 12
    assert tree(tmp_path / "together") == tree(tmp_path / "alone")


@pytest.mark.parametrize("on_device", [True, False])
def test_a_view_that_cannot_be_cast_is_named_by_its_row(plan, tmp_path, on_device):
    if not on_device:
        plan = tiny_plan(storage_of("files:5"))
        plan = replace(plan, survey=SURVEY)
    surveyed = choose_cameras(plan, 1)
    below = surveyed.database.elevation.copy()
    below[2] = 10.0
    surveyed = Surveyed(replace(surveyed.database, elevation=below), surveyed.queries, {})
    job = begin(tmp_path, plan.world, plan.images, plan.storage, describe(plan), surveyed)
    views = rendered(job, job.chunks[0])
    name = str(surveyed.database.name[2])
    before = sorted(surveyed.database.name[:5]).index(name)
    for _ in range(before):
        assert next(views)[1].keys() == set(SMALL.database_modalities)
    with pytest.raises(TerrainError, match=rf"database row 2 \({name}\): camera .* not above the terrain"):
        next(views)
