"""Files are whole or absent, and nobody sweeps what another process is still writing."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from klm_utils import files
from klm_utils.errors import CheckpointError

ROOT = Path(files.__file__).parents[1]
PIPES = {"capture_output": True, "text": True}


def test_atomic_write_keeps_the_old_file_when_the_disk_is_full(tmp_path):
    """A limit on the size of files makes the kernel refuse the write, as a full disk does."""
    path = tmp_path / "model.bin"
    path.write_text("old")
    code = (
        "import resource, sys; from pathlib import Path; from klm_utils.files import atomic_write\n"
        "from klm_utils.errors import CheckpointError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "atomic_write(Path(sys.argv[1]), lambda p: p.write_bytes(b'x' * 5000), CheckpointError)"
    )
    run = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, **PIPES)
    assert "CheckpointError: cannot write" in run.stderr and str(path) in run.stderr
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["model.bin"]


def test_atomic_write_replaces_whole_files_only(tmp_path):
    path = tmp_path / "new" / "table.npy"
    files.atomic_write(path, lambda p: p.write_text("first"))
    assert path.read_text() == "first"

    def fails(temporary):
        assert temporary.parent == path.parent and temporary.suffix == ".npy"
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.atomic_write(path, fails)
    assert path.read_text() == "first" and len(list(path.parent.iterdir())) == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="file"):
        files.atomic_write(tmp_path / "file" / "x", lambda p: p.write_text(""), CheckpointError)


def folder_of_that_name(path):
    path.mkdir(parents=True)


def file_for_a_folder(path):
    path.parent.write_text("")


@pytest.mark.parametrize(
    ("name", "make", "remedy"),
    [
        ("deep/model.bin", folder_of_that_name, "move away"),
        ("deep/model.bin", file_for_a_folder, "move away"),
        ("x" * 300 + "/model.bin", None, "shorter path"),
        ("x" * 300, None, "shorter path"),
        ("zero\0/model.bin", None, "another"),
    ],
)
def test_the_remedy_is_that_of_the_cause(tmp_path, name, make, remedy):
    if make:
        make(tmp_path / name)
    with pytest.raises(CheckpointError, match="cannot write") as caught:
        files.atomic_write(tmp_path / name, lambda p: p.write_text(""), CheckpointError)
    assert remedy in caught.value.remedy
    assert ("disk space" in caught.value.remedy) == ("\0" in name)


def test_a_long_name_that_fits_can_be_written(tmp_path):
    path = tmp_path / ("长" * 80 + ".bin")  # 244 bytes of the 255 that a name may have
    files.atomic_write(path, lambda p: p.write_text("x"))
    assert path.read_text() == "x"


@pytest.mark.parametrize("mask", [0o077, 0o022])
def test_the_umask_decides_who_may_read(tmp_path, mask):
    before = os.umask(mask)
    try:
        files.atomic_write(tmp_path / "new" / "file", lambda p: p.write_text("x"))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "new/file")]
    assert modes == [0o777 & ~mask, 0o666 & ~mask]


STALLED = "\n".join(  # says that the temporary file is there, then waits to be told to go on
    [
        "import sys; from pathlib import Path; from klm_utils.files import atomic_write",
        "def write(p):",
        "    p.write_text('whole')",
        "    print(p.name, flush=True)",
        "    sys.stdin.readline()",
        "atomic_write(Path(sys.argv[1]), write)",
    ]
)


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing tmp_path/file."""
    command = [sys.executable, "-c", STALLED, tmp_path / "file"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as run:
        run.temporary = tmp_path / run.stdout.readline().strip()
        yield run
        run.kill()


@pytest.mark.parametrize("hours", [-24 * 365, -2, 2])
def test_a_living_writer_is_never_swept_whatever_the_clock_says(tmp_path, writer, hours):
    os.utime(writer.temporary, (time.time() + 3600 * hours,) * 2)
    files.sweep(tmp_path)
    files.atomic_write(tmp_path / "another", lambda p: p.write_text("x"))
    assert writer.temporary.exists() and not files.abandoned(writer.temporary)
    _, err = writer.communicate("go on\n", timeout=60)
    assert (writer.returncode, err) == (0, "") and (tmp_path / "file").read_text() == "whole"


def test_a_killed_writer_is_swept_at_once_by_the_next(tmp_path, writer):
    writer.kill(), writer.wait()
    assert writer.temporary.exists() and files.abandoned(writer.temporary)
    os.utime(writer.temporary, (time.time() + 7200,) * 2)  # its clock was ahead
    files.atomic_write(tmp_path / "another", lambda p: p.write_text("x"))
    assert [file.name for file in tmp_path.iterdir()] == ["another"]


def test_only_the_lock_gives_a_right_to_the_files_of_another_machine(tmp_path):
    theirs = tmp_path / f".klm-tmp-{'0' * 8}-{2**22 + 1}-{'a' * 8}-file"  # a process number that is not in use here
    for path in (theirs, tmp_path / ".klm-tmp-holiday.txt"):
        path.write_text("")
        assert not files.abandoned(path)
    files.sweep(tmp_path)
    assert theirs.exists()
    files.sweep(tmp_path, alone=True)
    assert not theirs.exists()


def test_a_file_that_may_not_be_swept_stops_no_writer(tmp_path, monkeypatch):
    left = tmp_path / f".klm-tmp-{files._machine()}-{2**22 + 1}-{'a' * 8}-file"
    left.write_text("")
    unlink = Path.unlink

    def refuse(path, **options):
        if path == left:
            raise PermissionError(f"another user's: {path}")
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    files.atomic_write(tmp_path / "file", lambda p: p.write_text("x"))
    assert files.abandoned(left) and (tmp_path / "file").read_text() == "x"


BARE = "import os, sys; from klm_utils import files\n"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (BARE + "os.environ['KLM_CACHE'] = '~no-such-user/klm'", "home directory"),
        (BARE + "os.environ['KLM_CACHE'] = '/tmp/' + 'x' * 300", "too long"),
        (BARE + "os.environ['KLM_CACHE'] = sys.executable", "exists"),
        (BARE + "os.environ['KLM_CACHE'] = 'here'; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')", "No such"),
        (BARE + "[os.environ.pop(n, 0) for n in ('KLM_CACHE', 'HOME', 'XDG_CACHE_HOME')]; os.setuid(54321)", "home"),
        (BARE + "os.makedirs('shut/klm'); os.environ['KLM_CACHE'] = os.path.abspath('shut/klm'); os.chmod('shut', 0); "
         "os.geteuid() or os.setuid(54321)", "Permission denied"),
    ],
)  # fmt: skip
def test_a_place_where_no_cache_can_be_is_told_with_the_remedy(tmp_path, code, found):
    if "setuid" in code and os.geteuid() and found == "home":
        pytest.skip("only root can become a user that nobody knows")
    tmp_path.chmod(0o777)
    code += "\ntry: files.cache_dir()\nexcept files.AssetError as error: print(error)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, **PIPES
    )
    assert run.returncode == 0, run.stderr
    assert found in run.stdout and "set KLM_CACHE to" in run.stdout
    assert not (tmp_path / "~").exists()
