import json
import multiprocessing
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from filelock import FileLock
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file, save_file
from transformers import BertModel

import klm_utils as klm
from klm_utils.data.assets import fetch
from klm_utils.embedding import TextEncoder, backbones, load_backbone
from klm_utils.errors import AssetError, ConfigError
from klm_utils.knowledge.templates import item_texts

ROOT = Path(backbones.__file__).parents[2]
TAGS = [
    "手机",
    "电话",
    "图书",
    "电脑",
    "运动",
    "篮球",
    "音乐",
    "电影",
    "小说",
    "美食",
    "旅游",
    "护肤",
    "服装",
    "鞋",
    "汽车",
]
ENGLISH = [
    "mobile phone",
    "telephone",
    "book",
    "computer",
    "sport",
    "basketball",
    "music",
    "movie",
    "novel",
    "food",
    "travel",
    "skin care",
    "clothes",
    "shoes",
    "car",
]


def unit(vectors):
    centred = vectors - vectors.mean(0)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def test_loading_prints_nothing():
    code = "import klm_utils as klm; [klm.load_backbone(name) for name in ('minilm', 'e5')]"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize("name, layers, vocabulary", [("minilm", 6, 30_522), ("e5", 12, 250_037)])
def test_the_pinned_models_are_plain_berts_ready_to_use(name, layers, vocabulary):
    tokenizer, model = load_backbone(name)
    assert type(model) is BertModel and model.pooler is None and not model.training and model.dtype == torch.float32
    shape = model.config.num_hidden_layers, model.config.vocab_size, model.config.hidden_size
    assert shape == (layers, vocabulary, 384)
    assert tokenizer.pad_token_id == model.config.pad_token_id and tokenizer.model_max_length == 512


def test_e5_is_the_dequantised_file(e5):
    config, tensors = backbones.read_e5(fetch("e5-weights") / "e5-small-q4.bin")
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
    np.testing.assert_array_equal(backbones._dequantise(raw), np.array(expected, dtype=np.float32))


def test_a_file_that_is_not_e5_is_named(tmp_path):
    (tmp_path / "other.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(AssetError, match=r"other\.bin"):
        backbones.read_e5(tmp_path / "other.bin")


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
    config, tensors = backbones.read_e5(tmp_path / "small.bin")
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
        backbones._rebuilt(tmp_path / "small.bin", "source", tmp_path / "models" / "small")


def test_a_rebuilt_model_survives_a_kill_two_writers_and_an_altered_file(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("KLM_CACHE", str(tmp_path))
    packed, folder = tmp_path / "small.bin", tmp_path / "models" / "small"
    write_small_e5(packed)
    fork = multiprocessing.get_context("fork")  # a fresh process would first spend seconds on importing torch
    first, *two = [fork.Process(target=backbones._rebuilt, args=(packed, "source", folder)) for _ in range(3)]
    first.start()
    while not list(folder.glob(".klm-tmp-*")) and first.is_alive():
        pass
    first.kill()
    first.join()
    assert first.exitcode == -signal.SIGKILL and not backbones._is_whole(folder, "source")
    for run in two:
        run.start()
    for run in two:
        run.join()
    assert [run.exitcode for run in two] == [0, 0] and backbones._is_whole(folder, "source")
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors", "sha256.json"}
    (folder / "sha256.json").unlink()  # as a kill before the end leaves it
    assert not backbones._is_whole(folder, "source") and not backbones._is_whole(folder, "another file")
    for victim in ("model.safetensors", "config.json"):
        backbones._rebuilt(packed, "source", folder)
        assert backbones._is_whole(folder, "source")
        with open(folder / victim, "rb+") as file:
            file.seek(-3, os.SEEK_END)
            file.write(b"alt")
        assert not backbones._is_whole(folder, "source")
    backbones._rebuilt(packed, "source", folder)
    assert "altered" in caplog.text
    monkeypatch.setenv("KLM_OFFLINE", "1")
    model = backbones._pretrained_model(folder, True)
    assert model.config.vocab_size == 150_000


def test_a_local_folder_gives_the_same_model(minilm, tmp_path):
    folder = tmp_path / "my model"
    shutil.copytree(fetch("minilm"), folder)
    tokenizer, model = load_backbone(folder)
    assert tokenizer("Toy Story")["input_ids"] == minilm.tokenizer("Toy Story")["input_ids"]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), minilm.model.parameters(), strict=True))


@pytest.mark.parametrize("source", ["minilm", "e5", "folder"])
def test_a_loaded_model_keeps_no_file_mapped(source, tmp_path):
    """Windows lets nobody replace or delete a file that is mapped: not the next save, not a temporary folder."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("only Linux lists what is mapped")
    name = tmp_path / "model" if source == "folder" else source
    if source == "folder":
        shutil.copytree(fetch("minilm"), name)
    model = load_backbone(name)[1]
    files = [line.split()[-1] for line in maps.read_text().splitlines() if len(line.split()) > 5]
    assert not [file for file in files if file.endswith((".safetensors", "q4.bin"))]
    assert next(model.parameters()).isfinite().all()


@pytest.mark.parametrize("name", ["adapter_config.json", "1_Pooling/added.json"])
def test_a_file_added_to_a_pinned_model_is_refused(name, tmp_path, monkeypatch):
    shutil.copytree(fetch("minilm"), tmp_path / "assets" / "minilm")
    monkeypatch.setenv("KLM_CACHE", str(tmp_path))
    for harmless in (".DS_Store", "1_Pooling/desktop.ini"):
        (tmp_path / "assets" / "minilm" / harmless).write_text("")
    load_backbone("minilm")
    (tmp_path / "assets" / "minilm" / name).write_text("{}")
    with pytest.raises(AssetError, match="does not belong") as caught:
        load_backbone("minilm")
    assert caught.value.where.endswith(name) and caught.value.found == [name] and "move it" in caught.value.remedy


def harm_weights(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.3.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def truncate_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def foreign_code(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('foreign code ran')")


@pytest.mark.parametrize(
    "harm, message",
    [
        (harm_weights, "encoder.layer.3.output.dense.weight"),
        (truncate_weights, "Safetensor"),
        (foreign_code, "custom code"),
        (lambda folder: (folder / "config.json").write_text("{"), "config"),
        (lambda folder: [(folder / file).unlink() for file in TOKENIZER], "knows no word"),
        (lambda folder: [(folder / file).unlink() for file in ("tokenizer.json", "vocab.txt")], "knows no word"),
        (lambda folder: shutil.rmtree(folder) or folder.mkdir(), "config"),
    ],
)
def test_a_broken_folder_is_named(tmp_path, harm, message):
    folder = tmp_path / "model"
    shutil.copytree(fetch("minilm"), folder)
    harm(folder)
    with pytest.raises(AssetError) as caught:
        load_backbone(folder)
    assert str(folder) in caught.value.where and message in str(caught.value)


def test_an_unknown_name_offline_asks_no_network(monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: asked.append(args) or [])
    monkeypatch.setenv("KLM_OFFLINE", "1")
    with pytest.raises(AssetError) as caught:
        load_backbone("no-such/model")
    assert caught.value.where == "no-such/model" and "KLM_OFFLINE" in caught.value.remedy
    assert asked == []


@pytest.mark.parametrize("name", ["no-such/model", "minilm2", "x" * 300, "a/b/c", "zero\0"])
def test_a_wrong_name_without_a_network_is_told_at_once(monkeypatch, name):
    """The hub's client would ask again and again, with pauses, for 47 seconds."""
    asked = []

    def unreachable(host, *args, **kwargs):
        asked.append(host)
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"it waits for {seconds} s"))
    monkeypatch.delenv("KLM_OFFLINE", raising=False)
    with pytest.raises(AssetError) as caught:
        load_backbone(name)
    assert caught.value.where == name and len(asked) <= 1
    assert "spelling" in caught.value.remedy and "network" in caught.value.remedy


@pytest.mark.parametrize("status", [404, 401, 503])
def test_a_hub_that_answers_is_asked_for_the_model(monkeypatch, status):
    """Whatever it answers, the loader of transformers goes to it and tells; only silence means: from the disk."""
    monkeypatch.delenv("KLM_OFFLINE", raising=False)
    response = SimpleNamespace(status_code=status, headers={}, request=None)
    error = HfHubHTTPError("the answer", response=response)
    monkeypatch.setattr(backbones.HfApi, "model_info", lambda *args, **options: (_ for _ in ()).throw(error))
    assert backbones.hub_answers("no-such/model")
    monkeypatch.setattr(backbones.HfApi, "model_info", lambda *args, **options: None)
    assert backbones.hub_answers("a/model") and not backbones.hub_answers(ROOT)
    monkeypatch.setenv("KLM_OFFLINE", "1")
    assert not backbones.hub_answers("a/model")


def test_the_pinned_models_ask_no_network_once_they_are_there(minilm, e5, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError(f"the network was asked: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("KLM_OFFLINE", raising=False)
    for name in ("minilm", "e5"):
        load_backbone(name)


@pytest.mark.parametrize("name", [None, 3, "", ["minilm"], {"name": 1}])
def test_a_name_that_is_no_text_is_refused(name):
    with pytest.raises(ConfigError, match="minilm"):
        load_backbone(name)


@pytest.fixture(scope="module")
def shop_texts():
    shops = [(klm.load_dataset("shop", language=n), n) for n in ("zh", "en")]
    return [t for ds, n in shops for t in item_texts(ds, n, ("title", "tags", "description", "brand", "category"))]


@pytest.mark.parametrize(("name", "most"), [("e5", 110e6), ("minilm", 50e6)])
def test_a_trimmed_vocabulary_changes_no_vector_of_its_texts(request, name, most, shop_texts, tmp_path):
    whole = request.getfixturevalue(name)
    before = whole.model.get_input_embeddings().weight.data_ptr()
    tokenizer, model = backbones.trim_vocabulary(whole.model, whole.tokenizer, shop_texts)
    small = TextEncoder(tokenizer, model, name, device="cpu")
    assert sum(p.numel() * p.element_size() for p in model.parameters()) < most
    pieces = [e.tokenizer.convert_ids_to_tokens(ids) for e in (whole, small) for ids in e.tokenize(shop_texts)]
    assert pieces[: len(shop_texts)] == pieces[len(shop_texts) :]
    some = shop_texts[::20]
    assert np.array_equal(whole.encode(some, cache=False), small.encode(some, cache=False))
    assert whole.model.get_input_embeddings().weight.data_ptr() == before
    assert whole.model.config.vocab_size == len(whole.model.get_input_embeddings().weight) > model.config.vocab_size

    other = ["ゲームは楽しい", "zebra", ""]
    assert np.isfinite(small.encode(other, cache=False)).all()
    assert tokenizer.unk_token_id in small.tokenize(other)[0]

    tokenizer.save_pretrained(tmp_path), model.save_pretrained(tmp_path)
    again = TextEncoder.from_pretrained(tmp_path, prefix=small.prefix, device="cpu")
    assert again.tokenize(some + other) == small.tokenize(some + other)
    assert np.allclose(again.encode(some, cache=False), small.encode(some, cache=False), atol=1e-6)


def test_trimming_to_nothing_leaves_the_special_tokens(e5):
    tokenizer, model = backbones.trim_vocabulary(e5.model, e5.tokenizer, [])
    assert set(tokenizer.special_tokens_map.values()) >= {"<s>", "</s>", "<pad>", "<unk>", "<mask>"}
    assert np.isfinite(TextEncoder(tokenizer, model, device="cpu").encode(["any text"], cache=False)).all()


def test_a_vocabulary_that_cannot_be_trimmed_is_refused(tiny):
    with pytest.raises(klm.ConfigError, match="WordLevel"):
        backbones.trim_vocabulary(tiny[1], tiny[0], ["red car"])
