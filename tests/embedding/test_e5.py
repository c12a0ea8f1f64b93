"""multilingual-e5-small out of its 4-bit file."""

import multiprocessing
import os
import signal
import struct

import numpy as np
import pytest
import torch
from filelock import FileLock
from transformers import BertModel

from klm_utils.data.assets import fetch
from klm_utils.embedding import e5 as packed_e5
from klm_utils.errors import AssetError

TAGS = ["手机", "电话", "图书", "电脑", "运动", "篮球", "音乐", "电影", "小说", "美食", "旅游"]
TAGS += ["护肤", "服装", "鞋", "汽车"]


ENGLISH = ["mobile phone", "telephone", "book", "computer", "sport", "basketball", "music", "movie", "novel", "food"]
ENGLISH += ["travel", "skin care", "clothes", "shoes", "car"]


def unit(vectors):
    centred = vectors - vectors.mean(0)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def test_e5_is_the_dequantised_file(e5):
    config, tensors = packed_e5.read(fetch("e5-weights") / "e5-small-q4.bin")
    fresh = BertModel(config, add_pooling_layer=False)
    fresh.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()}, strict=True)
    for (name, ours), (other, theirs) in zip(
        sorted(fresh.state_dict().items()), sorted(e5.model.state_dict().items()), strict=True
    ):
        assert name == other and torch.equal(ours, theirs), name
    assert 100e6 < sum(array.size for array in tensors.values()) < 120e6


def test_a_block_is_unpacked_as_the_format_says():
    scale, packed = np.float16(0.5), np.arange(16, dtype=np.uint8) | (15 - np.arange(16, dtype=np.uint8)) << 4
    raw = np.frombuffer(scale.tobytes() + packed.astype(np.uint8).tobytes(), dtype=np.uint8)
    expected = [(j - 8) / 2 for j in range(16)] + [(15 - j - 8) / 2 for j in range(16)]
    np.testing.assert_array_equal(packed_e5._dequantise(raw), np.array(expected, dtype=np.float32))


def test_a_file_that_is_not_e5_is_named(tmp_path):
    (tmp_path / "other.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(AssetError, match=r"other\.bin"):
        packed_e5.read(tmp_path / "other.bin")


def test_e5_knows_what_belongs_together_once_the_common_part_is_gone(e5):
    vectors = e5.encode(TAGS + ENGLISH)
    raw = vectors @ vectors.T
    assert raw[:15, :15][np.triu_indices(15, 1)].min() > 0.8, "uncentred, everything looks alike"
    near = unit(vectors) @ unit(vectors).T
    assert near[0, 1] > near[0, 2] + 0.2, "手机 is nearer to 电话 than to 图书"
    assert (near[:15, 15:].argmax(1) == np.arange(15)).mean() >= 0.9, "each tag is nearest to its translation"


def test_e5_is_deterministic_and_tells_any_two_texts_apart(e5):
    first, again = (e5.encode(TAGS, cache=False) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    gaps = np.linalg.norm(first[:, None] - first[None], axis=-1)[np.triu_indices(15, 1)]
    assert gaps.min() > 0.1


def write_small_e5(path, vocab=150_000, hidden=64, seed=0):
    """A one-layer model in the format of e5-small-q4.bin; returns the blocks of its token table."""
    generator = np.random.default_rng(seed)
    shapes = {"emb.word": (vocab, hidden), "emb.pos": (16, hidden), "emb.type": (2, hidden)}
    shapes |= {f"l0.{part}.w": (hidden, hidden) for part in ("q", "k", "v", "ao")}
    shapes |= {"l0.fi.w": (4 * hidden, hidden), "l0.fo.w": (hidden, 4 * hidden)}
    shapes |= {f"l0.{part}.b": (hidden,) for part in ("q", "k", "v", "ao", "fo")} | {"l0.fi.b": (4 * hidden,)}
    shapes |= {f"{norm}.{kind}": (hidden,) for norm in ("emb.ln", "l0.aln", "l0.oln") for kind in "wb"}
    head = struct.pack("<4sI7ifi", b"E5S1", 1, hidden, 1, 4, 4 * hidden, vocab, 16, 2, 1e-12, 32)
    head += struct.pack("<5iQ", 3, 0, 2, 1, 3, 5) + bytes(4 * 4 + 3 * 4 + 5) + struct.pack("<iI", 0, 2) + b"xx"
    first = None
    table, body, where = struct.pack("<i", len(shapes)), b"", len(head) + 4 + sum(23 + len(name) for name in shapes)
    for name, shape in shapes.items():
        count, packed = int(np.prod(shape)), name == "emb.word" or (name[0] == "l" and len(shape) == 2)
        if packed:
            blocks = np.empty(count // 32, dtype=[("scale", "<f2"), ("pairs", "u1", 16)])
            blocks["scale"] = generator.random(len(blocks)) / 10
            blocks["pairs"] = generator.integers(0, 256, (len(blocks), 16))
            raw, first = blocks.tobytes(), blocks if name == "emb.word" else first
        else:
            raw = generator.normal(size=count).astype("<f4").tobytes()
        table += struct.pack("<H", len(name)) + name.encode()
        table += struct.pack("<BIQQ", int(packed), count, where + len(body), len(raw))
        body += raw
    path.write_bytes(head + table + body)
    return first


def test_every_tensor_of_a_packed_file_finds_its_place(tmp_path):
    blocks = write_small_e5(tmp_path / "small.bin", vocab=50)
    config, tensors = packed_e5.read(tmp_path / "small.bin")
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()}, strict=True)
    row = model.embeddings.word_embeddings.weight[7].detach().numpy()
    byte, scale = int(blocks["pairs"][14, 3]), float(blocks["scale"][14])  # row 7 starts with block 14
    np.testing.assert_allclose([row[3], row[19]], [((byte & 15) - 8) * scale, ((byte >> 4) - 8) * scale], rtol=1e-6)
    assert (config.num_hidden_layers, config.pad_token_id, config.layer_norm_eps) == (1, 1, 1e-12)


def test_a_rebuilding_that_another_process_does_not_end_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("KLM_CACHE", str(tmp_path))
    monkeypatch.setattr("klm_utils.files.WAIT", 0.2)
    (tmp_path / "locks").mkdir()
    with FileLock(tmp_path / "locks" / "models-small.lock"), pytest.raises(AssetError, match="another process"):
        packed_e5.rebuilt(tmp_path / "small.bin", "source", tmp_path / "models" / "small")


def test_a_rebuilt_model_survives_a_kill_two_writers_and_an_altered_file(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("KLM_CACHE", str(tmp_path))
    packed, folder = tmp_path / "small.bin", tmp_path / "models" / "small"
    write_small_e5(packed)
    fork = multiprocessing.get_context("fork")  # a fresh process would first spend seconds on importing torch
    first, *two = [fork.Process(target=packed_e5.rebuilt, args=(packed, "source", folder)) for _ in range(3)]
    first.start()
    while not list(folder.glob(".klm-tmp-*")) and first.is_alive():
        pass
    first.kill()
    first.join()
    assert first.exitcode == -signal.SIGKILL and not packed_e5.is_whole(folder, "source")
    for run in two:
        run.start()
    for run in two:
        run.join()
    assert [run.exitcode for run in two] == [0, 0] and packed_e5.is_whole(folder, "source")
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors", "sha256.json"}
    (folder / "sha256.json").unlink()  # as a kill before the end leaves it
    assert not packed_e5.is_whole(folder, "source") and not packed_e5.is_whole(folder, "another file")
    for victim in ("model.safetensors", "config.json"):
        packed_e5.rebuilt(packed, "source", folder)
        assert packed_e5.is_whole(folder, "source")
        with open(folder / victim, "rb+") as file:
            file.seek(-3, os.SEEK_END)
            file.write(b"alt")
        assert not packed_e5.is_whole(folder, "source")
    packed_e5.rebuilt(packed, "source", folder)
    assert "altered" in caplog.text
    monkeypatch.setenv("KLM_OFFLINE", "1")
    model = BertModel.from_pretrained(folder, add_pooling_layer=False)
    assert model.config.vocab_size == 150_000
