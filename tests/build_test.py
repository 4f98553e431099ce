import graphlib
import re

from tests import build_targets

HINT = "Run `python tests/build_targets.py`."


def build_file():
    return build_targets.read_targets((build_targets.ROOT / "BUILD").read_text("utf-8"))


def test_every_file_has_one_target():
    sources = [source for target in build_file() for source in target["srcs"]]
    sources = [source for source in sources if source != "tests/bazel_main.py"]
    files = [file for file in build_targets.python_files() if file != "tests/bazel_main.py"]
    missing = sorted(set(files) - set(sources))
    gone = sorted(set(sources) - set(files))
    twice = sorted({source for source in sources if sources.count(source) > 1})
    assert not missing, f"no Bazel target for {missing}. {HINT}"
    assert not gone, f"Bazel targets for files that do not exist: {gone}. {HINT}"
    assert not twice, f"more than one Bazel target for {twice}. {HINT}"


def test_targets_depend_on_what_their_files_import():
    targets = {target["name"]: target for target in build_file()}
    wrong = {}
    for name, expected in build_targets.expected_targets().items():
        depends, imports = set(targets[name].get("deps", [])), set(expected.get("deps", []))
        if depends != imports:
            wrong[name] = f"lacks {sorted(imports - depends)}, need not {sorted(depends - imports)}"
    assert not wrong, f"{wrong}. {HINT}"


def test_file_is_as_written():
    text = (build_targets.ROOT / "BUILD").read_text("utf-8")
    same = text == build_targets.render(build_targets.expected_targets())
    assert same, f"`BUILD` is not as its writer writes it. {HINT}"


def test_dependencies_point_one_way():
    # What each part of the library may import of the others; `docs/design.md` says why.
    allowed = {
        "text": set(),
        "layers": set(),
        "checkpoints": set(),
        "training": {"backend"},
        "data": {"text"},
        "models": {"backend", "layers", "checkpoints", "text"},
        "evaluation": {"checkpoints", "models"},
        "export": {"backend", "evaluation", "models", "text", "version"},
    }
    modules = {
        file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for file in build_targets.python_files()
    }
    wrong = []
    for file in build_targets.python_files():
        part = file.split("/")[1] if file.startswith("keras_bert_lib/") else None
        if part not in allowed:
            continue
        source = (build_targets.ROOT / file).read_text("utf-8")
        for module in build_targets.imported_modules(source, modules):
            if module.startswith("keras_bert_lib"):
                other = module.split(".")[1] if "." in module else "the package itself"
                if other != part and other not in allowed[part]:
                    wrong.append(f"{file} imports {module}")
    assert not wrong


def test_there_are_no_circles():
    targets = build_targets.expected_targets()
    graph = {
        name: {label[1:] for label in target.get("deps", []) if label.startswith(":")}
        for name, target in targets.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_packages_are_declared():
    setup = (build_targets.ROOT / "setup.py").read_text("utf-8")
    declared = {
        group: {
            re.split(r"[<>=]", requirement)[0].lower().replace("-", "_")
            for requirement in re.findall(r'^ +"([^"]+)",', text, re.M)
        }
        for group, text in {
            "install": setup[setup.index("INSTALL_REQUIRES = [") : setup.index("EXTRAS_REQUIRE")],
            "test": setup[setup.index('"test": [') : setup.index('"parity": [')],
        }.items()
    }
    declared["test"] |= declared["install"]
    lock = (build_targets.ROOT / "requirements_lock.txt").read_text("utf-8")
    locked = {line.split("==")[0].lower().replace("-", "_") for line in lock.split("\n")}
    for name, target in build_targets.expected_targets().items():
        packages = {label[7:] for label in target.get("deps", []) if label.startswith("@pypi//")}
        group = "test" if name.startswith("tests/") else "install"
        # The runtime that exported files are made for, where TensorFlow's own stands in, what draws
        # reports and what reads Parquet: all are asked for.
        if group == "install":
            packages -= {"ai_edge_litert", "matplotlib", "pyarrow"}
        assert packages <= declared[group], f"{name} imports what setup.py does not name"
        assert packages <= locked, f"{name} imports what requirements_lock.txt does not name"


def test_reads_imports():
    source = (
        "import os.path\nimport numpy as np\nfrom a.b import c, d\ndef f():\n    from a import b\n"
    )
    modules = {"a": "a/__init__.py", "a.b": "a/b/__init__.py", "a.b.c": "a/b/c.py"}
    names = build_targets.imported_modules(source, modules)
    assert names == {"os.path", "numpy", "a.b.c", "a.b"}
    assert build_targets.imported_modules("from .b import c", modules, "a") == {"a.b.c"}


def test_names_what_is_missing(tmp_path):
    for file, source in {
        "keras_bert_lib/__init__.py": "from keras_bert_lib.text.words import words\n",
        "keras_bert_lib/text/words.py": "import re\nimport numpy as np\nfrom absl import flags\n",
        "export/program.py": "import keras_bert_lib as kbl\nif __name__ == '__main__':\n    kbl\n",
        "tests/text/words_test.py": "from keras_bert_lib.text import words\n",
    }.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    targets = build_targets.expected_targets(tmp_path)
    assert {name: target.get("deps") for name, target in targets.items()} == {
        "keras_bert_lib/__init__": [":keras_bert_lib/text/words"],
        "keras_bert_lib/text/words": ["@pypi//absl_py", "@pypi//numpy"],
        "export/program": [":keras_bert_lib/__init__"],
        "tests/text/words_test": [":keras_bert_lib/text/words", "@pypi//pytest"],
    }
    assert targets["export/program"]["rule"] == "py_binary"
    assert targets["tests/text/words_test"]["main"] == "tests/bazel_main.py"
    assert build_targets.read_targets(build_targets.render(targets)) == list(targets.values())
