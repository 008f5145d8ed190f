"""How kernels are compiled and kept on disk.

Numba keeps the code of a function beside its module, in ``NUMBA_CACHE_DIR`` or in a folder of the user, and uses it
until the file changes that the function is in. But the code of the functions it calls is part of it, and constants are
frozen into it: where they lie in other files, old code would be used after a change there. So what is kept here is
marked with a digest of the sources of all kernels, and a change in any of them has all compiled anew. It is of
contents, not of times: where the sources are only touched or written again, nothing is compiled.
"""

import hashlib
import inspect
from collections.abc import Callable
from importlib import resources
from typing import Any

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.registry import cpu_target

from crosslocate.terrain.elevation import sheets

OUTSIDE = (sheets,)
"""Modules outside this package from which kernels take constants."""

UNCOUNTED = {"_nrt": False} if hasattr(cpu_target.options, "_nrt") else {}
"""Options of :func:`compiled`."""


def source_digest() -> str:
    """SHA-256 of the names and contents of the modules of this package and of those `OUTSIDE`."""
    files = (entry for entry in resources.files(__package__).iterdir() if entry.name.endswith(".py"))
    sources = [(file.name, file.read_bytes()) for file in files]
    sources += [(module.__name__, inspect.getsource(module).encode()) for module in OUTSIDE]
    total = hashlib.sha256()
    for name, source in sorted(sources):
        total.update(f"{name} {len(source)}\n".encode() + source)
    return total.hexdigest()


DIGEST = source_digest()


class Locator:
    """The place that numba chose for the code of a function; it only judges otherwise whether the code is stale."""

    def __init__(self, chosen: Any) -> None:
        self._chosen = chosen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chosen, name)

    def get_source_stamp(self) -> str:
        """What is compared with the mark of code that is kept."""
        return DIGEST


class KernelStore(CompileResultCacheImpl):
    """Numba's store of compiled functions, with such locators."""

    @property
    def locator(self) -> Locator:
        """Where the code is kept."""
        return Locator(super().locator)


class KernelCache(FunctionCache):
    """Numba's cache of a function, with such a store."""

    _impl_class = KernelStore


def entry_point(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function of this package when it is first called; for those that Python calls.

    They run without the GIL, and divide by zero like NumPy.
    """
    kernel: Any = njit(nogil=True, error_model="numpy", **options)(function)
    if kernel is not function:  # as it is where NUMBA_DISABLE_JIT is set
        kernel._cache = KernelCache(function)  # ``cache=True`` puts a FunctionCache there; there is no public way
    return kernel


def compiled(function: Callable[..., Any]) -> Any:
    """As :func:`entry_point`, for functions that kernels call and that allocate nothing.

    They are compiled with ``_nrt=False``, an option of numba that is not documented: they do not count references to
    the arrays they are given, which took longer than the march. Their callers hold on to the arrays, and numba refuses
    to compile one that allocates. Where numba no longer has the option they are compiled without it, and are slower.
    """
    return entry_point(function, **UNCOUNTED)
