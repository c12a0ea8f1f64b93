"""The rooms of the house: who may import whom, and that the door opens quickly."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import klm_utils

PACKAGE = Path(klm_utils.__file__).parent
ORDER = ["errors", "lazy", "threads", "progress", "files", "data", "knowledge", "embedding", "fusion", "losses"]
ORDER += ["gradients", "plots", "evaluation", "models", "training", "course"]
DOORS = {"errors", "files", "course", "data"}  # what the command may import
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"torch", "pandas", "numpy", "transformers", "sklearn", "scipy", "matplotlib", "pooch", "nbformat"}


def room(path: Path) -> str:
    """The room of a module: the first part of its path below the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(source: str, path: Path) -> set[str]:
    """Rooms that a module imports, at its top or inside of a function, by absolute or relative name."""
    package = ["klm_utils", *path.relative_to(PACKAGE).parts[:-1]]
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names += [f"{module}.{alias.name}" for alias in node.names]
    return {parts[1] for name in names if (parts := name.split("."))[0] == "klm_utils" and len(parts) > 1}


def wrong_rooms(source: str, path: Path) -> set[str]:
    """Those of them that stand below the module's own room, or are no rooms."""
    here = ORDER.index(room(path))
    return {name for name in imported_rooms(source, path) if name not in ORDER[: here + 1]}


def test_a_module_imports_only_rooms_above_its_own():
    found = {}
    for path in {*MODULES} - {PACKAGE / "__init__.py"}:  # what that one imports is tested below, by running it
        name, source = str(path.relative_to(PACKAGE)), path.read_text(encoding="utf8")
        command = name == "__main__.py"
        assert command or room(path) in ORDER, f"{name}: a room that is not in the plan"
        found[name] = imported_rooms(source, path) - DOORS if command else wrong_rooms(source, path)
    assert {name: rooms for name, rooms in found.items() if rooms} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from klm_utils.models.recommender import KLMRecommender", {"models"}),
        ("import klm_utils.training", {"training"}),
        ("def f():\n    from ..course import run", {"course"}),
        ("from klm_utils import course", {"course"}),
        ("from klm_utils.data import assets\nfrom . import metrics\nimport numpy", set()),
    ],
)
def test_the_wrong_way_is_seen(source, found):
    assert wrong_rooms(source, PACKAGE / "evaluation" / "report.py") == found


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, klm_utils, klm_utils.course; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_every_public_name_resolves():
    assert len(set(klm_utils.__all__)) == len(klm_utils.__all__) and set(klm_utils.__all__) <= set(dir(klm_utils))
    for name in klm_utils.__all__:
        assert getattr(klm_utils, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'load_datasets'"):
        _ = klm_utils.load_datasets


def test_type_checkers_see_each_public_name_as_what_it_is():
    source = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf8"))
    (block,) = (node for node in source.body if isinstance(node, ast.If))  # if TYPE_CHECKING
    homes = {alias.name: node.module for node in block.body for alias in node.names}
    assert {*homes, "__version__"} == set(klm_utils.__all__)
    for name, home in homes.items():
        assert getattr(klm_utils, name) is getattr(import_module(home), name), name


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = [dotted(path) for path in MODULES if path.name != "__main__.py"]


def test_every_module_has_its_dotted_name_whatever_was_imported_before():
    """An import that came first would have set the name in its package; so take it away."""
    lost = []
    for name in sorted({*NAMES} - {"klm_utils"}):
        module, (package, _, leaf) = import_module(name), name.rpartition(".")
        with pytest.MonkeyPatch.context() as patch:
            patch.delattr(sys.modules[package], leaf, raising=False)
            if getattr(sys.modules[package], leaf, None) is not module or leaf not in dir(sys.modules[package]):
                lost.append(name)
    assert lost == []


def test_the_dotted_name_works_in_a_fresh_interpreter():
    code = "import klm_utils as klm; print(klm.data.assets.fetch.__name__, klm.course.doctor.main.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert done.stdout == "fetch main\n"


def test_a_wrong_name_is_an_attribute_error_and_a_missing_package_is_named(monkeypatch):
    for package in (klm_utils, klm_utils.data, klm_utils.training):
        with pytest.raises(AttributeError, match=f"'{package.__name__}' has no attribute 'asets'"):
            _ = package.asets
    assert "assets" in dir(klm_utils.data) and "load_dataset" in dir(klm_utils.data)
    _ = klm_utils.data.assets
    monkeypatch.delattr(klm_utils.data, "assets")
    monkeypatch.delitem(sys.modules, "klm_utils.data.assets")
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(ModuleNotFoundError, match="filelock"):
        _ = klm_utils.data.assets
