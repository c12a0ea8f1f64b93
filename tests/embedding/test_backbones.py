import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file, save_file
from transformers import BertModel

import klm_utils as klm
from klm_utils.data.assets import fetch
from klm_utils.embedding import TextEncoder, backbones, load_backbone
from klm_utils.errors import AssetError, ConfigError
from klm_utils.knowledge.templates import item_texts

ROOT = Path(backbones.__file__).parents[2]


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
    before = maps.read_text()
    model = load_backbone(name)[1]
    files = {line.split()[-1] for line in maps.read_text().splitlines() if len(line.split()) > 5}
    assert not [file for file in files if file.endswith((".safetensors", "q4.bin")) and file not in before]
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
