"""What tests of sweeps share."""

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register


@pytest.fixture
def hydra():
    """Hydra as ``python -m crosslocate.train`` has it."""
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield GlobalHydra.instance().hydra
