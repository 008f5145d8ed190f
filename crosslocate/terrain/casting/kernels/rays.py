"""Rays in their vertical plane, over an earth that is a circle (see the package)."""

import math

import numpy as np

from crosslocate.terrain.casting.kernels.compiled import compiled

STEEPEST = 1e6
"""Slopes are clamped to this: a vertical ray is taken as one that moves a micrometre per metre of height."""

MILD = 4.0
"""Slopes up to which the height of a ray is taken as a parabola."""

MARGIN = 2e-3
"""Metres by which terrain is taken to be higher than it is, against rounding."""


@compiled
def arc(curvature: float, s: float) -> tuple[float, float]:
    """S = sin(k s) / k and V = (1 - cos(k s)) / k by their series, good to 1e-12 for s up to 500 km."""
    t = s * curvature
    t2 = t * t
    sine = s * (1.0 - t2 / 6.0 * (1.0 - t2 / 20.0))
    versine = 0.5 * s * t * (1.0 - t2 / 12.0 * (1.0 - t2 / 30.0))
    return sine, versine


@compiled
def horizon(curvature: float, height: float, highest: float, slope: float) -> float:
    """Ground distance beyond which a ray of this slope stays above ``highest``; 0 when it is above it everywhere."""
    rise = (highest - height) / (1.0 + curvature * highest)
    discriminant = slope * slope + 2.0 * curvature * rise
    if discriminant < 0.0:
        return 0.0
    # t = sqrt(m^2 + 2 k rise) - m, written so that it is exact for an earth as good as flat
    denominator = math.sqrt(discriminant) + slope
    if denominator <= 0.0:
        return np.inf if rise >= 0.0 or slope < 0.0 else 0.0
    distance = 2.0 * rise / denominator
    return 0.0 if distance <= 0.0 else distance * (1.0 + curvature * distance) + 1.0


@compiled
def parabola(curvature: float, height: float, slope: float, s: float, span: float) -> tuple[float, float, float, float]:
    """Height above sea level of a ray around ground distance s.

    Returns:
        Value, derivative, half the second derivative, and an error that the parabola does not exceed on s to s + span.
    """
    sine, versine = arc(curvature, s)
    cosine = 1.0 - curvature * versine
    rise = versine + slope * sine
    first = curvature * sine + slope * cosine
    second = curvature * (cosine - slope * curvature * sine)
    share = 1.0 / (1.0 - curvature * rise)
    h1 = first * (1.0 + curvature * height) * share * share
    h2 = (0.5 * second * share + curvature * first * first * share * share) * (1.0 + curvature * height) * share
    steep = abs(slope) + 0.1
    third = curvature * curvature * (1.0 + 8.0 * steep + 8.0 * steep * steep * steep)
    return (height + rise) * share, h1, h2, MARGIN + 0.25 * third * span * span * span
