import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast

from klm_utils.embedding import TextEncoder

WORDS = ["<unk>", "<pad>", "<eos>", "red", "green", "blue", "big", "small", "car", "shoe", "phone", "book"]


@pytest.fixture(scope="session")
def minilm():
    return TextEncoder.from_pretrained("minilm", device="cpu")


@pytest.fixture(scope="session")
def e5():
    return TextEncoder.from_pretrained("e5", device="cpu")


@pytest.fixture
def tiny():
    """(tokenizer, model): a left-to-right model with random weights, 32 positions and no special tokens."""
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", eos_token="<eos>", padding_side="left", model_max_length=32
    )
    torch.manual_seed(0)
    sizes = {"vocab_size": len(WORDS), "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return tokenizer, GPT2Model(GPT2Config(**sizes, bos_token_id=2, eos_token_id=2)).eval()


@pytest.fixture
def vector_cache(tmp_path, monkeypatch):
    """An empty cache; returns a function that lists the files of vectors."""
    monkeypatch.setenv("KLM_CACHE", str(tmp_path / "cache"))
    return lambda: sorted((tmp_path / "cache" / "vectors").rglob("*.safetensors"))


@pytest.fixture
def small(tiny):
    return TextEncoder(*tiny, "tiny", pooling="last", max_length=16)


@pytest.fixture
def count_batches():
    """A function that gives the shapes of the batches that reach a model from now on."""

    def count(model):
        sizes = []
        model.register_forward_pre_hook(
            lambda _, args, kwargs: sizes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
        )
        return sizes

    return count
