"""Which source code a result depends on, told from the files alone: no module is imported, so none is executed.

Imports are read from the text. What a module imports by a name that it computes, or from a path that it adds to
`sys.path` itself, is not seen, and neither are the files that it reads.
"""

import ast
import hashlib
import importlib
import importlib.util
import pathlib
import pkgutil
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder

from fedmed.settings import plugins
from fedmed.settings.config import RunConfig

NO_SOURCE = "no source"

# A module of these is digested where it is named; what it imports is not followed, since `own` or a version stands
# for it, and to read all of TensorFlow takes longer than many a run.
_KNOWN_OTHERWISE = ("fedmed", "tensorflow", "keras")
_OWN = ("settings", "system/seeds.py", "data", "statistics", "models", "learning", "engine")


def of(settings: RunConfig) -> dict[str, str]:
    """Returns `digests` of a model of the user's own and of the plugins, and `own` as "fedmed"."""
    model = settings.model.name
    named = [plugins.parted(model)[0]] if plugins.is_dotted(model) else []
    return dict(sorted({**digests([*named, *settings.plugins]), "fedmed": own()}.items()))


def own() -> str:
    """Returns the SHA-256 of those files of fedmed itself that decide what comes out of a run.

    An edit of fedmed counts as other code, which a version alone would not tell in a checkout.
    """
    return _digest_of(pathlib.Path(__file__).parents[1], _OWN)


def _digest_of(root: pathlib.Path, parts: Sequence[str]) -> str:
    files = [
        file for part in parts for file in ([root / part] if part.endswith(".py") else (root / part).rglob("*.py"))
    ]
    digest = hashlib.sha256()
    for name, file in sorted((file.relative_to(root).as_posix(), file) for file in files):
        content = file.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def digests(modules: Sequence[str]) -> dict[str, str]:
    """Returns the SHA-256 of the modules' source files and of all of the user's own that they import, sorted by name.

    A module is the user's own where it is found in the current folder or in another folder of `sys.path` that is
    neither Python's own nor of installed packages; of an installed package, where one of its modules is given.

    Args:
        modules: dotted names ("my_package.models").

    Returns:
        Of each dotted name the digest, or `NO_SOURCE` where there is none (built-in, C extension, not found). Packages
        on the way to a module are among them, as importing it executes their `__init__`.
    """
    with plugins.importable_from_here():
        importlib.invalidate_caches()
        return dict(sorted(_Search(modules).run().items()))


class _Search:
    """Goes from the given modules to all that they import."""

    def __init__(self, given: Sequence[str]) -> None:
        self._given = given
        self._tops = {name.partition(".")[0] for name in given}
        self._specs: dict[str, ModuleSpec | None] = {}
        self._found: dict[str, str] = {}

    def run(self) -> dict[str, str]:
        """Returns dotted names and digests."""
        waiting = [step for name in self._given for step in _steps(name)]
        while waiting:
            name = waiting.pop()
            if name not in self._found:
                waiting += self._take(name)
        return self._found

    def _take(self, name: str) -> list[str]:
        """Files a module's digest and returns the names of the user's own that it imports."""
        spec = self._spec(name)
        source = _source(spec) if spec else None
        if spec is None or source is None:
            # Of what is imported, many a name is no module; and a folder without an __init__.py has nothing to digest.
            if name in self._given or (spec is not None and spec.origin is not None):
                self._found[name] = NO_SOURCE
            return []
        self._found[name] = hashlib.sha256(source).hexdigest()
        imported = self._imported(source, name, spec.submodule_search_locations is not None)
        return [step for other in imported if self._is_followed(other) for step in _steps(other)]

    def _imported(self, source: bytes, name: str, is_package: bool) -> Iterator[str]:
        """Yields the dotted names of all that may be modules among what a source imports, wherever in it."""
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):  # theirs to mend, once it is imported
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = _base(node, name, is_package)
                yield base
                for alias in node.names:
                    yield from self._below(base) if alias.name == "*" else [f"{base}.{alias.name}"]

    def _below(self, package: str) -> list[str]:
        """Returns all modules of a package: `import *` takes those that its `__all__` names."""
        spec = self._spec(package) if self._is_followed(package) else None
        places = spec.submodule_search_locations if spec else None
        return [f"{package}.{module.name}" for module in pkgutil.iter_modules(list(places or []))]

    def _is_followed(self, name: str) -> bool:
        top = name.partition(".")[0]
        if top in _KNOWN_OTHERWISE:
            return False
        return top in self._tops or _is_users(self._spec(top))

    def _spec(self, name: str) -> ModuleSpec | None:
        if name not in self._specs:
            parent, _, last = name.rpartition(".")
            above = self._spec(parent) if parent else None
            if not last.isidentifier():
                self._specs[name] = None
            elif not parent:
                self._specs[name] = _top(name)
            else:
                places = above.submodule_search_locations if above else None
                self._specs[name] = PathFinder.find_spec(name, list(places)) if places else None
        return self._specs[name]


def _top(name: str) -> ModuleSpec | None:
    if (found := PathFinder.find_spec(name)) is not None:
        return found
    try:
        return importlib.util.find_spec(name)  # built in, or installed in place by a finder of its own
    except (ImportError, ValueError):
        return None


def _steps(name: str) -> list[str]:
    """Returns "a", "a.b", "a.b.c" for "a.b.c"."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _base(node: ast.ImportFrom, name: str, is_package: bool) -> str:
    """Returns what `from BASE import ...` in the module `name` means, dots at its start resolved."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    package = parts[: max(0, len(parts) - node.level + is_package)]
    return ".".join([*package, *([node.module] if node.module else [])])


def _source(spec: ModuleSpec) -> bytes | None:
    read = getattr(spec.loader, "get_data", None)
    if read is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    try:
        return read(spec.origin)
    except OSError:
        return None


def _is_users(spec: ModuleSpec | None) -> bool:
    """Whether a top-level module is neither Python's own nor installed."""
    if spec is None or not (spec.has_location or spec.submodule_search_locations):
        return False
    place = pathlib.Path(spec.origin or next(iter(spec.submodule_search_locations or ())))
    if {"site-packages", "dist-packages"} & set(place.parts):
        return False
    library = [pathlib.Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    return not any(
        place.is_relative_to(folder) or place.resolve().is_relative_to(folder.resolve()) for folder in library
    )
