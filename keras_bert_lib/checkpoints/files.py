"""Files of model directories, whatever the format."""

import contextlib
import json
import os
import shutil
import tempfile


def read_json(path):
    """Returns the dict that a JSON file holds."""
    try:
        with open(path, encoding="utf-8") as file:
            contents = json.load(file)
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(contents, dict):
        raise ValueError(f"{path} must hold a JSON object. Received: {type(contents).__name__}")
    return contents


def write_json(path, contents):
    """Writes a dict as a JSON file; the same dict gives the same bytes."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(contents, file, indent=2, sort_keys=True, ensure_ascii=False)
        file.write("\n")


@contextlib.contextmanager
def written_aside(directory):
    """Yields a folder whose files are moved into `directory` when all of them are whole.

    Args:
        directory: path; made where it does not exist.
    """
    os.makedirs(directory, exist_ok=True)
    # Within the directory: os.replace does not cross file systems.
    temporary = tempfile.mkdtemp(prefix=".saving-", dir=directory)
    try:
        yield temporary
        for folder, _, names in os.walk(temporary):
            target = os.path.join(directory, os.path.relpath(folder, temporary))
            os.makedirs(target, exist_ok=True)
            for name in sorted(names):
                os.replace(os.path.join(folder, name), os.path.join(target, name))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
