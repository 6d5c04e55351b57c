"""What a network is made from besides the configuration, known by its content: code and weights."""

import ast
import hashlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from hiddenmix.config.errors import ConfigError, UserError, show
from hiddenmix.config.schema import ImportConfig, ModelConfig


def with_digests(model: ModelConfig) -> ModelConfig:
    """`model` with `weights_digest` and `source` as the files now are.

    Raises `UserError` for files that are not there.
    """
    weights = None if model.weights is None else _weights_digest(model.weights)
    if isinstance(model, ImportConfig):
        return replace(model, weights_digest=weights, source=source_digest(model.target))
    return replace(model, weights_digest=weights)


def _weights_digest(path: str) -> str:
    try:
        place = at_home(path)
        if place.suffix != ".safetensors":
            raise ConfigError("model.weights", path, "a .safetensors file")
        if not place.is_file():
            what = "is no file" if place.exists() else "no such file"
            raise UserError(f"model.weights={show(path)}: {what}\n  allowed: a .safetensors file")
        status = place.stat()
        return _file_digest(str(place), status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise UserError(f"model.weights={path} cannot be read: {error.strerror}") from error


def at_home(path: str) -> Path:
    """`path`, whose `~` is the user's home; of a user that there is not, as it stands."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path's own raises for such a user


@lru_cache
def _file_digest(path: str, changed: int, size: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def source_digest(target: str) -> str:
    """16 digits of a SHA-256 of the code that `target` (`module.Class`) comes from: its file or whole
    package, and what these import from this folder, found without running any of it.

    Of files in this folder the syntax counts, so that comments, docstrings and layout do not, nor which
    Python reads them; of an installed package every byte.

    Raises `UserError` where there is no such module.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does, and the installed commands do not
    importlib.invalidate_caches()
    top = target.split(".", maxsplit=1)[0]
    digests: dict[str, str] = {}
    waiting = [top]
    while waiting:
        name = waiting.pop()
        files = () if name in digests else _files(name, installed=name == top)
        if name == top and not files and not digests:
            raise UserError(
                f"model.target={target}: there is no module {name}\n"
                "  allowed: module.Class of a file in this folder or of an installed package"
            )
        own = all(_is_own(path) for path in files)
        if files and (own or name == top):
            digests[name] = _digest(files, _own_digest) if own else _installed_digest(files)
            waiting += [each for path in files if own for each in _parsed(path.read_bytes())[1]]
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()[:16]


_IMPORTED: dict[str, tuple[ModuleSpec, str]] = {}
"""Of each module of this folder that was imported: its spec, which a reload replaces, and the digest of
its code then."""


def check_current(key: str, target: str, module: ModuleType) -> None:
    """Raise `UserError` where the code of `module`, imported for `key`=`target`, has changed since this
    process first asked: Python goes on with what it imported."""
    files = _files(target.split(".", maxsplit=1)[0], installed=False)
    spec = getattr(module, "__spec__", None)
    if spec is None or not files or not all(map(_is_own, files)):
        return  # a session's own code has no file; that of a package counts as it was at first
    now = source_digest(target)
    known, digest = _IMPORTED.get(module.__name__, (None, now))
    if known is not spec:
        _IMPORTED[module.__name__] = spec, now
    elif digest != now:
        raise UserError(
            f"{key}={show(target)}: its code has changed since this process imported it\n"
            "  restart Python, or put it back as it was"
        )


def _is_own(path: Path) -> bool:
    inside = path.is_relative_to(Path.cwd())
    return inside and not {"site-packages", "dist-packages"} & set(path.parts)


def _files(top: str, *, installed: bool) -> tuple[Path, ...]:
    """The file of a module, or all of a package's, the first of them in the folder of them all; of an
    installed package, which may have thousands, only where `installed`."""
    try:
        spec = importlib.util.find_spec(top)  # a top-level name: nothing is imported
    except (ImportError, ValueError):
        return ()
    if spec is None:
        return ()
    folders = [Path(folder).absolute() for folder in spec.submodule_search_locations or ()]
    if folders:
        if not installed and not all(map(_is_own, folders)):
            return ()
        return tuple(path for folder in folders for path in sorted(folder.rglob("*.py")))
    path = Path(str(spec.origin)).absolute()
    return (path,) if path.is_file() else ()


@lru_cache
def _installed_digest(files: tuple[Path, ...]) -> str:
    return _digest(files, lambda path: hashlib.sha256(path.read_bytes()).hexdigest())


def _own_digest(path: Path) -> str:
    return _parsed(path.read_bytes())[0]


def _digest(files: tuple[Path, ...], digest_of: Callable[[Path], str]) -> str:
    digest = hashlib.sha256()
    for path in files:
        # Not the whole path: the same code in another place is the same.
        name = "/".join(path.parts[-2:]) if len(files) > 1 else path.name
        digest.update(f"{name}\0{digest_of(path)}\n".encode())
    return digest.hexdigest()


@cache
def _parsed(code: bytes) -> tuple[str, tuple[str, ...]]:
    """A digest of what a file's `code` does, and the modules that it imports."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing it will warn of what is written oddly
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return hashlib.sha256(code).hexdigest(), ()  # importing it will say what is wrong
    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(node, name, [each for each in value if not _does_nothing(each)])
        if isinstance(node, ast.JoinedStr):  # Python 3.12 ends some with an empty text
            node.values = [each for each in node.values if getattr(each, "value", None) != ""]
    # Breadth first, each node with the number of its children, and no recursion as in `ast.dump`, whose
    # text also differs between versions of Python: newer ones have fields that are empty in older code.
    digest = hashlib.sha256()
    for node in ast.walk(tree):
        fields = [
            (name, [_told(each) for each in value] if isinstance(value, list) else _told(value))
            for name, value in ast.iter_fields(node)
            if value is not None and value != [] and name != "kind"  # the u of u"text"
        ]
        digest.update(ascii((type(node).__name__, fields)).encode())
    return digest.hexdigest(), tuple(_imports(tree))


def _does_nothing(statement: object) -> bool:
    """Whether it is a docstring, a bare constant or `pass`."""
    bare = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return bare or isinstance(statement, ast.Pass)


def _told(value: object) -> str:
    if isinstance(value, ast.AST):
        return "node"  # its own turn comes
    # Decimal digits of a number have a limit in Python.
    return hex(value) if type(value) is int else ascii(value)


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name.split(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]
