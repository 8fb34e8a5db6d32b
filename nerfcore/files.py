"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from nerfcore.errors import OutputError


def write_file(path: Path, content: bytes | str) -> None:
    """Writes beside the target, flushes to disk, then renames: a kill at any moment leaves the old file whole.

    Raises OutputError naming the path (no permission, full disk, not a folder).
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        try:
            beside.unlink(missing_ok=True)
        except OSError:
            pass
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); choose another --out or free space"
        ) from error
