"""The compiled march: run by Triton's interpreter against the march of tensor operations, and compiled for a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine
from synthetic_terrain import camera_at_home, grid_dem

from crosslocate.terrain.casting import torch_march
from crosslocate.terrain.casting.torch_caster import TorchCaster, march_for
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain

triton = pytest.importorskip("triton", reason="Triton, which comes with torch on Linux, is not installed")


def rough_terrain():
    """Two layers of random posts with voids, the fine one beside the camera, both with levels of detail."""
    rng = np.random.default_rng(3)

    def posts(count):
        height = rng.normal(0, 25, (count, count)).astype(np.float32)
        height[rng.random((count, count)) < 0.03] = np.nan
        return height

    flat = grid_dem(lambda e, n: 0 * e, spacing=40.0, posts=25)
    wide = posts(25)
    wide[11:14, 11:14] = 20.0
    t = flat.transform
    beside = Affine(13.0, 0, t.c + 600.0, 0, -13.0, t.f - 200.0)
    return Terrain.of(Dem(posts(24), beside, flat.crs), Dem(wide, t, flat.crs))


CASES = [
    (0.0, 2, None, "triangles"),
    (0.0, 1, 0.2, "bilinear"),
    (-0.2, 2, 0.2, "bilinear"),
    (-np.pi / 2, 1, None, "triangles"),
]


def compare():
    """The kernel and the march of tensor operations see the same; needs ``TRITON_INTERPRET=1`` before any import."""
    from crosslocate.terrain.casting import torch_triton

    for pitch, layers, detail, surface in CASES:
        terrain = rough_terrain()
        terrain = terrain if layers == 2 else Terrain.of(terrain.layers[1])
        caster = TorchCaster(terrain, 0.13, 2000.0, surface, detail, "cpu")
        cameras = [
            camera_at_home(35.0, yaw=yaw, pitch=pitch, horizontal_fov=1.2, width=5, height=4) for yaw in (0.8, 1.6)
        ]
        expected = caster.cast_many(cameras)
        caster._march = torch_triton.march
        found = caster.cast_many(cameras)
        assert (expected > 0).any()
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0.0)
        print("same", pitch, layers, detail, surface)


def test_the_interpreted_kernel_does_what_the_march_does():
    places = [Path(__file__).parent, Path(__file__).parents[2]]
    code = (
        f"import sys; sys.path[:0] = {[str(place) for place in places]}; import {Path(__file__).stem} as t; t.compare()"
    )
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("same") == len(CASES)


ARRAYS = {
    "posts": "*fp32", "tops": "*fp32", "shapes": "*i64", "offset": "*i64", "top_offset": "*i64",
    "top_columns": "*i64", "first_sheet": "*i64", "levels": "*i64", "path": "*fp64", "curvature_of": "*fp64",
    "height_of": "*fp64", "scale_of": "*fp64", "start": "*fp64", "enter": "*fp64", "leave": "*fp64",
    "switch_of": "*fp64", "base_of": "*i64", "rise": "*fp64", "limits": "*fp64", "out": "*fp32",
    "count": "i32", "pixels": "i32", "stride": "i32",
}  # fmt: skip


@pytest.mark.parametrize(("layers", "most_levels", "triangles"), [(1, 1, False), (2, 8, True)])
def test_the_kernel_compiles_for_a_hopper_gpu(layers, most_levels, triangles, tmp_path, monkeypatch):
    """No GPU is needed for that."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from crosslocate.terrain.casting import torch_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = {"layers": layers, "most_levels": most_levels, "triangles": triangles, "lanes": torch_triton.LANES}
    signature = ARRAYS | dict.fromkeys(constants, "constexpr")
    assert list(signature) == torch_triton._march.arg_names
    source = ASTSource(torch_triton._march, signature, constexprs=constants)
    options = {"num_warps": 1, "enable_fp_fusion": False}
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert compiled.asm["cubin"]
    assert ".local" not in compiled.asm["ptx"]  # nothing spills by construction


def test_processors_get_the_march_of_tensor_operations():
    from crosslocate.terrain.casting import torch_triton

    assert march_for(torch.device("cpu")) is torch_march.march
    assert march_for(torch.device("cuda", 0)) is torch_triton.march
