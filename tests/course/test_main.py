"""The command line: whatever is typed, a KLMError or argparse's usage, never a traceback."""

import os
import subprocess
import sys

import pytest

from klm_utils.__main__ import main

WRONG = [
    ["run", "nothing"],
    ["run", "--scales", "no-such-file"],
    ["run", "--scales", "."],
    ["run", "--scales", "notebooks/00_first.ipynb"],
    ["run", "--output", "pyproject.toml"],
    ["run", "--output", "pyproject.toml/below"],
    ["run", "--output", "x" * 300],
    ["run", "--output", "notebooks"],
    ["run", "--store", "--student"],
    ["run", "--student"],
    ["run", "[*"],
    ["student", "--check"],
]
USAGE = [
    ["run", "--output", ""],
    ["run", "--output", "a\0b"],
    ["run", "--scales", ""],
    ["run", "--jobs", "9" * 5000],
    ["run", "--jobs", "-1"],
    ["run", "-p", "EPOCHS=1"],
    ["student", "all"],
    ["doctor", "--fix"],
    ["labs"],
]


@pytest.mark.parametrize("arguments", WRONG, ids=lambda arguments: " ".join(arguments)[:40])
def test_what_cannot_be_done_is_told(course, monkeypatch, capsys, arguments):
    course.add("00_first")
    monkeypatch.chdir(course.root)
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert "remedy:" in err or "is missing" in out


@pytest.mark.parametrize("arguments", USAGE, ids=lambda arguments: " ".join(arguments)[:40])
def test_what_means_nothing_is_refused_with_the_usage(course, monkeypatch, capsys, arguments):
    course.add("00_first")
    monkeypatch.chdir(course.root)
    with pytest.raises(SystemExit) as refusal:
        main(arguments)
    assert refusal.value.code == 2 and "usage:" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no folder that somebody works in")
def test_from_a_folder_that_is_gone(checkout, tmp_path):
    code = (
        "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); from klm_utils.__main__ import main;"
    )
    code += "[print(word, main([word]), file=sys.stderr) for word in ('run', 'student', 'lab', 'doctor')]"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(checkout), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in ("run", "student", "lab", "doctor"):
        told, _, _ = done.stderr.partition(f"{word} 1\n")
        assert "the working directory is gone" in told.splitlines()[-2], f"{word}: {done.stderr}"
