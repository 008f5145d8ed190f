"""Casting many cameras at once on a device that torch knows, with the hits of ``RayCaster``."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from crosslocate.errors import TerrainError
from crosslocate.terrain.casting import torch_envelope, torch_march
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.hits import SKY, Hits
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.casting.torch_envelope import Envelopes
from crosslocate.terrain.casting.torch_rays import Eyes, Strands, column_strands, look, pixel_directions, strands_of
from crosslocate.terrain.casting.torch_terrain import DeviceTerrain, to_device
from crosslocate.terrain.casting.track import GroundTrack, fit_ground_tracks
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain

PIXELS_AT_ONCE = 1 << 24
"""Ray lengths of cameras that are cast at once and wait to be taken: 64 MiB, on the device and beside it."""

March = Callable[[DeviceTerrain, Strands, Tensor, int, bool, float, Tensor], None]
"""`torch_march.march`, or what does the same."""


class TorchCaster(RayCaster):
    """Casts cameras into a terrain whose arrays are kept on a device.

    Hits are those of a ``RayCaster`` of the same arguments but for rounding. One that is pickled copies the terrain to
    its device again.

    Args:
        elevation: As of ``RayCaster``.
        refraction: As of ``RayCaster``.
        max_distance: As of ``RayCaster``.
        surface: As of ``RayCaster``.
        detail: As of ``RayCaster``.
        device: "cpu", "cuda", "cuda:1"; anything torch takes.
        strands_at_once: Image columns (level cameras) or pixels (others) that are marched together. They take about
            1 kB each on the device.

    Raises:
        TerrainError: An argument is out of range, or there is no such device.
    """

    def __init__(
        self,
        elevation: Dem | Terrain,
        refraction: float = 0.13,
        max_distance: float = 100_000.0,
        surface: str = "bilinear",
        detail: float | None = None,
        device: str = "cuda",
        strands_at_once: int = 1 << 21,
    ) -> None:
        super().__init__(elevation, refraction, max_distance, surface, detail)
        if strands_at_once < 1:
            raise TerrainError(f"strands_at_once is {strands_at_once}; at least 1 is needed")
        self.device, self.strands_at_once = _device(device), strands_at_once
        self._on_device = to_device(self.terrain, self.device)
        if detail is None:
            self._on_device = self._on_device._replace(most_levels=1)
        self._layer_shapes = self._on_device.shapes[self._on_device.first]
        self._march = march_for(self.device)

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        arguments = self.terrain, self.refraction, self.max_distance, self.surface, self.detail
        return TorchCaster, (*arguments, str(self.device), self.strands_at_once)

    def cast(self, camera: Camera) -> Hits:
        """Cast every pixel's ray of a camera.

        Raises:
            TerrainError: The camera stands outside the terrain, in a void, or not above the terrain.
        """
        distance = self.cast_many([camera])[0].cpu().numpy()
        return Hits(camera, distance, self.terrain, self.refraction)

    def cast_all(self, cameras: Iterable[Camera]) -> Iterator[Hits]:
        """Cast cameras in their order, those of one size that follow one another together, `PIXELS_AT_ONCE`.

        Raises:
            TerrainError: As `cast`, in the place of the hits of the camera that it is about.
        """
        for some in _together(cameras):
            try:
                distances = self.cast_many(some).cpu().numpy()
            except TerrainError:  # of one of them, before which the others come
                yield from super().cast_all(some)
                continue
            for camera, distance in zip(some, distances, strict=True):
                yield Hits(camera, distance, self.terrain, self.refraction)

    def cast_many(self, cameras: Sequence[Camera]) -> Tensor:
        """Ray lengths in metres of cameras of one size, -1 in the sky: float32 ``[n, H, W]`` on the device.

        Raises:
            TerrainError: Cameras differ in size, or one of them cannot stand where it does (the first is named).
        """
        if not cameras:
            return torch.empty((0, 0, 0), device=self.device)
        width, height = cameras[0].width, cameras[0].height
        for camera in cameras:
            if (camera.width, camera.height) != (width, height):
                raise TerrainError(
                    f"cameras of {width} x {height} and of {camera.width} x {camera.height} pixels "
                    "cannot be cast together"
                )
        self._require_all_clear(cameras)
        out = torch.full((len(cameras), height, width), SKY, device=self.device)
        groups: dict[int, list[int]] = {}
        for k, camera in enumerate(cameras):
            groups.setdefault(0 if camera.is_level else torch_envelope.sectors_for(camera.focal_length), []).append(k)
        with torch.inference_mode():
            for sectors, chosen in groups.items():
                at_once = max(1, self.strands_at_once // (width * height if sectors else width))
                for first in range(0, len(chosen), at_once):
                    places = chosen[first : first + at_once]
                    out[torch.as_tensor(places, device=self.device)] = self._cast_part(
                        [cameras[k] for k in places], sectors
                    )
        return out

    def _cast_part(self, cameras: list[Camera], sectors: int) -> Tensor:
        """Cast cameras, all level (no sectors) or with surroundings cut into so many sectors; ``[C, H, W]``."""
        width, height = cameras[0].width, cameras[0].height
        shapes, reach = self._layer_shapes, self.max_distance
        eyes = self._eyes(cameras)
        image = torch.full((len(cameras), height, width), SKY, device=self.device)
        if not sectors:
            rise = height / 2.0 - torch.arange(height, dtype=torch.float64, device=self.device) - 0.5
            self._run(column_strands(eyes, width, height, shapes, reach), rise, width, image)
            return image
        envelopes, place = self._surveyed(cameras, eyes, sectors)
        rise = torch.ones(1, dtype=torch.float64, device=self.device)
        rows = max(1, min(height, self.strands_at_once // width))
        for first in range(0, height, rows):
            directions = pixel_directions(eyes, width, height, range(first, min(first + rows, height)))
            start = torch_envelope.starts(envelopes, place, directions)
            self._run(strands_of(eyes, directions, start, shapes, reach), rise, 0, image)
        return image

    def _run(self, strands: Strands, rise: Tensor, stride: int, image: Tensor) -> None:
        triangles = self.surface == "triangles"
        self._march(self._on_device, strands, rise, stride, triangles, self.max_distance, image.view(-1))

    def _surveyed(self, cameras: list[Camera], eyes: Eyes, sectors: int) -> tuple[Envelopes, Tensor]:
        """Envelopes around the different places of cameras, and which of them is that of each camera."""
        keys = [(camera.longitude, camera.latitude, camera.elevation, camera.focal_length) for camera in cameras]
        places = list(dict.fromkeys(keys))
        firsts = [keys.index(key) for key in places]
        at_once = max(1, self.strands_at_once // (sectors * torch_envelope.ring_count(self.max_distance)))
        parts = []
        for first in range(0, len(firsts), at_once):
            chosen = torch.as_tensor(firsts[first : first + at_once], device=self.device)
            some = Eyes(*(values[chosen] for values in eyes))
            parts.append(torch_envelope.survey(self._on_device, some, sectors, self.max_distance))
        slopes = torch.cat([part.slopes for part in parts])
        place = torch.as_tensor([places.index(key) for key in keys], device=self.device)
        return Envelopes(slopes, parts[0].rings), place

    def _eyes(self, cameras: list[Camera]) -> Eyes:
        """Fit the ground tracks of cameras (once for those that stand at one place) and send them to the device."""
        fitted: dict[tuple[float, float], list[GroundTrack]] = {}
        for camera in cameras:
            place = camera.longitude, camera.latitude
            if place not in fitted:
                fitted[place] = fit_ground_tracks(self.terrain.layers, *place, self._reach(*place))
        tracks = [fitted[camera.longitude, camera.latitude] for camera in cameras]
        return look(cameras, tracks, self.refraction, self.detail, self.device)

    def _require_all_clear(self, cameras: Sequence[Camera]) -> None:
        longitude, latitude, height = (
            np.array([getattr(camera, name) for camera in cameras], np.float64)
            for name in ("longitude", "latitude", "elevation")
        )
        clear = height > self.terrain.elevation_at(longitude, latitude)
        if not clear.all():
            self._require_clear(cameras[int(np.argmin(clear))])


def _together(cameras: Iterable[Camera]) -> Iterator[list[Camera]]:
    """Cameras that follow one another and have one size, `PIXELS_AT_ONCE` or a single one."""
    some: list[Camera] = []
    for camera in cameras:
        size = camera.width, camera.height
        if some and (size != (some[0].width, some[0].height) or (len(some) + 1) * size[0] * size[1] > PIXELS_AT_ONCE):
            yield some
            some = []
        some.append(camera)
    if some:
        yield some


def march_for(device: torch.device) -> March:
    """The compiled march on GPUs where Triton is installed, else the one of tensor operations."""
    if device.type == "cuda" and find_spec("triton") is not None:
        from crosslocate.terrain.casting import torch_triton

        return torch_triton.march
    return torch_march.march


def _device(name: str) -> torch.device:
    """The device of a name, if there is one."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TerrainError(f"device is {name!r}; allowed: cpu, cuda, cuda:<number>") from error
    if device.type == "cuda" and not (device.index or 0) < torch.cuda.device_count():
        raise TerrainError(
            f"device is {name!r}, but torch sees {torch.cuda.device_count()} GPUs here; use terrain.caster.device=cpu"
        )
    return device
