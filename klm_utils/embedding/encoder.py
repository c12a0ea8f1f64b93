"""TextEncoder: many texts to one matrix, each text once, short with short, and never twice for the same weights."""

import copy
import inspect
import json
import logging
import os
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize as l2_normalize
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from klm_utils import progress
from klm_utils.embedding.backbones import PREFIXES, load_backbone, warn_if_stated
from klm_utils.embedding.cache import cached
from klm_utils.embedding.pooling import POOLINGS
from klm_utils.errors import ConfigError, DataError, check_choice, check_flag, check_kind, check_whole
from klm_utils.files import checksum

log = logging.getLogger(__name__)
_BOTH = "pass TextEncoder(*load_backbone(name)), or TextEncoder.from_pretrained(name)"
_NO_EFFECT = {"_name_or_path", "transformers_version", "dtype", "architectures"}  # on a vector


class TextEncoder:
    """A language model with a pooling.

    With "minilm", mean pooling, normalisation and max_length 256 the vectors are those of sentence-transformers.

    Args:
        tokenizer, model: as load_backbone gives them; the encoder keeps this model, `copy()` gives it another.
        name: what to call it; also picks the default prefix.
        pooling: "mean", "cls" or "last".
        normalize: divide each vector by its L2 norm.
        max_length: tokens kept of each text, special tokens included.
        prefix: put before each text; None means the model's own ("query: " for e5, "" otherwise).
        device: "auto" (a GPU if there is one) or a torch device.

    Attributes:
        dim: width of a vector.
        fingerprint: sha256 of everything that a vector depends on besides its text, as it is now.

    Raises:
        ConfigError: a setting without meaning for this model, or a tokenizer that is not its own.

    Source: Reimers and Gurevych 2019, Sentence-BERT, section 3.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        model: PreTrainedModel,
        name: str | os.PathLike = "",
        *,
        pooling: str = "mean",
        normalize: bool = True,
        max_length: int = 256,
        prefix: str | None = None,
        device: str | torch.device = "auto",
    ):
        check_kind("TextEncoder(tokenizer)", tokenizer, PreTrainedTokenizerBase, "a tokenizer", _BOTH)
        check_kind("TextEncoder(model)", model, torch.nn.Module, "a language model of transformers", _BOTH)
        check_kind("TextEncoder(name)", name, str | os.PathLike, "a text", 'leave it out, or pass for example "mine"')
        self.tokenizer, self.name, self.pooling = tokenizer, str(name), pooling
        self.normalize = check_flag("normalize", normalize)
        self.prefix = PREFIXES.get(self.name, "") if prefix is None else prefix
        self.max_length = max_length
        self._check(model)
        if tokenizer.pad_token is None:  # the mask hides it, so any token will do
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        self.model: Any = model.eval()
        self.model.to(_device(device))
        self.dim = model.config.hidden_size

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike,
        pooling: str = "mean",
        normalize: bool = True,
        max_length: int = 256,
        prefix: str | None = None,
        device: str | torch.device = "auto",
    ) -> "TextEncoder":
        """An encoder around `load_backbone(name)`; arguments as for the class, errors of both.

        Models of sentence-transformers say which pooling, normalisation, length and prefix they were trained with. The
        arguments decide all the same; where one that was left at its default differs, a warning names it.
        """
        settings = dict[str, Any](pooling=pooling, normalize=normalize, max_length=max_length, prefix=prefix)
        encoder = cls(*load_backbone(name), name, device=device, **settings)
        if encoder.name not in ("minilm", "e5"):
            warn_if_stated(name, settings)
        return encoder

    def encode(self, texts: Iterable[str], batch_size: int = 64, cache: bool = True) -> np.ndarray:
        """One vector per text.

        Args:
            texts: n texts of any length, the empty one included; the same text is encoded once.
            batch_size: texts of similar length that go through the model together.
            cache: look for the vectors on disk, and leave them there, under `fingerprint` and the set of texts.

        Returns:
            float32 [n, dim], in the order of `texts`.

        Raises:
            DataError: a bare text or a table instead of a list, or something in the list that is not a text.
            ConfigError: a batch size below 1.
        """
        batch_size = check_whole("batch_size", batch_size)
        texts = checked_texts(texts)
        unique = sorted(set(texts))
        if not unique:
            return np.zeros((0, self.dim), dtype=np.float32)
        if cache:
            vectors = cached(self.fingerprint, unique, self.dim, lambda: self._encode(unique, batch_size))
        else:
            vectors = self._encode(unique, batch_size)
        row = {text: i for i, text in enumerate(unique)}
        return vectors[[row[text] for text in texts]]

    def tokenize(self, texts: Iterable[str]) -> list[list[int]]:
        """Token ids of each text with its prefix, at most max_length, unpadded, at least one; errors of `encode`."""
        texts = checked_texts(texts)
        if not texts:
            return []
        batch = [self.prefix + text for text in texts]
        ids = self.tokenizer(batch, truncation=True, max_length=self.max_length)["input_ids"]
        return [one or [self.tokenizer.pad_token_id] for one in ids]  # GPT-like tokenizers give nothing for ""

    def forward(self, ids: list[list[int]]) -> torch.Tensor:
        """The vectors of one batch, differentiable: ids from `tokenize` to float [batch, dim]."""
        # Padding on the right whatever the tokenizer prefers: positions then start at 0 for every text.
        batch = self.tokenizer.pad(
            {"input_ids": ids}, padding_side="right", return_attention_mask=True, return_tensors="pt"
        ).to(self.model.device)
        vectors = POOLINGS[self.pooling](self.model(**batch).last_hidden_state, batch["attention_mask"])
        return l2_normalize(vectors, dim=-1) if self.normalize else vectors

    def copy(self) -> "TextEncoder":
        """An encoder whose model can be trained without changing this one; the tokenizer is shared."""
        other = copy.copy(self)
        other.model = copy.deepcopy(self.model)
        return other

    @property
    def fingerprint(self) -> str:
        """Computed anew each time (0.1 s for minilm), so that training the model in place changes it."""
        settings = [self.pooling, self.normalize, self.max_length, self.prefix]
        config = {key: value for key, value in self.model.config.to_dict().items() if key not in _NO_EFFECT}
        about = json.dumps([settings, config], sort_keys=True, default=str) + _tokenizer_state(self.tokenizer)
        return checksum(self.model.state_dict(), about)

    def __repr__(self) -> str:
        settings = {key: getattr(self, key) for key in ("pooling", "normalize", "max_length", "prefix")}
        return f"TextEncoder({self.name!r}, {', '.join(f'{k}={v!r}' for k, v in settings.items())}, dim={self.dim})"

    def _encode(self, texts: list[str], batch_size: int) -> np.ndarray:
        ids = self.tokenize(texts)
        vectors = np.empty((len(ids), self.dim), dtype=np.float32)
        training = [module for module in self.model.modules() if module.training]
        self.model.eval()
        try:
            with torch.inference_mode():
                for rows in progress.Bar(by_length(ids, batch_size), "encoding", unit=" batches"):
                    vectors[rows] = self.forward([ids[row] for row in rows]).float().cpu().numpy()
        finally:
            for module in training:
                module.training = True
        return vectors

    def _check(self, model: PreTrainedModel) -> None:
        """Refuse the settings that this model cannot follow, and a tokenizer that is not its own."""
        check_choice("pooling", self.pooling, tuple(POOLINGS))
        check_kind("TextEncoder(prefix)", self.prefix, str, "a text, or None for the model's own", '"" for no prefix')
        if getattr(model.config, "is_encoder_decoder", False):
            what, found = "an encoder-decoder gives no single sequence of token vectors", type(model).__name__
            remedy = "choose another model, or pass TextEncoder(tokenizer, model.get_encoder())"
            raise ConfigError(what, "TextEncoder(model)", found, "an encoder (as BERT) or a decoder (as GPT)", remedy)
        highest, rows = max(self.tokenizer.get_vocab().values(), default=-1), _token_rows(model)
        if highest >= rows:
            what = "the tokenizer belongs to another model: it gives tokens for which this model has no vector"
            found, expected = f"token {highest}", f"tokens 0 to {rows - 1}"
            raise ConfigError(what, "TextEncoder(tokenizer)", found, expected, "load both by load_backbone(name)")
        most = min(_positions(model), self.tokenizer.model_max_length)
        least = self.tokenizer.num_special_tokens_to_add() + 1
        whole = isinstance(self.max_length, Integral) and not isinstance(self.max_length, bool)
        if not whole or not least <= self.max_length <= most:
            expected = f"a whole number of tokens from {least} to {most}, the positions of this model"
            remedy = "shorten the texts rather than the model; 256 is the convention for minilm"
            raise ConfigError("no such maximal length", "TextEncoder(max_length)", self.max_length, expected, remedy)
        self.max_length = int(self.max_length)
        reads = inspect.signature(model.forward).parameters
        if "input_ids" in reads and "attention_mask" not in reads:
            name = type(model).__name__
            log.warning("%s takes no attention mask: a vector changes with the padding of its batch", name)


def _token_rows(model: Any) -> float:
    """How many tokens have a vector; unbounded where there is no table of them."""
    try:
        return len(model.get_input_embeddings().weight)
    except (AttributeError, NotImplementedError):  # a hash in place of a table
        return float("inf")


def _positions(model: PreTrainedModel) -> float:
    """How many tokens have a place. RoBERTa and its kin count places from `padding_idx` + 1 on."""
    most = getattr(model.config, "max_position_embeddings", None) or float("inf")
    for name, module in model.named_modules():
        if "position" in name.rpartition(".")[2] and getattr(module, "padding_idx", None) is not None:
            most = min(most, len(module.weight) - module.padding_idx - 1)
    return most


def by_length(ids: list[list[int]], size: int) -> list[list[int]]:
    """The positions of some texts (token ids) in batches of at most `size`, short with short: little padding."""
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    return [order[first : first + size] for first in range(0, len(order), size)]


def checked_texts(texts: Iterable[str]) -> list[str]:
    """The texts as a list, or a DataError with the first position that is not a text."""
    single = isinstance(texts, str | bytes) or not isinstance(texts, Iterable)
    if single or isinstance(texts, Mapping) or getattr(texts, "ndim", 1) != 1:  # a table gives the names of its columns
        remedy = "write [text] for a single text, frame['title'] for a column"
        raise DataError("texts come in a list", "texts", texts, "a list of str, or one column of a table", remedy)
    texts = list(texts)
    for position, text in enumerate(texts):
        if not _is_text(text):
            what = "not a text" if not isinstance(text, str) else "half a character (a lone surrogate)"
            remedy = 'replace missing texts by "", or drop their rows before encoding'
            raise DataError(what, f"texts, position {position}", text, "a str", remedy)
    return [str(text) for text in texts]  # numpy's str_ too


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def _device(device: str | torch.device) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except Exception as fault:  # torch raises RuntimeError, AssertionError or TypeError here
        expected = '"auto", "cpu", or a device of this machine such as "cuda:0"'
        raise ConfigError("no such device", "TextEncoder(device)", device, expected, 'use "auto"') from fault
    return device


def _tokenizer_state(tokenizer: PreTrainedTokenizerBase) -> str:
    """All that decides how a text becomes ids."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        return json.dumps([type(tokenizer).__name__, tokenizer.get_vocab()], sort_keys=True)
    fast.no_truncation()  # set anew by every call of the tokenizer
    fast.no_padding()
    return fast.to_str()
