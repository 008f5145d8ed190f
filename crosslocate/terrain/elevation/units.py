"""Units of elevations, and what files call them."""

from crosslocate.errors import TerrainError

UNITS = {
    "metres": 1.0,
    "decimetres": 0.1,
    "centimetres": 0.01,
    "millimetres": 0.001,
    "kilometres": 1000.0,
    "feet": 0.3048,
    "us_survey_feet": 1200.0 / 3937.0,
}
"""Metres in a unit. The US survey foot is 2 parts in a million longer than the international one."""

TAGS = {
    "metres": ("m", "metre", "meter", "metres", "meters", "mtr"),
    "decimetres": ("dm", "decimetre", "decimeter", "decimetres", "decimeters"),
    "centimetres": ("cm", "centimetre", "centimeter", "centimetres", "centimeters"),
    "millimetres": ("mm", "millimetre", "millimeter", "millimetres", "millimeters"),
    "kilometres": ("km", "kilometre", "kilometer", "kilometres", "kilometers"),
    "feet": ("ft", "foot", "feet", "international foot", "international feet"),
    "us_survey_feet": (
        "us survey foot", "us survey feet", "us-ft", "us_ft", "usft", "ftus", "foot_us", "us foot", "us feet",
        "us_survey_foot", "us_survey_feet", "survey foot", "survey feet", "foot (us survey)",
    ),
}  # fmt: skip
"""What a band's unit tag may say, in lower case."""


def unit_of_tag(tag: str) -> str:
    """The unit that a tag names.

    Raises:
        TerrainError: Nobody knows such a unit.
    """
    for name, tags in TAGS.items():
        if tag.strip().lower() in tags:
            return name
    raise TerrainError(f"its unit is {tag!r}; say what it is with terrain.elevation.units: {', '.join(UNITS)}")


def unit_of_length(metres: float) -> str | None:
    """The unit of so many metres, to 1 part in ten million; None when there is none."""
    return next((name for name, size in UNITS.items() if abs(metres / size - 1.0) < 1e-7), None)
