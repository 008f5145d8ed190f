# ruff: noqa: ANN001, ANN201  (Triton takes no annotations)
# mypy: allow-untyped-defs
"""The arithmetic of a march, once for tensor operations and for Triton, which compiles these functions from their text.

So they hold nothing but operators and their arguments: tensors, or lanes of a kernel, float64. What the letters mean is
told in ``torch_march``.
"""


def polynomial(s, p0, p1, p2, p3, p4, p5):
    """Value and derivative at s."""
    value, slope = p4 + s * p5, p5
    slope = value + s * slope
    value = p3 + s * value
    slope = value + s * slope
    value = p2 + s * value
    slope = value + s * slope
    value = p1 + s * value
    slope = value + s * slope
    value = p0 + s * value
    return value, slope


def arc(k, s):
    """S = sin(k s) / k and V = (1 - cos(k s)) / k for curvature k, by their series as in ``kernels``."""
    t = s * k
    t2 = t * t
    sine = s * (1.0 - t2 / 6.0 * (1.0 - t2 / 20.0))
    versine = 0.5 * s * t * (1.0 - t2 / 12.0 * (1.0 - t2 / 30.0))
    return sine, versine


def sinking(k, sine, versine, slope):
    """How far ground at a distance lies below a ray of a slope, V + m S, and the derivative of that."""
    return versine + slope * sine, sine * k + slope * (1.0 - versine * k)


def passes_over(k, highest, height, bend, fall):
    """Whether a ray is above all terrain from here on; ``bend`` and ``fall`` are those of `sinking`."""
    return (highest - height - (1.0 + k * highest) * bend < 0.0) & (fall > 0.0)


def is_below(k, top, height, bend, fall, length):
    """Whether a block of cells whose highest ground is ``top`` stays below a ray over a length."""
    swell = 1.0 + k * top
    above = top - height - swell * bend
    return (above < 0.0) & (above - swell * fall * length < 0.0)


def heights(north_west, east, south, twist, x, y, along, down):
    """Height of the ground at (x, y) of a cell and on along a track, as a polynomial of ground distance."""
    h0 = north_west + x * east + y * south + x * y * twist
    h1 = along * east + down * south + (x * down + y * along) * twist
    h2 = along * down * twist
    return h0, h1, h2


def course(k, height, sine, versine, h0, h1, h2):
    """X and Y of such ground seen from the camera, as polynomials of ground distance: x0 to x3 and y0 to y2."""
    cosine, swell = 1.0 - versine * k, 1.0 + h0 * k
    x0 = swell * sine
    x1 = swell * cosine + h1 * k * sine
    x2, x3 = k * (h1 * cosine - 0.5 * swell * sine * k + h2 * sine), h2 * k * cosine
    y0 = h0 - height - swell * versine
    y1 = h1 * cosine - swell * sine * k
    y2 = h2 * cosine - k * (0.5 * swell * cosine + h1 * sine * k)
    return x0, x1, x2, x3, y0, y1, y2
