import re
from pathlib import Path


def test_every_marker_reaches_its_cases():
    # `parameterized` makes a list of functions, on which a marker above it is lost: the cases then
    # run where they must not.
    lost = re.compile(r"@pytest\.mark\.\w+.*\n(?: *@.*\n)*? *@parameterized\.")
    files = Path(__file__).parent.rglob("*_test.py")
    wrong = [str(path) for path in files if lost.search(path.read_text("utf-8"))]
    assert not wrong, f"put the markers below `parameterized`: {wrong}"
