"""Vectors on disk: found again, never wrong, and no condition for anything."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from klm_utils.data import assets
from klm_utils.embedding import cache

ROOT = Path(cache.__file__).parents[2]


def test_a_cache_hit_is_equal_and_does_not_run_the_model(small, vector_cache, count_batches):
    sizes = count_batches(small.model)
    first = small.encode(["red car", "shoe", "red car"])
    assert len(sizes) == 1 and len(vector_cache()) == 1
    again = small.encode(["shoe", "red car", "shoe"])
    assert len(sizes) == 1, "the same set of texts in another order is a hit"
    np.testing.assert_array_equal(again, first[[1, 0, 1]])
    again[:] = 0
    np.testing.assert_array_equal(small.encode(["red car", "shoe"]), first[:2])
    small.encode(["red car", "book"])
    assert len(sizes) == 2 and len(vector_cache()) == 2
    small.encode(["green car"], cache=False)
    assert len(vector_cache()) == 2
    assert assets.cache_size()["vectors"] == assets.clear_cache() > 0 and vector_cache() == []


def test_training_in_place_never_meets_old_vectors(small, vector_cache):
    before = small.encode(["red car"])
    with torch.no_grad():
        for parameter in small.model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    after = small.encode(["red car"])
    assert not np.allclose(before, after, atol=1e-3)
    np.testing.assert_array_equal(after, small.encode(["red car"], cache=False))


@pytest.mark.parametrize("harm", ["flip", "truncate", "other", "garbage"])
def test_an_altered_cache_file_is_noticed(small, vector_cache, caplog, harm):
    want = small.encode(["red car", "shoe"])
    small.encode(["red", "car"])
    path = next(path for path in vector_cache() if np.array_equal(cache.read(path, (2, 16)), want))
    other = next(file for file in vector_cache() if file != path)
    content = path.read_bytes()
    flipped = content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
    path.write_bytes(
        {"flip": flipped, "truncate": content[:-5], "other": other.read_bytes(), "garbage": b"x" * 500}[harm]
    )
    assert caplog.text == ""
    np.testing.assert_allclose(small.encode(["red car", "shoe"]), want, atol=1e-6)
    assert str(path) in caplog.text
    assert np.array_equal(cache.read(path, (2, 16)), want), "mended"


def test_two_writers_at_once(small, vector_cache, count_batches, tmp_path):
    with open(tmp_path / "encoder.pkl", "wb") as file:
        pickle.dump(small, file)  # only to hand the same random model to both
    code = (
        "import pickle, sys; enc = pickle.load(open(sys.argv[1], 'rb'))\n"
        "for n in range(9): enc.encode(['red car', 'shoe ' * (n % 3)])"
    )
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path / "encoder.pkl"], cwd=ROOT, env=env, stderr=-1, text=True
        )
        for _ in range(2)
    ]
    for run in runs:
        assert run.communicate() == (None, "") and run.returncode == 0
    assert len(vector_cache()) == 3
    sizes = count_batches(small.model)
    cached = small.encode(["red car", "shoe "])
    assert sizes == []
    np.testing.assert_allclose(cached, small.encode(["red car", "shoe "], cache=False), atol=1e-6)


def test_a_cache_that_cannot_be_written_is_said_once_and_harmless(small, tmp_path, monkeypatch, caplog):
    cache._warn_once.cache_clear()
    want = small.encode(["red car"], cache=False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KLM_CACHE", str(tmp_path / "file"))  # no folder can be made here, not even by root
    for _ in range(3):
        np.testing.assert_array_equal(small.encode(["red car"]), want)
    assert caplog.text.count("encoding goes on") == 1
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "vectors").write_text("")  # a cache in which nothing can be written
    monkeypatch.setenv("KLM_CACHE", str(tmp_path / "cache"))
    for text in ("red car", "red shoe"):
        assert np.isfinite(small.encode([text])).all()
    assert caplog.text.count("encoding goes on") == 2


def test_a_vector_file_that_was_read_is_no_longer_mapped(small, vector_cache):
    """Windows lets nobody replace or delete a file that is mapped."""
    small.encode(["red car"])
    kept, maps = small.encode(["red car"]), Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("only Linux lists what is mapped")
    assert kept.shape == (1, 16) and str(vector_cache()[0]) not in maps.read_text()


UNUSABLE = {
    "nobody": "os.environ['KLM_CACHE'] = '~no-such-user'",
    "long": "os.environ['KLM_CACHE'] = '/tmp/' + 'x' * 300",
    "gone": "os.environ['KLM_CACHE'] = 'here'; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
    "homeless": "[os.environ.pop(n, 0) for n in ('KLM_CACHE', 'HOME', 'XDG_CACHE_HOME')]; "
    "os.geteuid() or os.setuid(54321)",
    "shut": "os.makedirs('c/vectors'); os.environ['KLM_CACHE'] = os.path.abspath('c'); os.chmod('c/vectors', 0); "
    "os.geteuid() or os.setuid(54321)",
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_encoding_goes_on_where_no_cache_can_be(case, small, tmp_path):
    """Each place in turn in a child of its own, since it changes its user or its folder."""
    tmp_path.chmod(0o777)
    child = os.fork()
    if not child:
        torch.set_num_threads(1)  # those of the parent are not in the child
        os.chdir(tmp_path)
        exec(UNUSABLE[case])
        os._exit(int(small.encode(["red car", "shoe"]).shape != (2, 16)))
    assert os.waitpid(child, 0)[1] == 0
