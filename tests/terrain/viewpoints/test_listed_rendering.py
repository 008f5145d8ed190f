"""The poses of a list, from the file to the images: nothing is lost, added, turned or put in another order."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic_terrain import jacksboro
from tiny_survey import SMALL, storage_of, tiny_plan, tree

from crosslocate.data.catalog import read_catalog
from crosslocate.data.images import decode
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.job.rendering import render_dataset
from crosslocate.terrain.viewpoints.listed import Listed
from crosslocate.terrain.viewpoints.region import RegionSurvey
from crosslocate.terrain.viewpoints.schemes import Nowhere
from crosslocate.terrain.viewpoints.splits import OneSplit

ROWS = [  # name, lat, lon, alt, heading, pitch, roll, vfov
    ("z_1@N03", 36.31, -84.21, 900.0, 350.0, -4.0, 2.0, 40.0),
    ("a=b", 36.31, -84.21, 900.0, 10.0, 6.0, -3.0, 30.0),
    ("m.x+y", 36.25, -84.30, 1500.0, 725.5 - 360.0, -20.0, 0.0, 55.0),
    ("-k", 36.40, -84.10, 1200.0, -90.0, 0.0, 9.0, 20.0),
    ("z_0", 36.22, -84.35, 1000.0, 180.0, 3.0, 1.0, 47.0),
]


@pytest.mark.parametrize("storage", ["files:2", "shards:2"])
def test_every_row_is_one_image_in_the_order_of_the_file(tmp_path, storage):
    text = "name,lat,lon,alt,heading,pitch,roll,vfov\n"
    (tmp_path / "p.csv").write_text(text + "".join(",".join(map(str, row)) + "\n" for row in ROWS))
    survey = RegionSurvey(
        database=Listed(str(tmp_path / "p.csv")), queries=Nowhere(), sea=None, visible=None, splits=OneSplit()
    )
    images = replace(SMALL, depth_type="float", database_modalities=("depth",))
    plan = replace(tiny_plan(storage_of(storage)), survey=survey, images=images)
    plan = replace(plan, world=replace(plan.world, depth_type="float"))
    render_dataset(tmp_path / "set", plan, workers=1)
    catalog = read_catalog(tmp_path / "set/database.parquet")
    assert [catalog.name(row) for row in range(len(catalog))] == [row[0] for row in ROWS]
    if storage.startswith("files"):
        there = {name for name in tree(tmp_path / "set") if name.endswith(".exr")}
        assert there == {f"database/depth/{row[0]}.exr" for row in ROWS}
    for row, (_, lat, lon, alt, heading, pitch, roll, vertical) in enumerate(ROWS):
        assert alt > jacksboro().elevation_at(lon, lat) + 2.0
        fov = 2 * np.arctan(SMALL.aspect * np.tan(np.radians(vertical) / 2))
        camera = Camera(lon, lat, alt, *np.radians([heading, pitch, roll]), fov, SMALL.width, SMALL.height)
        wanted = plan.world.caster.cast(camera).distance
        np.testing.assert_allclose(decode(catalog.image_path("depth", row), "depth"), wanted, rtol=1e-5, atol=0.01)
