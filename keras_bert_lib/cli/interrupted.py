"""What a training leaves in its output while it lasts, so that the same command goes on with it."""

import glob
import json
import os
import shutil


def check_output(output, settings, overwrite=None):
    """Checks that a training can be begun in a directory, or gone on with.

    A training keeps its state in `training/` in there, as `.npz` files, with the settings beside
    them: it is gone on with only if it would have come out the same from the start.

    Args:
        output: The directory.
        settings: Dict of what must be the same, of values that JSON can hold.
        overwrite: Whether what stands there may be replaced: by files of the same names once the
            training is done, and a training with other settings at once. None where the command
            has no --overwrite.

    Returns:
        The path of `training/`.

    Raises:
        FileExistsError: If the directory holds something else than an interrupted training.
        ValueError: If that training had other settings.
    """
    folder = os.path.join(output, "training")
    path = os.path.join(folder, "settings.json")
    # It is removed in the end, and no one's files may be.
    if os.path.isdir(folder) and os.listdir(folder) and not os.path.exists(path):
        raise FileExistsError(
            f"{folder} is not what a training leaves, which would stand there. Give another "
            f"--output. Received: {output}"
        )
    or_overwrite = "" if overwrite is None else ", or add --overwrite"
    if not has_state(folder):
        if not overwrite and (
            os.path.isfile(output)
            or (os.path.isdir(output) and set(os.listdir(output)) - {"training", "logs"})
        ):
            replacing = f"{or_overwrite} to replace it" if or_overwrite else ""
            raise FileExistsError(f"{output} exists already. Give another --output{replacing}.")
        # Nothing can be gone on with, and nothing of it may be taken for the new training's.
        shutil.rmtree(folder, ignore_errors=True)
        return folder
    with open(path, encoding="utf-8") as file:
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
            f"go on with it, or another --output{or_overwrite}. Received: {', '.join(changed)}"
        )
    if changed:
        shutil.rmtree(folder)
    else:
        print(f"Going on with the training in {output}.")
    return folder


def has_state(folder):
    """Whether `training/` holds what can be gone on from, beside what a step of NaN was fed."""
    paths = glob.glob(os.path.join(glob.escape(folder), "*.npz"))
    return any(not os.path.basename(path).startswith("nan") for path in paths)


def discard(output):
    """Removes what a training left in its output, and that too if nothing else is in it."""
    shutil.rmtree(os.path.join(output, "training"), ignore_errors=True)
    if os.path.isdir(output) and not os.listdir(output):
        os.rmdir(output)


def write_json(value, path):
    """Writes a JSON file, whole or not at all."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
    os.replace(path + ".tmp", path)
