"""Versions of a model are whole or not there, whoever writes at the same time."""

import concurrent.futures
import os
import time

import pytest

from keras_bert_lib.export.versions import is_version, split_version, write_version


def writer(content, before_end=lambda: None):
    """Makes a version of two files, with `before_end` called between them."""

    def write(directory):
        directory.mkdir()
        (directory / "saved_model.pb").write_text(content)
        before_end()
        (directory / "end").write_text(content)

    return write


def read(folder):
    """What stands in each version of a directory, and that all of it does."""
    found = {}
    for name in filter(is_version, os.listdir(folder)):
        found[name] = (folder / name / "saved_model.pb").read_text()
        assert (folder / name / "end").read_text() == found[name]
    return found


def test_the_next_number_is_taken(tmp_path):
    folder = tmp_path / "serving" / "name"
    assert write_version(folder, None, False, writer("a")) == folder / "1"
    assert write_version(folder, None, False, writer("b")) == folder / "2"
    assert write_version(folder, 30, False, writer("c")) == folder / "30"
    assert write_version(folder / "7", None, False, writer("d")) == folder / "7"
    (folder / "notes").mkdir()
    (folder / "100th").mkdir()
    assert write_version(str(folder), None, False, writer("e")) == folder / "31"
    assert read(folder) == {"1": "a", "2": "b", "30": "c", "7": "d", "31": "e"}


def test_a_version_is_replaced_only_where_that_is_asked_for(tmp_path):
    for path, version in [(tmp_path, 4), (tmp_path / "4", None), (tmp_path / "4", 4)]:
        write_version(path, version, True, writer("old"))
        with pytest.raises(FileExistsError, match=r"4 is there already.*overwrite=True"):
            write_version(path, version, False, writer("new"))
        assert read(tmp_path) == {"4": "old"}
        write_version(path, version, True, writer("new"))
        assert read(tmp_path) == {"4": "new"}
    assert os.listdir(tmp_path) == ["4"]


@pytest.mark.parametrize("path", ["name", "name/2"])
def test_what_fails_leaves_what_was_there(tmp_path, path):
    write_version(tmp_path / "name", 2, False, writer("old"))

    def fail():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_version(tmp_path / path, None, True, writer("new", fail))
    assert os.listdir(tmp_path / "name") == ["2"]
    assert read(tmp_path / "name") == {"2": "old"}


def test_servers_see_nothing_of_a_version_that_is_being_written(tmp_path):
    seen = []

    def look():
        seen.extend(name for name in os.listdir(tmp_path) if is_version(name))

    write_version(tmp_path, None, False, writer("a", look))
    assert seen == []
    assert read(tmp_path) == {"1": "a"}


def test_exporters_at_once_do_not_collide(tmp_path):
    contents = [str(i) for i in range(16)]

    def write(content):
        return write_version(tmp_path, None, False, writer(content, lambda: time.sleep(0.01)))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(write, contents))
    assert sorted(int(path.name) for path in paths) == list(range(1, 17))
    assert read(tmp_path) == {path.name: content for path, content in zip(paths, contents)}
    assert len(os.listdir(tmp_path)) == 16


def test_permissions_are_those_of_other_directories(tmp_path):
    (tmp_path / "other").mkdir()
    path = write_version(tmp_path / "name", None, False, writer("a"))
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_bad_arguments(tmp_path):
    for version in (-1, 1.0, "2", True, 2**63):
        with pytest.raises(ValueError, match="`version` must be a whole number"):
            split_version(tmp_path, version)
    with pytest.raises(ValueError, match=r"names version 3 itself.*Received: version=4"):
        split_version(tmp_path / "3", 4)
    (tmp_path / "file").write_text("a")
    with pytest.raises(ValueError, match="is a file"):
        write_version(tmp_path / "file", None, True, writer("a"))
    (tmp_path / "saved_model.pb").write_text("a")
    with pytest.raises(ValueError, match="is a SavedModel itself"):
        write_version(tmp_path, None, True, writer("a"))
    assert sorted(os.listdir(tmp_path)) == ["file", "saved_model.pb"]
