"""How file names of CrossLocate become names and path templates, and which other images of a view lie beside them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow.compute as pc

from crosslocate.data.storage import locate
from crosslocate.formats.texts import Texts

ENDINGS = {"depth": ".exr", "segments": ".png", "silhouettes": ".png", "photo": ".jpg"}
FOLDERS = {"depth": "depth", "segments": "segments", "silhouettes": "silhouettes", "photo": "original"}
"""What CrossLocate calls a modality in the names of folders and files."""


@dataclass(frozen=True)
class Naming:
    """Names of images, and path templates by modality (with ``{name}`` or ``{stem}``) that lead to their files."""

    names: Sequence[str]
    images: dict[str, str]

    @property
    def main(self) -> str | None:
        """The modality whose files have these names: the first one; None without images."""
        return next(iter(self.images), None)


def split_names(filenames: Sequence[str]) -> tuple[Sequence[str], str]:
    """Names of images, and the template that gives their file names back.

    What all files end in is left out: ``_depth.exr`` of views, or only ``.jpg``. Files of different types keep their
    whole names.
    """
    if isinstance(filenames, Texts) and (ending := PurePosixPath(filenames[0]).suffix):
        return _split_texts(filenames, ending)
    endings = {PurePosixPath(filename).suffix for filename in filenames}
    if len(endings) != 1:
        return list(filenames), "{name}"
    ending = endings.pop()
    kinds = {_last_part(filename, ending) for filename in filenames}
    if len(kinds) == 1:
        ending = kinds.pop() + ending
    return [filename[: len(filename) - len(ending)] for filename in filenames], f"{{name}}{ending}"


def _split_texts(filenames: Texts, ending: str) -> tuple[Sequence[str], str]:
    """The same as `split_names`, of millions, the first of which has this ending."""
    names = filenames.array
    bare = pc.match_substring_regex(names, rf"(^|/){re.escape(ending)}$")  # such have no ending
    if not pc.all(pc.and_not(pc.ends_with(names, ending), bare)).as_py():
        return filenames, "{name}"
    longer = _last_part(filenames[0], ending) + ending
    if pc.all(pc.match_substring_regex(names, rf"(?s).{re.escape(longer)}$")).as_py():
        ending = longer
    return Texts(pc.utf8_slice_codeunits(names, 0, -len(ending))), f"{{name}}{ending}"


def folders_beside(root: Path, folder: str, modality: str) -> dict[str, Path]:
    """Where the images of the other modalities are, by modality; only those that are there.

    Beside ``database_depth`` these are ``database_segments`` and so on; beside ``query_original_result``, and beside
    a folder in another resolution, ``query_depth_result`` and so on.

    Args:
        root: Folder of the data set.
        folder: Name of the main images' folder in it.
        modality: What these show.
    """
    found: dict[str, Path] = {}
    kind = re.compile(rf"(?<=_){FOLDERS[modality]}(?=_|$)")
    if not kind.search(folder):
        return found
    for other, called in FOLDERS.items():
        names = [kind.sub(called, folder, count=1)]
        if folder.startswith("query_"):
            names.append(f"query_{called}_result")
        places = (locate(root, name) for name in names if other != modality and name != folder)
        if (place := next((place for place in places if place is not None), None)) is not None:
            found[other] = place
    return found


def name_images(filenames: Sequence[str], modality: str, folders: Mapping[str, Path | str]) -> Naming:
    """Names of images and their path templates.

    Args:
        filenames: Names of the files of the main modality.
        modality: What these show.
        folders: Folders by modality: the main one, and those of `folders_beside`.
    """
    names, template = split_names(filenames)
    images = {modality: f"{folders[modality]}/{template}"}
    for other, folder in folders.items():
        if other != modality and (file := _companion(template, other, FOLDERS[modality])):
            images[other] = f"{folder}/{file}"
    return Naming(names, images)


def _companion(template: str, modality: str, kind: str) -> str | None:
    """The template of another modality's files, ``kind`` being the main one's; None where nothing says how."""
    stem = template.rpartition(".")[0]
    if stem == f"{{name}}_{kind}":
        return f"{{name}}_{FOLDERS[modality]}{ENDINGS[modality]}"
    if stem == "{name}":
        return f"{{name}}{ENDINGS[modality]}"
    return f"{{stem}}{ENDINGS[modality]}" if template == "{name}" else None


def _last_part(filename: str, ending: str) -> str:
    """``_depth`` of ``000001_depth.exr``: the kind of a view's image; nothing of other names."""
    stem = filename[: len(filename) - len(ending)]
    part = stem[stem.rfind("_") :] if "_" in stem else ""
    return part if part[1:] in FOLDERS.values() and len(part) < len(stem) else ""
