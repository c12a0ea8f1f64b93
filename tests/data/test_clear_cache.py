"""Clearing the cache deletes what klm_utils made, told by its name, and nothing else."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from klm_utils import files
from klm_utils.data import assets
from klm_utils.errors import AssetError

ROOT = Path(assets.__file__).parents[2]
NAME, PRINT, TEXTS = "movielens-100k", "a" * 64, "b" * 64
WHEEL = assets.ASSETS["minilm"].wheel
DEAD = f".klm-tmp-{files._machine()}-{2**22 + 1}-{'c' * 8}-x"  # a process number that no process can have
OURS = [
    f"assets/{NAME}/ml-100k.item",
    "assets/minilm/model.safetensors",
    "assets/minilm/1_Pooling/config.json",
    f"assets/minilm/1_Pooling/{DEAD}",
    f"wheels/minilm/{WHEEL}",
    "wheels/minilm/tmpab12cd_8",
    "wheels/minilm/tmpk3k3k3k3/pip-unpack-xyz/part.whl",
    "models/e5/config.json",
    "models/e5/model.safetensors",
    "models/e5/sha256.json",
    f"models/e5/{DEAD}",
    f"vectors/{PRINT}/{TEXTS}.safetensors",
    f"vectors/{PRINT}/{DEAD}",
]
THEIRS = [
    "thesis.txt",
    "photos/summer.jpg",
    "assets/thesis.txt",
    "assets/my-data/table.csv",
    f"assets/{NAME}/notes.txt",
    "assets/minilm/1_Pooling/notes.txt",
    "assets/minilm/onnx/model.onnx",
    "wheels/torch-2.0.whl",
    "wheels/minilm/another.whl",
    "models/my-model/model.safetensors",
    "models/e5/model.onnx",
    "models/config.json",
    "vectors/mine.safetensors",
    "vectors/word2vec/model.safetensors",
    f"vectors/{PRINT}/word2vec.safetensors",
    f"vectors/{'A' * 64}/{TEXTS}.safetensors",
]


def make(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("four")


def files_below(root):
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and p.suffix != ".lock")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_all_of_ours_goes_and_all_of_theirs_stays(cache, caplog):
    make(cache, OURS + THEIRS)
    assert sum(assets.cache_size().values()) == 4 * len(OURS)
    with caplog.at_level(logging.WARNING):
        assert assets.clear_cache() == 4 * len(OURS)
    assert files_below(cache) == sorted(THEIRS)
    for name in THEIRS[2:]:
        assert any(str(cache / part) in caplog.text for part in (name, Path(name).parent)), f"{name} was not named"
    assert "thesis.txt" not in caplog.text.replace("assets/thesis.txt", ""), "beside the parts nothing was looked at"
    assert sum(assets.cache_size().values()) == 0 == assets.clear_cache()


def test_a_long_list_of_what_was_kept_is_cut(cache, caplog):
    make(cache, [f"models/mine/{n}" for n in range(100)] + [f"vectors/{n}" for n in range(25)])
    assert assets.clear_cache() == 0
    assert len(caplog.text) < 5000 and "6 more" in caplog.text


def test_a_cache_with_nothing_else_in_it_ends_empty(cache, caplog):
    make(cache, OURS)
    assert assets.clear_cache() == 4 * len(OURS)
    assert [path.name for path in cache.iterdir()] == ["locks"] and caplog.text == ""


@pytest.mark.parametrize("link", ["assets", "assets/minilm", "wheels/minilm", "models", "models/e5", "vectors"])
def test_no_link_leads_out_of_the_cache(cache, tmp_path, link):
    elsewhere = tmp_path / "elsewhere"
    make(elsewhere, OURS)
    (cache / link).parent.mkdir(parents=True)
    (cache / link).symlink_to(elsewhere / link, target_is_directory=True)
    assert assets.clear_cache() == 0 and sum(assets.cache_size().values()) == 0
    assert files_below(elsewhere) == sorted(OURS) and (cache / link).is_symlink()


def test_a_link_in_place_of_a_file_of_ours_is_deleted_but_not_its_target(cache, tmp_path):
    make(tmp_path, ["store/model.safetensors", "store/folder/x"])
    for name, target in (
        ("assets/minilm/model.safetensors", "model.safetensors"),
        ("wheels/minilm/tmp12345678", "folder"),
    ):
        (cache / name).parent.mkdir(parents=True)
        (cache / name).symlink_to(tmp_path / "store" / target)
    assets.clear_cache()
    assert files_below(tmp_path / "store") == ["folder/x", "model.safetensors"]
    assert not list(cache.rglob("model.safetensors"))


def test_a_cache_that_is_itself_a_link_is_cleared(cache, tmp_path, monkeypatch):
    make(cache, OURS)
    (tmp_path / "link").symlink_to(cache)
    monkeypatch.setenv("KLM_CACHE", str(tmp_path / "link"))
    assert assets.clear_cache() == 4 * len(OURS) and files_below(cache) == []


def test_a_folder_in_place_of_a_member_stays(cache, caplog):
    make(cache, ["assets/minilm/config.json/mine.txt"])
    assert assets.clear_cache() == 0
    assert files_below(cache) == ["assets/minilm/config.json/mine.txt"] and "config.json" in caplog.text


def test_nothing_is_deleted_while_another_process_fetches(cache):
    make(cache, [*OURS, "locks/minilm.lock"])
    with FileLock(cache / "locks" / "minilm.lock"), pytest.raises(AssetError, match=r"another process.*\n.*\n.*minilm"):
        assets.clear_cache()
    assert files_below(cache) == sorted(OURS)


def test_vectors_that_are_being_written_are_spared(cache):
    living = f"vectors/{PRINT}/.klm-tmp-{files._machine()}-{os.getpid()}-{'c' * 8}-x"
    make(cache, [*OURS, living])
    assets.clear_cache()
    assert files_below(cache) == [living]


def test_the_command_says_what_it_kept(cache):
    make(cache, [*OURS, "models/my-model/model.safetensors"])
    run = subprocess.run(
        [sys.executable, "-m", "klm_utils", "cache", "--clear"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("deleted 0 MB") and f"{cache / 'models' / 'my-model'}" in run.stderr
    assert files_below(cache) == ["models/my-model/model.safetensors"]


def test_a_cache_that_may_not_be_read_is_named(cache, monkeypatch):
    make(cache, [f"vectors/{PRINT}/{TEXTS}.safetensors"])
    listed = Path.iterdir

    def refuse(path):
        if path == refused:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    refused = cache / "vectors"
    assert assets.cache_size()["vectors"] == 0 and assets.clear_cache() == 0
    refused = cache
    for function in (assets.cache_size, assets.clear_cache):
        with pytest.raises(AssetError, match=str(cache)):
            function()
