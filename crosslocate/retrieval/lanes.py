"""How images get to a device and descriptors back, by kind of device."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from numpy.typing import NDArray

from crosslocate.retrieval.row_writer import Arrival

Encode = Callable[[Any], torch.Tensor]


class Lane(Protocol):
    """Embeds batch after batch on one device.

    Attributes:
        transfer: Seconds spent on copying images to the device.
        compute: Seconds in which the device made descriptors.
    """

    transfer: float
    compute: float

    def embed(self, encode: Encode, images: Any) -> Arrival:
        """Begin to embed images (a tensor, or a mapping of tensors) in host memory; gives what waits for the end."""
        ...


class HostLane:
    """Computes at once: on the processor, or any device that is not known better."""

    def __init__(self, device: torch.device) -> None:
        self.transfer = self.compute = 0.0
        self._device = device

    def embed(self, encode: Encode, images: Any) -> Arrival:
        """Embed images; what is given has nothing to wait for."""
        begin = time.perf_counter()
        there = _moved(images, self._device)
        begun = time.perf_counter()
        descriptors = as_float32(encode(there))
        self.transfer += begun - begin
        self.compute += time.perf_counter() - begun
        return lambda: descriptors


class CudaLane:
    """Copies images on a stream of its own, so that a batch is on its way while the GPU computes the one before.

    The host never waits for the GPU here; whoever writes the descriptors does, and so bounds how far the host is ahead.
    Images overlap only when they come in pinned memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.transfer = self.compute = 0.0
        self._device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        self._copies = torch.cuda.Stream(self._device)

    def embed(self, encode: Encode, images: Any) -> Arrival:
        """Queue copy, computation and the way back; the seconds are counted on arrival."""
        stream = torch.cuda.current_stream(self._device)
        sent, there, begun, done = (torch.cuda.Event(enable_timing=True) for _ in range(4))
        with torch.cuda.stream(self._copies):
            sent.record(self._copies)
            moved = _moved(images, self._device)
            there.record(self._copies)
        stream.wait_event(there)
        for tensor in moved.values() if isinstance(moved, Mapping) else [moved]:
            tensor.record_stream(stream)  # else its memory is taken for the next copy while it is still read
        begun.record(stream)
        descriptors = encode(moved).detach().float()
        host = torch.empty(descriptors.shape, dtype=torch.float32, pin_memory=True)
        host.copy_(descriptors, non_blocking=True)
        done.record(stream)

        def arrival() -> NDArray[Any]:
            with torch.cuda.device(self._device):  # a new thread's is the first one, where a context takes memory
                done.synchronize()
                self.transfer += sent.elapsed_time(there) / 1000
                self.compute += begun.elapsed_time(done) / 1000
            return host.numpy()

        return arrival


LANES: Mapping[str, type[HostLane] | type[CudaLane]] = {"cuda": CudaLane}


def lane(device: torch.device | str) -> Lane:
    """The lane to a device."""
    chosen = torch.device(device)
    return LANES.get(chosen.type, HostLane)(chosen)


def as_float32(descriptors: torch.Tensor) -> Any:
    """Descriptors as a float32 array in host memory, from any device and floating type."""
    return descriptors.detach().to("cpu", torch.float32).numpy()


def _moved(images: Any, device: torch.device) -> Any:
    if isinstance(images, Mapping):
        return {key: value.to(device, non_blocking=True) for key, value in images.items()}
    return images.to(device, non_blocking=True)
