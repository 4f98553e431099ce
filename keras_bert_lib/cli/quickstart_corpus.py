"""The text that comes with every Python: what the quickstart trains on.

The docstrings of the standard library and the language topics of `help()` are read from the source
files with `ast`. Nothing is imported, nothing is downloaded. They make about 2.2 MB of English, and
a labelled task: to which part of the library does a docstring belong?
"""

import ast
import csv
import hashlib
import os
import re
import sysconfig
import warnings
from typing import NamedTuple

# The areas follow the chapters of the library reference, small neighbouring chapters merged. A name
# stands for the module and everything below it; the longest name wins ("os.path" before "os").
AREAS = {
    "text": (
        "string re sre_compile sre_constants sre_parse difflib textwrap stringprep codecs "
        "encodings gettext locale pprint reprlib rlcompleter struct"
    ),
    "data types": (
        "datetime _strptime zoneinfo calendar collections _collections_abc heapq bisect weakref "
        "_weakrefset types copy enum graphlib functools operator numbers decimal fractions random "
        "statistics _pylong abc _py_abc dataclasses typing contextlib"
    ),
    "files": (
        "pathlib os.path nturl2path stat filecmp tempfile glob fnmatch linecache shutil "
        "fileinput pickle pickletools _compat_pickle copyreg shelve dbm sqlite3 gzip bz2 lzma "
        "_compression zipfile tarfile csv configparser tomllib netrc plistlib xdrlib wave aifc "
        "sunau chunk sndhdr imghdr colorsys"
    ),
    "operating system": (
        "os io argparse optparse getopt logging getpass curses platform ctypes pty tty pipes shlex "
        "cmd hashlib hmac secrets crypt _osx_support _aix_support _ios_support _android_support"
    ),
    "concurrency": (
        "threading _threading_local multiprocessing concurrent subprocess sched queue contextvars "
        "asyncio asyncore asynchat selectors signal"
    ),
    "internet data": (
        "email json mailbox mailcap mimetypes base64 binhex quopri uu html _markupbase xml"
    ),
    "internet protocols": (
        "socket ssl webbrowser wsgiref urllib http ftplib poplib imaplib smtplib smtpd nntplib "
        "telnetlib uuid socketserver xmlrpc ipaddress cgi cgitb"
    ),
    "graphics": "tkinter turtle turtledemo idlelib",
    "development": (
        "pydoc doctest unittest lib2to3 bdb pdb timeit trace tracemalloc profile cProfile pstats "
        "distutils ensurepip venv zipapp"
    ),
    "language": (
        "ast symtable token tokenize keyword tabnanny pyclbr py_compile compileall dis opcode "
        "_opcode_metadata importlib zipimport pkgutil modulefinder runpy imp code codeop inspect "
        "traceback warnings site _sitebuiltins sysconfig __future__ _pyrepl"
    ),
}

# Modules that share their text with another one, so that both stand on the same side of the split.
_SAME_MODULE = {
    "_pydecimal": "decimal",
    "_pydatetime": "datetime",
    "_pyio": "io",
    "posixpath": "os.path",
    "ntpath": "os.path",
    "genericpath": "os.path",
}
# Tests, and what is not the standard library's own text.
_SKIPPED_FOLDERS = {
    "__pycache__", "dist-packages", "idle_test", "lib-dynload", "pydoc_data", "site-packages",
    "test", "tests",
}  # fmt: skip
_HELD_OUT_SHARE = 0.22
_MIN_WORDS = 5


class Docstring(NamedTuple):
    """A docstring and the dotted name of the module it stands in."""

    module: str
    text: str


def _module_name(path, root):
    name = os.path.relpath(path, root)[: -len(".py")].replace(os.sep, ".")
    name = name.removesuffix(".__init__").removesuffix(".__main__")
    head, dot, rest = name.partition(".")
    return _SAME_MODULE.get(head, head) + dot + rest


def _docstrings_of(path):
    """The docstrings of one source file, in the order of the file."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # An invalid escape in someone's string is not ours.
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []  # Templates and broken files: the rest of the library is enough.
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    nodes.sort(key=lambda node: getattr(node, "lineno", 0))
    texts = (ast.get_docstring(node) for node in nodes)
    # Lone surrogates can stand in a string literal but not in a UTF-8 file.
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts if text]


def read_docstrings(root=None):
    """Reads the docstrings of the standard library, each text once.

    Args:
        root: The folder of the standard library; the running Python's own by default.

    Returns:
        A list of `Docstring(module, text)`, sorted by file, in the order of each file.
    """
    root = root or sysconfig.get_paths()["stdlib"]
    found, seen = [], set()
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if name not in _SKIPPED_FOLDERS)
        for name in sorted(files):
            if not name.endswith(".py"):
                continue
            path = os.path.join(folder, name)
            module = _module_name(path, root)
            for text in _docstrings_of(path):
                if text not in seen:  # Copies would stand on both sides of the split.
                    seen.add(text)
                    found.append(Docstring(module, text))
    return found


def read_topics(root=None):
    """Reads the language topics of `help()`; an empty list where this Python has none."""
    root = root or sysconfig.get_paths()["stdlib"]
    try:
        with open(os.path.join(root, "pydoc_data", "topics.py"), "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError):
        return []
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "topics":
            return list(ast.literal_eval(node.value).values())
    return []


def area_of(module):
    """The area of a module, by its longest listed prefix; None where the table names none."""
    while module:
        if module in _AREA_OF_MODULE:
            return _AREA_OF_MODULE[module]
        module = module.rpartition(".")[0]
    return None


_AREA_OF_MODULE = {module: area for area, names in AREAS.items() for module in names.split()}


def held_out_modules(rows, share=_HELD_OUT_SHARE):
    """The modules set apart: of each area, whole modules until a share of its rows is reached.

    The order is that of a hash of the module's name: the same in every run, and a module that a
    new Python brings does not reorder the others.
    """
    sizes = {}
    for _, area, module in rows:
        modules = sizes.setdefault(area, {})
        modules[module] = modules.get(module, 0) + 1
    chosen = set()
    for modules in sizes.values():
        wanted, held = share * sum(modules.values()), 0
        for module in sorted(modules, key=lambda name: hashlib.sha256(name.encode()).digest()):
            if held + modules[module] <= wanted:
                chosen.add(module)
                held += modules[module]
    return chosen


class Corpus(NamedTuple):
    """What the quickstart trains on and what it is measured on; no module is in both.

    `train_documents` and `held_out_documents` are lists of str, for pretraining: one document a
    module (its docstrings in order), one a language topic. `train_rows` and `held_out_rows` are
    lists of `(text, area, module)`, for the labelled task.
    """

    train_documents: list
    held_out_documents: list
    train_rows: list
    held_out_rows: list


def build_corpus(root=None):
    """Reads the standard library's text and splits it by module.

    Only the docstring itself is a row's text: neither the name of what it documents nor that of
    the module is added, as either would give the area away. Docstrings of fewer than five words
    and modules outside the areas make no rows.

    Args:
        root: The folder of the standard library; the running Python's own by default.

    Returns:
        A `Corpus`.

    Raises:
        ValueError: Where the folder holds no docstrings (some stripped-down Pythons).
    """
    docstrings = read_docstrings(root)
    if len(docstrings) < 1000:
        raise ValueError(
            "The standard library of this Python holds too few docstrings to train on. Use a "
            f"Python with its sources. Received: {len(docstrings)} docstrings in "
            f"{root or sysconfig.get_paths()['stdlib']}"
        )
    rows = [
        (" ".join(docstring.text.split()), area_of(docstring.module), docstring.module)
        for docstring in docstrings
        if len(docstring.text.split()) >= _MIN_WORDS and area_of(docstring.module)
    ]
    held_out = held_out_modules(rows)
    documents = {False: {}, True: {}}
    for module, text in docstrings:
        documents[module in held_out].setdefault(module, []).append(text)
    return Corpus(
        ["\n\n".join(texts) for texts in documents[False].values()] + read_topics(root),
        ["\n\n".join(texts) for texts in documents[True].values()],
        [row for row in rows if row[2] not in held_out],
        [row for row in rows if row[2] in held_out],
    )


def write_documents(documents, path):
    """Writes documents as text: a paragraph a line, and a blank line after each document."""
    paragraph_breaks = re.compile(r"\n\s*\n")
    with open(path, "w", encoding="utf-8") as file:
        for text in documents:
            for paragraph in paragraph_breaks.split(text.strip()):
                file.write(" ".join(paragraph.split()) + "\n")
            file.write("\n")


def write_rows(rows, path):
    """Writes labelled texts as CSV with the columns text, area and module."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "area", "module"])
        writer.writerows(rows)
