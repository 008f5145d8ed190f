"""Ray lengths of the cameras that were cast last: who reads several images of a view casts it once."""

import threading
from collections import OrderedDict

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.hits import Hits, Image
from crosslocate.terrain.casting.raycast import RayCaster

VIEWS = 256
"""Ray lengths of that many views are remembered: readers ask for a batch in one modality, then in the next."""
BYTES = 1 << 27
"""Ray lengths that are remembered take no more; where that is less than a view, one view is."""


class RecentHits:
    """Casts cameras, and remembers the ray lengths of the last ones; may be used from several threads.

    Args:
        caster: Casts those that are not remembered.
        views: How many are remembered, at most.
        size: Bytes that they take, at most; a single view may take more.
    """

    def __init__(self, caster: RayCaster, views: int = VIEWS, size: int = BYTES) -> None:
        self.caster, self.views, self.size = caster, views, size
        self._kept: OrderedDict[Camera, Image] = OrderedDict()
        self._taken = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["RecentHits"], tuple[RayCaster, int, int]]:
        """Another process remembers nothing at first."""
        return RecentHits, (self.caster, self.views, self.size)

    def cast(self, camera: Camera) -> Hits:
        """Where the rays of a camera end.

        Raises:
            TerrainError: As `RayCaster.cast`.
        """
        with self._lock:
            distance = self._kept.get(camera)
            if distance is not None:
                self._kept.move_to_end(camera)
        if distance is None:
            distance = self.caster.cast(camera).distance
            self._keep(camera, distance)
        return Hits(camera, distance, self.caster.terrain, self.caster.refraction)

    def _keep(self, camera: Camera, distance: Image) -> None:
        with self._lock:
            if camera in self._kept:  # cast by another thread meanwhile
                return
            self._kept[camera] = distance
            self._taken += distance.nbytes
            while len(self._kept) > 1 and (len(self._kept) > self.views or self._taken > self.size):
                self._taken -= self._kept.popitem(last=False)[1].nbytes
