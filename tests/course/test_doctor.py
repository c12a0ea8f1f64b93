import os
import re
import subprocess
import sys
import venv

import pytest

from klm_utils.__main__ import main
from klm_utils.course.doctor import package, python_version, requirements


def doctor(python, checkout, **environment):
    return subprocess.run(
        [python, "-m", "klm_utils", "doctor"],
        cwd=checkout,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python without any package, not even pip."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def test_without_any_package_it_runs_and_names_torch_with_its_remedy(bare_python, checkout, tmp_path):
    done = doctor(bare_python, checkout, KLM_CACHE=str(tmp_path), PYTHONPATH="")
    assert done.returncode == 1 and not done.stderr
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("[FAIL] torch: not installed"))
    assert re.fullmatch(r'       remedy: python -m pip install "torch>=[\d.]+"', lines[at + 1])
    assert lines[0].startswith("[OK] Python: 3.")
    assert any(line.startswith("[FAIL] device") for line in lines)


def test_here_every_package_serves(checkout, tmp_path):
    done = doctor(sys.executable, checkout, KLM_CACHE=str(tmp_path / "cache"))
    found = dict(re.findall(r"^\[(?:OK|FAIL)\] ([\w. -]+): (.*)$", done.stdout, re.M))
    states = dict(reversed(pair) for pair in re.findall(r"^\[(OK|FAIL)\] ([\w. -]+):", done.stdout, re.M))
    for name in ("Python", "torch", "papermill", "pytest", "cache", "free disk", "threads", "device"):
        assert states[name] == "OK", found[name]
    assert found["threads"].endswith("cores")


def test_missing_assets_fail_with_the_command_that_fetches_them(checkout, tmp_path):
    done = doctor(sys.executable, checkout, KLM_CACHE=str(tmp_path / "empty"))
    assert done.returncode == 1
    assert re.search(r"\[FAIL\] asset movielens-100k: .*\n +remedy: python -m klm_utils cache --fetch", done.stdout)


def test_a_cache_that_cannot_be_written_fails(checkout, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = doctor(sys.executable, checkout, KLM_CACHE=str(tmp_path / "file" / "cache"))
    assert done.returncode == 1
    assert re.search(r"\[FAIL\] cache: .*\n +remedy: .*KLM_CACHE", done.stdout)


def test_versions_are_compared():
    assert package("numpy>=1.0,<99").ok and package("numpy").ok
    old = package("numpy>=99")
    assert not old.ok and ">=99 is needed" in old.found and old.remedy == 'python -m pip install "numpy>=99"'
    assert not package("surely-no-such-package>=1").ok


def test_python_versions():
    assert [python_version((3, minor, 4)).ok for minor in (10, 11, 12, 13, 14)] == [False, True, True, True, False]


def test_a_checkout_needs_the_extras_too(checkout):
    names = {re.match(r"[\w.-]+", line)[0] for line in requirements(checkout)}
    assert {"torch", "papermill", "pytest"} <= names


@pytest.mark.parametrize(("command", "package_name"), [("run", "psutil"), ("student", "nbformat"), ("cache", "pooch")])
def test_other_commands_name_the_package_they_lack(bare_python, checkout, command, package_name):
    done = subprocess.run([bare_python, "-m", "klm_utils", command], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"needs the package {package_name}" in done.stderr and "remedy:" in done.stderr


def test_the_cache_is_shown_and_cleared_and_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KLM_CACHE", str(tmp_path))
    monkeypatch.setenv("KLM_OFFLINE", "1")
    vectors = tmp_path / "vectors" / ("a" * 64)
    vectors.mkdir(parents=True)
    (vectors / f"{'b' * 64}.safetensors").write_bytes(b"0" * 3_000_000)
    (tmp_path / "mine.txt").write_text("not the cache's")
    assert main(["cache"]) == 0
    assert f"{tmp_path}: 3 MB" in capsys.readouterr().out
    assert main(["cache", "--clear"]) == 0
    assert "deleted 3 MB" in capsys.readouterr().out
    left = [path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == ["mine.txt"]
    assert main(["cache", "--fetch"]) == 1
    assert "KLM_OFFLINE forbids the network" in capsys.readouterr().err


def test_wrong_arguments_are_refused(capsys):
    for arguments in (["run", "--jobs", "0"], ["run", "--scale", "huge"], ["cache", "--fetch", "--clear"], []):
        with pytest.raises(SystemExit) as refusal:
            main(arguments)
        assert refusal.value.code == 2
