"""Every option of the groups of a survey composes and builds, as the comments in them say."""

import json
import re

import pytest
from hydra import compose, initialize_config_dir

from crosslocate.config.app import conf_dir
from crosslocate.config.build import build
from crosslocate.config.schema import register
from crosslocate.errors import ConfigError
from crosslocate.terrain.viewpoints.listed import Listed
from crosslocate.terrain.viewpoints.region import RegionSurvey
from crosslocate.terrain.viewpoints.schemes import Nowhere
from crosslocate.terrain.viewpoints.splits import OneSplit
from crosslocate.terrain.viewpoints.strips import StripSurvey


def options(group):
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def survey(*overrides):
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return build(compose("render", overrides=list(overrides)).survey)


@pytest.fixture
def a_list(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("lat,lon\n36.3,-84.2\n")
    return path


def test_the_defaults_of_the_files_are_those_of_the_classes():
    assert survey("survey=strips") == StripSurvey()
    assert survey("survey=region") == RegionSurvey()


@pytest.mark.parametrize("role", ["database", "queries"])
@pytest.mark.parametrize("scheme", options("viewpoints"))
def test_every_scheme_of_viewpoints(role, scheme, a_list):
    path = [f"survey.{role}.path={a_list}"] if scheme in ("list", "track") else []
    if role == "database" and scheme in ("none", "near"):
        with pytest.raises(ConfigError, match=rf"^viewpoints@survey\.database='{scheme}'.*database$"):
            survey("survey=region", f"viewpoints@survey.database={scheme}")
        return
    found = survey("survey=region", f"viewpoints@survey.{role}={scheme}", *path)
    assert json.loads(json.dumps(found.parameters())) == found.parameters()
    default = RegionSurvey()
    unchanged = scheme == {"database": "grid", "queries": "none"}[role]
    assert (getattr(found, role) == getattr(default, role)) == unchanged


@pytest.mark.parametrize(
    ("chosen", "given"),
    [
        (("survey=region",), "survey.database.spacing=0.5"),
        (("survey=region", "viewpoints@survey.database=random"), "survey.database.count=0"),
        (("survey=region", "viewpoints@survey.queries=random"), "survey.queries.spacing=-1.0"),
        (("survey=region", "viewpoints@survey.queries=near"), "survey.queries.distance=-1.0"),
        (("survey=region", "viewpoints@survey.queries=track", "survey.queries.path=a.gpx"), "survey.queries.kinds=[]"),
        (("survey=list", "survey.database.path=a.csv"), "survey.database.spacing=-1.0"),
        (("survey=region",), "survey.photographs.poses.pitch=[1.0,0.0]"),
        (("survey=region",), "survey.eye_height=-1.0"),
        (("survey=strips",), "survey.poses.height=[]"),
        (("survey=strips",), "survey.places.train=-1"),
        (("survey=region",), "survey.splits.size=1.0"),
        (("survey=region",), "survey.visible.reach=1.0"),
        (("survey=region",), "survey.photographs.count=0"),
    ],
)
def test_errors_name_the_key_that_was_typed(chosen, given):
    with pytest.raises(ConfigError, match="^" + re.escape(given.partition("=")[0]) + "="):
        survey(*chosen, given)


@pytest.mark.parametrize("splits", options("survey/splits"))
def test_every_kind_of_splits(splits):
    found = survey("survey=region", f"survey/splits={splits}", "survey.visible=null", "survey.region=[6,45,7,46]")
    assert (found.splits == RegionSurvey().splits) == (splits == "blocks")
    assert found.visible is None
    assert list(found.region) == [6, 45, 7, 46]


def test_there_are_no_other_surveys():
    assert options("survey") == ["list", "region", "strips"]


def test_the_cameras_of_a_list_are_a_survey_of_their_own(a_list):
    exact = RegionSurvey(database=Listed(str(a_list)), queries=Nowhere(), sea=None, visible=None, splits=OneSplit())
    assert survey("survey=list", f"survey.database.path={a_list}") == exact
