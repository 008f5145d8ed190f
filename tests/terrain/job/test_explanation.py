from dataclasses import replace

import numpy as np
import pytest
from tiny_survey import SMALL, TINY, VIEWS, storage_of, tiny_plan

from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.job.explanation import amount, estimate, explain_plan, told
from crosslocate.terrain.job.opening import tables_of
from crosslocate.terrain.job.progress import pace, spoken
from crosslocate.terrain.job.rendering import render_dataset


def test_the_estimate_is_near_what_is_written(tmp_path):
    plan = tiny_plan(storage_of("files:120"))
    surveyed = TINY.cameras(plan.world.caster, aspect=SMALL.aspect, seed=0, workers=1)
    for role, table in tables_of(surveyed).items():
        found = estimate(plan, role, table)
        assert list(found.size) == list(SMALL.of_role(role))
        assert found.seconds > 0
    render_dataset(tmp_path / "set", plan, workers=1)
    written = [path.stat().st_size for path in (tmp_path / "set/database/depth").iterdir()]
    assert estimate(plan, "database", surveyed.database).size["depth"] == pytest.approx(np.mean(written), rel=0.3)


def test_what_will_be_made_is_said_with_numbers(tmp_path, capsys):
    explain_plan(tiny_plan(storage_of("files:120")), 2, tmp_path / "set")
    said = capsys.readouterr().err
    for word in ("EPSG:4326", "closest between splits", "silhouettes", str(VIEWS["queries"]), "on 2 cores"):
        assert word in said
    assert not (tmp_path / "set").exists()


def test_how_far_half_precision_is_off_is_said(tmp_path, capsys):
    plan = tiny_plan(storage_of("files:120"))
    explain_plan(plan, 1, tmp_path / "set")
    assert "rounded by up to 4 m beyond 8 km" in capsys.readouterr().err
    for far, most in ((8_192.0, 2.0), (16_384.0, 4.0), (32_768.0, 8.0), (65_504.0, 16.0)):
        depth = np.linspace(0.5 * far, far, 100_001)
        assert np.abs(depth.astype(np.float16).astype(float) - depth).max() == pytest.approx(most, rel=0.01)
    for images in (replace(SMALL, depth_type="float"), replace(SMALL, database_modalities=("segments",),
                                                                query_modalities=("photo",))):  # fmt: skip
        explain_plan(replace(plan, images=images), 1, tmp_path / "set")
        assert "rounded" not in capsys.readouterr().err


def test_nested_findings_become_lines():
    assert told("left_out", 3) == ["left out: 3"]
    assert told("database", {"chosen": 5, "left_out": {"void": 1, "sea": 2}}) == [
        "database: chosen 5",
        "database, left out: void 1, sea 2",
    ]


@pytest.mark.parametrize(
    ("size", "says"), [(0, "0 B"), (999, "999 B"), (12_345, "12.3 kB"), (3.4e9, "3.4 GB"), (24e13, "240.00 TB")]
)
def test_amounts(size, says):
    assert amount(size) == says


@pytest.mark.parametrize(
    ("seconds", "says"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2.0 h"), (172_800, "2.0 days")]
)
def test_durations(seconds, says):
    assert spoken(seconds) == says


def test_pace_counts_what_was_rendered_since_the_start_alone():
    assert pace(110, 100, 200, 5.0) == "2.0 views/s, 45 s left"
    assert pace(100, 100, 200, 5.0) == ""
    assert pace(5, 0, 10, 0.0) == ""


def test_depths_that_the_terrain_cannot_have_are_no_matter_of_precision(tmp_path, capsys):
    plan = tiny_plan(storage_of("files:120"))
    caster = RayCaster(plan.world.caster.terrain, max_distance=100_000.0)  # the tile is 43 km across
    explain_plan(replace(plan, world=replace(plan.world, caster=caster)), 1, tmp_path / "set")
    said = capsys.readouterr().err
    assert "beyond 8 km" in said
    assert "65,504" not in said
