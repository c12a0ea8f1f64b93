import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import requires

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import klm_utils

PYTHONS = ("3.11", "3.12", "3.13")
NOT_SOURCE = (".git", ".venv", "build", "dist", "my", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "student")


@pytest.fixture(scope="module")
def project(checkout):
    return tomllib.loads((checkout / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def lock(checkout):
    """The requirements of the lock file."""
    lines = (checkout / "requirements.lock").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pins(lock, python, system="Linux"):
    """Name -> version on one Python and system."""
    marks = default_environment() | {"python_version": python, "platform_system": system}
    chosen = [line for line in lock if line.marker is None or line.marker.evaluate(marks)]
    return {canonicalize_name(line.name): next(iter(line.specifier)) for line in chosen}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_pins_every_requirement_within_its_bounds(project, lock, python):
    locked = pins(lock, python)
    lines = project["dependencies"] + [x for extra in project["optional-dependencies"].values() for x in extra]
    for line in map(Requirement, lines):
        pin = locked[canonicalize_name(line.name)]
        assert line.specifier.contains(pin.version), f"{line} and {pin}"
        assert any(bound.operator == ">=" for bound in line.specifier), f"{line} has no lower bound"


def test_the_lock_is_exact_and_serves_every_build(lock):
    for line in lock:
        assert [pin.operator for pin in line.specifier] == ["=="] and "*" not in str(line.specifier), line
        assert Version(next(iter(line.specifier)).version).local is None, f"{line} would fit one build only"
    names = [(canonicalize_name(line.name), str(line.marker)) for line in lock]
    assert len(set(names)) == len(names)


def test_what_a_locked_package_needs_is_locked_too(lock):
    """From the metadata of what is installed here, for the Python of this run."""
    locked = pins(lock, f"{sys.version_info[0]}.{sys.version_info[1]}", platform.system())
    for name in locked:
        for line in map(Requirement, requires(name) or []):
            if line.marker is None or line.marker.evaluate({"extra": ""}):
                other = canonicalize_name(line.name)
                if other.startswith(("nvidia-", "cuda-", "triton")):
                    continue  # torch brings its own, per system
                assert other in locked, f"{name} needs {line}"
                assert line.specifier.contains(locked[other].version, prereleases=True), f"{name} needs {line}"


def test_the_conda_environment_is_python_pip_and_the_lock(checkout, project):
    environment = yaml.safe_load((checkout / "environment.yml").read_text())
    python, pip, extras = environment["dependencies"]
    assert pip == "pip" and extras == {"pip": ["-r requirements.lock", "-e ."]}
    bound = Requirement(f"python{project['requires-python']}").specifier
    assert python.startswith("python=") and bound.contains(python.removeprefix("python="))
    assert all(bound.contains(f"{python}.0") for python in PYTHONS) and not bound.contains("3.14.0")


def test_one_version_everywhere(checkout, project):
    citation = yaml.safe_load((checkout / "CITATION.cff").read_text())
    assert project["version"] == klm_utils.__version__ == citation["version"]
    tool = tomllib.loads((checkout / "pyproject.toml").read_text())["tool"]["klm"]
    assert citation["repository-code"].endswith(tool["repository"])
    licence = (checkout / "LICENSE").read_text()
    assert "MIT License" in licence and "Creative Commons" in licence and citation["license"] == ["MIT", "CC-BY-4.0"]


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    """The wheel, built from a copy, so that nothing of an earlier build slips in."""
    folder = tmp_path_factory.mktemp("source") / "a copy"
    shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(folder)]
    done = subprocess.run([sys.executable, *build], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (path,) = (folder / "dist").glob("*.whl")
    return path


def test_the_wheel_holds_all_modules_all_data_and_nothing_else(wheel, checkout):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(p.relative_to(checkout)) for p in (checkout / "klm_utils").rglob("*.py")}
    assert modules <= names, f"not shipped: {sorted(modules - names)}"
    data = {p.relative_to(checkout / "data").as_posix() for p in (checkout / "data").rglob("*") if p.is_file()}
    data = {name for name in data if "__pycache__" not in name}
    assert data and {f"klm_utils/shipped/{name}" for name in data} <= names
    results = {p.name for p in (checkout / "docs" / "results").glob("*.json")}
    assert results and {f"klm_utils/shipped/results/{name}" for name in results} <= names
    assert {"klm_utils/course/scales.yaml", "klm_utils/py.typed"} <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"klm_utils"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_installed_elsewhere_it_loads_the_article_and_the_stored_results(wheel, tmp_path, checkout):
    """Into a new environment whose only package it is; what it needs is lent by path, without our own checkout."""
    venv.create(tmp_path / "env", with_pip=False)
    inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    python = tmp_path / "env" / inside
    install = ["-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "-q", str(wheel)]
    subprocess.run([sys.executable, *install], check=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    with open(os.path.join(site, "lent.pth"), "w") as file:
        file.write(sysconfig.get_path("purelib") + "\n")
    code = (
        "import klm_utils as klm; ds = klm.load_dataset('article'); import sys;"
        "print(klm.__file__); print(len(ds.items), len(ds.users)); print(sys.path);"
        "from klm_utils.course import results; print(results('05')['metrics']['tables'].keys(), results('99'))"
    )
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run([python, "-I", "-c", code], cwd=tmp_path / "elsewhere", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    file, sizes, path, tables = done.stdout.splitlines()
    assert "cold_item, interaction" in tables and tables.endswith("None")
    assert file.startswith(site) and sizes == "3 3"
    assert repr(str(checkout)) not in path
