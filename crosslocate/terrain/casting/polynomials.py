"""Polynomials in two variables at many points, compiled."""

from typing import Any

from numba import njit


@njit(cache=True, nogil=True)
def evaluate(coefficients: Any, x: Any, y: Any, out: Any) -> None:
    """Add the monomials x**i y**j of degree 1 to 5, by i + j, then i, times ``coefficients`` [20] to ``out``."""
    c = coefficients
    for n in range(len(x)):
        u, v = x[n], y[n]
        # Horner in u over polynomials in v
        total = c[19]
        total = c[13] + v * c[18] + u * total
        total = c[8] + v * (c[12] + v * c[17]) + u * total
        total = c[4] + v * (c[7] + v * (c[11] + v * c[16])) + u * total
        total = c[1] + v * (c[3] + v * (c[6] + v * (c[10] + v * c[15]))) + u * total
        out[n] += v * (c[0] + v * (c[2] + v * (c[5] + v * (c[9] + v * c[14])))) + u * total
