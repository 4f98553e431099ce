"""Derives the Bazel targets of this repository from its Python files, and writes `BUILD`.

    python tests/build_targets.py

One target a file, named after it. What a file imports is what its target depends on, so nobody
has to keep the two alike by hand; `build_test.py` says when they are not.
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Labels of packages whose import has another name than the package.
DISTRIBUTIONS = {
    "absl": "absl_py",
    "google": "protobuf",
    "sklearn": "scikit_learn",
    "yaml": "pyyaml",
}
# What the tests compare with where it is installed; under Bazel it is not, and they skip.
OPTIONAL = {
    "apache_beam",
    "datasets",
    "grpc",
    "kagglehub",
    "keras_hub",
    "kubernetes_validate",
    "mediapipe",
    "official",
    "onnxruntime",
    "tensorflow_serving",
    "tensorflow_text",
    "tf_keras",
    "torch",
    "transformers",
}

HEADER = '''\
"""Bazel targets of the library, the export programs and the tests.

Written by `python tests/build_targets.py`; run it again after adding a file or an import.
"""

load("@rules_python//python:defs.bzl", "py_binary", "py_library", "py_test")

package(default_visibility = ["//visibility:public"])

alias(
    name = "keras_bert_lib",
    actual = ":keras_bert_lib/__init__",
)

filegroup(
    name = "sources",
    srcs = glob(
        ["**/*.py"],
        exclude = ["bazel-*/**"],
    ) + [
        "BUILD",
        "pyproject.toml",
    ],
)

filegroup(
    name = "test_data",
    srcs = glob(
        ["tests/**"],
        allow_empty = True,
        exclude = ["**/*.py"],
    ) + ["pyproject.toml"],
)
'''


def python_files(root=ROOT):
    """Returns the library's modules, the export programs and the tests, as paths from `root`."""
    return sorted(
        path.relative_to(root).as_posix()
        for folder in ("keras_bert_lib", "export", "tests")
        for path in (root / folder).rglob("*.py")
    )


def imported_modules(source, modules, package=""):
    """Returns the dotted names that `source` imports, each as far as it names a module.

    `package` is the dotted name of the source's folder, which `from .x import y` means.

    `from keras_bert_lib.text import vocabulary` imports a module of this repository where `modules`
    holds it, and a name out of the package `keras_bert_lib.text` where it does not.
    `import_module(f"keras_bert_lib.cli.{name}")` may import any module of that package.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = f"{package}.{node.module}" if node.level else node.module
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                names.add(whole if whole in modules else module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            pattern = ast.unparse(node.args[0]).lstrip("f").strip("'\"")
            if "{" not in pattern:
                names.add(pattern)
            else:
                package = pattern[: pattern.index("{")]
                names |= {m for m in modules if m.startswith(package) and package.endswith(".")}
    return names


def expected_targets(root=ROOT):
    """Returns the targets that `BUILD` should hold.

    Returns:
        dict of str to dict: by name, the attributes of each target and its rule under `"rule"`.
    """
    files = python_files(root)
    modules = {
        file.removesuffix(".py").removesuffix("/__init__").replace("/", "."): file for file in files
    }
    return {file.removesuffix(".py"): _target(file, modules, root) for file in files}


def _target(file, modules, root):
    path = root / file
    source = path.read_text("utf-8")
    name = file.removesuffix(".py")
    package = ".".join(Path(file).parent.parts)
    deps = {_label(module, modules) for module in imported_modules(source, modules, package)}
    target = {"rule": "py_library", "name": name, "srcs": [file]}
    data = sorted(p.relative_to(root).as_posix() for p in path.parent.glob(f"{path.stem}.npz"))
    if file.endswith("_test.py"):
        # pytest runs the file; run by itself it would define tests, call none, and pass.
        runner = "tests/bazel_main.py"
        target |= {"rule": "py_test", "srcs": sorted([file, runner]), "main": runner}
        target |= {"args": [file], "size": "large"}
        data = ["sources"] if name == "tests/build_test" else ["test_data"]
        data = [f":{label}" for label in data]
        deps |= {"@pypi//pytest"} | {
            f":{parent.as_posix()}/conftest"
            for parent in Path(file).parents
            if (root / parent / "conftest.py").exists()
        }
    elif file.startswith("export/") and "__main__" in source:
        target["rule"] = "py_binary"
    elif file.startswith("tests/"):
        target["testonly"] = True
    if not file.startswith("keras_bert_lib/"):
        target["imports"] = ["."]
    if data:
        target["data"] = data
    deps -= {None, f":{name}"}
    if deps:
        # Buildifier's order: labels of this file first.
        target["deps"] = sorted(deps, key=lambda label: (not label.startswith(":"), label))
    return target


def _label(module, modules):
    if module in modules:
        return ":" + modules[module].removesuffix(".py")
    top = module.split(".")[0]
    if top in OPTIONAL or top in sys.stdlib_module_names:
        return None
    return f"@pypi//{DISTRIBUTIONS.get(top, top)}"


def read_targets(text):
    """Returns the targets that the text of a `BUILD` file holds, in order.

    The part of Starlark used there is Python too, so that `ast` reads it.
    """
    targets = []
    for node in ast.parse(text).body:
        call = getattr(node, "value", None)
        if isinstance(call, ast.Call) and call.func.id in ("py_binary", "py_library", "py_test"):
            target = {"rule": call.func.id}
            targets.append(target | {k.arg: ast.literal_eval(k.value) for k in call.keywords})
    return targets


def render(targets):
    """Returns the text of a `BUILD` file that holds `targets`, as buildifier formats it."""
    order = ("name", "size", "testonly", "srcs", "args", "data", "imports", "main", "deps")
    parts = [HEADER]
    for target in targets.values():
        lines = [f"{target['rule']}("]
        for key in order:
            value = target.get(key)
            if isinstance(value, list) and len(value) > 1:
                lines += [f"    {key} = [", *(f'        "{item}",' for item in value), "    ],"]
            elif value is not None:
                shown = repr(value).replace("'", '"')
                lines.append(f"    {key} = {shown},")
        parts.append("\n".join([*lines, ")\n"]))
    return "\n".join(parts)


if __name__ == "__main__":
    (ROOT / "BUILD").write_text(render(expected_targets()), "utf-8")
