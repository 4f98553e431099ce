"""Directories of numbered versions of a model, as TensorFlow Serving watches them."""

import errno
import os
import tempfile
from pathlib import Path


def split_version(path, version=None):
    """Tells the directory of a model from the number of a version of it.

    Args:
        path: `<name>`, or `<name>/<version>`: a path whose last part is a number is a version.
        version: int, or None for what `path` says, or else the next.

    Returns:
        Tuple of the directory `<name>`, `Path`, and the version as a str, None for the next.

    Raises:
        ValueError: if `version` is no version, or another than that of `path`.
    """
    path = Path(path)
    if version is not None and (type(version) is not int or not 0 <= version < 2**63):
        raise ValueError(f"`version` must be a whole number, 0 or more. Received: {version!r}")
    if is_version(path.name):
        if version is not None and int(path.name) != version:
            raise ValueError(
                f"{path} names version {path.name} itself. Leave out `version`, or give the "
                f"directory above. Received: version={version}"
            )
        return path.parent, path.name
    return path, None if version is None else str(version)


def is_version(name):
    """Whether a server takes a directory of this name for a version."""
    return name.isascii() and name.isdigit()


def check_version(path, version=None, overwrite=False):
    """Raises where a version cannot be written.

    Raises:
        FileExistsError: if it is there already, without `overwrite`.
        ValueError: if `path` or `version` is not what it should be.
    """
    folder, number = split_version(path, version)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; the versions of a model are in a directory.")
    if (folder / "saved_model.pb").exists():
        raise ValueError(
            f"{folder} is a SavedModel itself, and no directory of versions. Give another path, "
            f"or remove it. Received: path={str(path)!r}"
        )
    if number is not None and os.path.lexists(folder / number) and not overwrite:
        raise FileExistsError(
            f"{folder / number} is there already. Give another path, or replace it with "
            "`overwrite=True`."
        )


def write_version(path, version, overwrite, write):
    """Writes a version whole or not at all.

    It is written in a directory beside, whose name servers pass over since it is no number, and
    renamed when all of it is there. Where several processes write the next version at once, each
    gets a number of its own.

    Args:
        path: see `split_version`.
        version: see `split_version`.
        overwrite: bool, whether to replace a version that is there.
        write: callable that makes the directory whose `Path` it is given.

    Returns:
        The `Path` of the version.

    Raises:
        FileExistsError: see `check_version`.
        ValueError: see `check_version`.
    """
    check_version(path, version, overwrite)
    folder, number = split_version(path, version)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir=folder) as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        write(new)
        if number is None:
            return _rename_to_next(new, folder)
        target = folder / number
        if overwrite and target.exists():
            os.rename(target, old)
        try:
            os.rename(new, target)
        except OSError:
            if old.exists() and not target.exists():
                os.rename(old, target)
            raise
        return target


def _rename_to_next(new, folder):
    """Makes a directory the next version, also while others do the same."""
    while True:
        versions = [int(name) for name in os.listdir(folder) if is_version(name)]
        target = folder / str(max(versions, default=0) + 1)
        try:
            os.rename(new, target)
        except OSError as error:  # another process was first
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        else:
            return target
