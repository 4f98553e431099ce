"""What a training leaves in its output while it lasts, so that the same command goes on with it."""

import glob
import json
import os
import shutil


def check_output(output, settings, overwrite=False):
    """Checks that a training can be begun in a directory, or gone on with.

    A training keeps its state in `training/` in there, as `.npz` files, with the settings beside
    them: it is gone on with only if it would have come out the same from the start.

    Args:
        output: The directory.
        settings: Dict of what must be the same, of values that JSON can hold.
        overwrite: Whether what stands there may be replaced: by files of the same names once the
            training is done, and a training with other settings at once.

    Returns:
        The path of `training/`.

    Raises:
        FileExistsError: If the directory holds something else than an interrupted training.
        ValueError: If that training had other settings.
    """
    folder = os.path.join(output, "training")
    if not glob.glob(os.path.join(glob.escape(folder), "*.npz")):
        if not overwrite and (
            os.path.isfile(output)
            or (os.path.isdir(output) and set(os.listdir(output)) - {"training", "logs"})
        ):
            raise FileExistsError(f"{output} exists already. Give another --output.")
        return folder
    with open(os.path.join(folder, "settings.json"), encoding="utf-8") as file:
        before = json.load(file)
    settings = json.loads(json.dumps(settings))  # tuples become lists, as they did in the file
    changed = [
        f"{name}={settings.get(name)!r} (was {before.get(name)!r})"
        for name in sorted(before | settings)
        if settings.get(name) != before.get(name)
    ]
    if changed and not overwrite:
        raise ValueError(
            f"{output} holds an interrupted training with other settings. Give the same ones to "
            f"go on with it, or another --output. Received: {', '.join(changed)}"
        )
    if changed:
        shutil.rmtree(folder)
    else:
        print(f"Going on with the training in {output}.")
    return folder


def write_json(value, path):
    """Writes a JSON file, whole or not at all."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
    os.replace(path + ".tmp", path)
