"""Writes files whole or not at all."""

import os
from pathlib import Path


def write_file(path, content):
    """Writes a file under another name first, so that half of it never stands there.

    Args:
        path: file to write, replaced where it is there. Its directory is made.
        content: bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
