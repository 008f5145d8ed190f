"""What a terrain is made of, in words and figures: for a person, and for the manifest of what is rendered from it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from crosslocate.geo import geodesic_distance
from crosslocate.terrain.elevation.grid import Bounds

if TYPE_CHECKING:
    from rich.table import Table

COMMON_ACCURACY = 1.0
"""Metres; that of modern systems whose datum is called the same as WGS84 for lack of a date. Worse ones are told."""

SIDES = ("west", "south", "east", "north")


@dataclass(frozen=True)
class LayerSummary:
    """One layer of a terrain.

    Attributes:
        crs: Its coordinate reference system.
        rows: Rows of posts.
        columns: Columns of posts.
        spacing: Metres between columns and between rows at its centre.
        bounds: West, south, east, north in degrees.
        units: What the elevations of its tiles were given in.
        tiles: Number of tiles; 0 when it was not made of tiles.
        lowest: Metres.
        highest: Metres.
        voids: Posts for which tiles had no elevation.
        implausible: Elevations of tiles that were taken for voids because nothing on earth is that high or low.
        absent: Posts for which there was no tile.
        filled_from_layers: Posts that got the elevation of another layer.
        filled_from_neighbours: Posts that got one from the posts around them.
        sea: Posts that became sea.
        left: Posts without an elevation.
        overlap: How often an elevation of a further tile was met at a post that had one.
        disagreement: Largest difference of such elevations, in metres.
        disagreeing: The two files with that difference.
        fingerprint: SHA-256 of its posts and where they lie.
        operation: Name of the coordinate operation from WGS84 to its CRS; empty where none is needed.
        accuracy: Of that operation, in metres; negative where it is not known.
    """

    crs: str
    rows: int
    columns: int
    spacing: tuple[float, float]
    bounds: Bounds
    units: tuple[str, ...]
    tiles: int
    lowest: float
    highest: float
    voids: int
    implausible: int
    absent: int
    filled_from_layers: int
    filled_from_neighbours: int
    sea: int
    left: int
    overlap: int
    disagreement: float
    disagreeing: str
    fingerprint: str
    operation: str = ""
    accuracy: float = 0.0

    @property
    def crs_name(self) -> str:
        """Short name of the CRS."""
        if len(self.crs) <= 20:
            return self.crs
        from pyproj import CRS

        return str(CRS.from_user_input(self.crs).name)


@dataclass(frozen=True)
class TerrainSummary:
    """A whole terrain.

    Attributes:
        layers: Finest first.
        region: Bounds in degrees that were asked for; None for all that tiles cover.
        halo: Metres around the region that were asked for.
        region_missing: Share of the region without an elevation.
        halo_missing: Share of the halo without an elevation on each side, west to north.
        memory: Bytes of all arrays. A mapped terrain needs that much of the disk; of memory only what is looked at.
        void_tiles: Names of files that were left out because nothing of them has an elevation.
        folder: Where the prepared terrain is; None for one in memory.
    """

    layers: tuple[LayerSummary, ...]
    region: Bounds | None
    halo: float
    region_missing: float
    halo_missing: Mapping[str, float]
    memory: int
    void_tiles: tuple[str, ...] = ()
    folder: str | None = None

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north limits of all layers in degrees; east > 180 across the antimeridian."""
        return united([layer.bounds for layer in self.layers])

    @property
    def extent_km(self) -> tuple[float, float]:
        """Kilometres from west to east (in the middle) and from south to north."""
        west, south, east, north = self.bounds
        middle, between = (south + north) / 2, (west + east) / 2
        halves = geodesic_distance([west, between], middle, [between, east], middle)  # not around the back of the earth
        return float(halves.sum()) / 1000, float(geodesic_distance(west, south, west, north)) / 1000

    @property
    def lowest(self) -> float:
        """Metres."""
        return min(layer.lowest for layer in self.layers)

    @property
    def highest(self) -> float:
        """Metres."""
        return max(layer.highest for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """All of it but where it lies, as numbers, strings, lists and dictionaries."""
        content = asdict(self)
        del content["folder"]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any], folder: str | None = None) -> "TerrainSummary":
        """Back from `to_json`, or from that read from a file."""
        layers = tuple(LayerSummary(**_tuples(layer)) for layer in content["layers"])
        return cls(**{**_tuples(content), "layers": layers, "folder": folder})

    def warnings(self) -> list[str]:
        """What a person should know before rendering: voids, what is missing, tiles that disagree."""
        told = [f"{name} has no elevation where it would be needed, and was left out" for name in self.void_tiles]
        if self.region_missing > 0:
            told.append(f"{_percent(self.region_missing)} of the region has no elevation")
        if gaps := {side: share for side, share in self.halo_missing.items() if share > 0}:
            sides = ", ".join(f"{_percent(share)} in the {side}" for side, share in gaps.items())
            told.append(
                f"the halo of {self.halo / 1000:g} km has no elevation for {sides}: mountains there will not be seen"
            )
        for number, layer in enumerate(self.layers, 1):
            if layer.left:
                told.append(f"layer {number}: {_share(layer.left, layer)} have no elevation; rays pass through them")
            if layer.implausible:
                told.append(f"layer {number}: {layer.implausible} elevations were implausible and taken for voids")
            if not 0 <= layer.accuracy <= COMMON_ACCURACY:
                metres = f"{layer.accuracy:g} m" if layer.accuracy > 0 else "an unknown distance"
                told.append(
                    f"layer {number}: its places are good to {metres}, by the coordinate operation '{layer.operation}'"
                )
            if layer.disagreement > 0:
                told.append(
                    f"layer {number}: where tiles overlap they differ by up to {layer.disagreement:g} m "
                    f"({layer.disagreeing}); the first counts"
                )
        return told

    def print(self) -> None:
        """Show it as tables in the terminal."""
        from crosslocate.console import console, say

        for table in self.tables():
            console().print(table)
        if self.folder is not None:
            say(f"prepared terrain: {self.folder}")
        for line in self.warnings():
            say(f"note: {line}")

    def tables(self) -> list["Table"]:
        """Tables of the whole, of its layers, and of their voids, for rich."""
        from rich.table import Table

        west, south, east, north = self.bounds
        across, up = self.extent_km
        whole = Table(title="Terrain", show_header=False, title_justify="left")
        whole.add_row("longitude, latitude", f"{west:.4f} to {east:.4f}, {south:.4f} to {north:.4f} degrees")
        whole.add_row("extent", f"{across:.1f} x {up:.1f} km (west-east x south-north)")
        whole.add_row("elevation", f"{self.lowest:.1f} to {self.highest:.1f} m")
        if self.region is not None:
            w, s, e, n = self.region
            whole.add_row("region, halo", f"{w:g} to {e:g}, {s:g} to {n:g} degrees; {self.halo / 1000:g} km")
        place = "in memory" if self.folder is None else "on disk, mapped"
        whole.add_row("posts and levels", f"{size_text(self.memory)} {place}")
        return [whole, self._layer_table(), *self._void_tables()]

    def _layer_table(self) -> "Table":
        from rich.table import Table

        table = Table(title="Layers, finest first; the first that covers a place counts", title_justify="left")
        for heading in ("", "CRS", "spacing", "posts", "tiles", "elevation"):
            table.add_column(heading, justify="left" if heading == "CRS" else "right")
        for number, layer in enumerate(self.layers, 1):
            table.add_row(
                str(number),
                layer.crs_name,
                f"{layer.spacing[0]:.1f} x {layer.spacing[1]:.1f} m",
                f"{layer.columns} x {layer.rows}",
                str(layer.tiles or "-"),
                f"{layer.lowest:.0f} to {layer.highest:.0f} m"
                + ("" if set(layer.units) <= {"metres"} else f" (from {', '.join(layer.units)})"),
            )
        return table

    def _void_tables(self) -> list["Table"]:
        """One table, of layers that had or have posts without an elevation; none where no layer has."""
        from rich.table import Table

        some = [(number, layer) for number, layer in enumerate(self.layers, 1) if layer.voids or layer.absent]
        table = Table(title="Posts without an elevation, and what they became", title_justify="left")
        for heading in ("layer", "void", "no tile", "from layers", "from neighbours", "sea", "left"):
            table.add_column(heading, justify="right")
        for number, layer in some:
            counts = (layer.voids, layer.absent, layer.filled_from_layers, layer.filled_from_neighbours, layer.sea)
            table.add_row(str(number), *(f"{count:,}" for count in (*counts, layer.left)))
        return [table] if some else []


def united(bounds: list[Bounds]) -> Bounds:
    """Bounds of several bounds; each is turned by whole turns to where it is nearest to the first."""
    first = bounds[0]
    turned = []
    for west, south, east, north in bounds:
        turn = 360.0 * round(((first[0] + first[2]) - (west + east)) / 2 / 360.0)
        turned.append((west + turn, south, east + turn, north))
    wests, souths, easts, norths = zip(*turned, strict=True)
    return min(wests), min(souths), max(easts), max(norths)


def size_text(count: int) -> str:
    """Bytes in words."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    """What was read from JSON, with tuples for lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "less than 0.1 %"


def _share(count: int, layer: LayerSummary) -> str:
    return f"{count} posts ({_percent(count / (layer.rows * layer.columns))})"
