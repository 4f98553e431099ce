"""The vectors that the Android and the iOS kit test themselves by are those of today's Python."""

import pytest

from tests.export import make_kit_vectors


@pytest.mark.parametrize("path", make_kit_vectors.PATHS)
def test_vectors_are_current(path):
    with open(path, encoding="utf-8") as file:
        assert file.read() == make_kit_vectors.content(), (
            "run PYTHONPATH=. python tests/export/make_kit_vectors.py"
        )
