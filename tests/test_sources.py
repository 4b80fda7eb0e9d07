"""The code that a result depends on: found by reading, whoever imports whom, and never executed."""

import hashlib
import pathlib
import sys

import pytest
import tiny

import fedmed
from fedmed.settings import sources

FILES = {
    "net_src.py": "import layers_src\n\ndef build(spec):\n    from house_src.deep.parts import head\n    return head\n",
    "layers_src.py": "import net_src, numpy, json, not_there\nraise SystemExit('a module was executed')\n",
    "house_src/__init__.py": "",
    "house_src/deep/__init__.py": "from .. import shared\n",
    "house_src/deep/parts.py": "from . import bits\nfrom ..other import thing\n",
    "house_src/deep/bits.py": "",
    "house_src/shared.py": "",
    "house_src/other.py": "import fedmed.study.plan\nfrom fedmed import models\n",
    "house_src/lonely.py": "",
    "unrelated_src.py": "",
}
SEEN = ["house_src", "house_src.deep", "house_src.deep.bits", "house_src.deep.parts", "house_src.other",
        "house_src.shared", "layers_src", "net_src"]  # fmt: skip


@pytest.fixture
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A current folder with a user's modules, of which one would end the program."""
    write(tmp_path, FILES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: pathlib.Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_all_that_a_module_imports_is_digested_and_nothing_is_executed(here: pathlib.Path) -> None:
    before, path = set(sys.modules), list(sys.path)
    found = sources.digests(["net_src"])
    assert list(found) == SEEN
    assert found["layers_src"] == sha(FILES["layers_src.py"])
    assert found["house_src"] == sha("")
    assert {name for name in set(sys.modules) - before if "_src" in name} == set()
    assert sys.path == path


@pytest.mark.parametrize("edited", ["net_src.py", "layers_src.py", "house_src/other.py", "house_src/deep/bits.py",
                                    "house_src/__init__.py", "house_src/shared.py"])  # fmt: skip
def test_an_edit_of_what_is_imported_changes_one_digest(here: pathlib.Path, edited: str) -> None:
    before = sources.digests(["net_src"])
    (here / edited).write_text(FILES[edited] + "# edited\n")
    after = sources.digests(["net_src"])
    module = edited.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    assert {name for name in SEEN if before[name] != after[name]} == {module}


@pytest.mark.parametrize("edited", ["unrelated_src.py", "house_src/lonely.py"])
def test_an_edit_of_another_file_changes_nothing(here: pathlib.Path, edited: str) -> None:
    before = sources.digests(["net_src"])
    (here / edited).write_text("edited = 1\n")
    assert sources.digests(["net_src"]) == before


def test_a_star_takes_the_modules_of_the_package(here: pathlib.Path) -> None:
    write(here, {"star_src.py": "from house_src import *\n"})
    assert "house_src.lonely" in sources.digests(["star_src"])


def test_a_module_of_another_folder_of_the_path_is_the_users_own(
    here: pathlib.Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    write(other, {"far_src.py": "x = 1\n"})
    write(here, {"near_src.py": "import far_src\n"})
    monkeypatch.syspath_prepend(str(other))
    assert sources.digests(["near_src"])["far_src"] == sha("x = 1\n")


def test_of_an_installed_package_only_its_own_modules_are_followed(
    here: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {
        "zoo_src/__init__.py": "from .cats import cat\n",
        "zoo_src/cats.py": "import keeper_src\n",
        "keeper_src.py": "",
    }
    write(here / "site-packages", installed)
    write(here, {"mine_src.py": "import zoo_src\n"})
    monkeypatch.syspath_prepend(str(here / "site-packages"))
    assert list(sources.digests(["zoo_src"])) == ["zoo_src", "zoo_src.cats"]
    assert list(sources.digests(["mine_src"])) == ["mine_src"], "a version stands for what is installed"


def test_what_has_no_source_says_so(here: pathlib.Path) -> None:
    write(here, {"folder_src/inside.py": "import math\n"})
    found = sources.digests(["sys", "nowhere_src.models", "folder_src.inside", "folder_src", "not a name"])
    assert found == {
        "folder_src": "no source",
        "folder_src.inside": sha("import math\n"),
        "not a name": "no source",
        "nowhere_src.models": "no source",
        "sys": "no source",
    }


@pytest.mark.parametrize("text", ["def (:\n", "\0", "x = " + "(" * 5000, "from ... import far\nfrom . import near\n"])
def test_a_file_that_cannot_be_read_as_python_is_digested_all_the_same(here: pathlib.Path, text: str) -> None:
    write(here, {"odd_src.py": text})
    assert sources.digests(["odd_src"]) == {"odd_src": sha(text)}


@pytest.mark.parametrize("name", ["net_src:build", "net_src.build"])
def test_settings_name_the_model_and_the_plugins(here: pathlib.Path, name: str) -> None:
    found = sources.of(tiny.settings(name, plugins=["unrelated_src"]))
    assert list(found) == sorted([*SEEN, "unrelated_src", "fedmed"])
    assert found["fedmed"] == sources.own()


def test_a_registered_model_depends_on_fedmed_alone() -> None:
    assert sources.of(tiny.settings("mlp")) == {"fedmed": sources.own()}


def test_an_edit_of_fedmed_is_other_code_where_it_decides_a_result(tmp_path: pathlib.Path) -> None:
    write(tmp_path, {"data/a.py": "1", "learning/b.py": "2", "reporting/c.py": "3", "system/seeds.py": "4"})
    first = sources._digest_of(tmp_path, sources._OWN)
    write(tmp_path, {"reporting/c.py": "edited", "learning/notes.md": "new", "system/files.py": "new"})
    assert sources._digest_of(tmp_path, sources._OWN) == first
    write(tmp_path, {"learning/b.py": "edited"})
    second = sources._digest_of(tmp_path, sources._OWN)
    (tmp_path / "learning/b.py").rename(tmp_path / "learning/d.py")
    third = sources._digest_of(tmp_path, sources._OWN)
    assert len({first, second, third}) == 3


def test_fedmeds_own_digest_is_of_files_that_there_are() -> None:
    root = pathlib.Path(fedmed.__file__).parent
    assert all((root / part).exists() for part in sources._OWN)
    assert len(sources.own()) == 64
