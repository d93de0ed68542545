"""Where a file that a study names is: an absolute path as it is, else in $NETGAIN_DATA, else beside the study file."""

import os
from pathlib import Path


def places(path: str, folder: Path | None) -> list[Path]:
    """Where a path may be, the first place first."""
    asked = Path(path).expanduser()
    if asked.is_absolute():
        return [asked]
    root = os.environ.get("NETGAIN_DATA")
    return [*([Path(root) / asked] if root else []), (folder or Path()) / asked]


def is_there(path: str, folder: Path | None) -> bool:
    """Whether a path is in any of its places."""
    return any(place.exists() for place in places(path, folder))
