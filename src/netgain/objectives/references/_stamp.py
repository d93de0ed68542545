"""What says that the files of a model are still the same, without reading gigabytes: their names, sizes and dates."""

from pathlib import Path

from netgain.models import embedded
from netgain.models.embedded import smollm2


def files_of(model: str) -> list[tuple[str, int, int]]:
    """(name, bytes, nanoseconds of the last change) of each file of a local or embedded model; a hub id has none.

    Numbers that were computed with other files are not found again, and are computed anew.
    """
    if model == "smollm2":
        packaged = smollm2.packaged()
        found = [packaged] if packaged is not None else []
    elif model in embedded.TINY:
        found = list(embedded.path(model).iterdir())
    else:
        place = Path(model).expanduser()
        found = [place] if place.is_file() else list(place.iterdir()) if place.is_dir() else []
    stats = [(file.name, file.stat()) for file in found if file.is_file() and file.suffix != ".md"]
    return sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
