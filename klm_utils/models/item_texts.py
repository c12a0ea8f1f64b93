"""The texts of the items: which they are, who reads them, and reading them anew in each step of a training."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import nn

from klm_utils.embedding.encoder import TextEncoder, by_length
from klm_utils.embedding.mlm import MaskedHead, masked_loss
from klm_utils.errors import ConfigError, DataError, KLMError
from klm_utils.knowledge.templates import item_text

SETTINGS = ("pooling", "normalize", "max_length", "prefix")  # of an encoder
TOGETHER = 32  # texts of similar length that go through the language model at a time: little padding


def texts_of(items: pd.DataFrame, columns: Sequence[str], own: Sequence[str] | None) -> list[str]:
    """One text for each row of a table of items, written from these columns, or a user's own.

    Raises:
        DataError: not one text for each item; `encode` looks at what is in the list.
    """
    if own is None:
        return [item_text(row, None, tuple(columns)) for row in items.to_dict("records")]
    if not isinstance(own, list | tuple) or len(own) != len(items):
        found, expected = f"{type(own).__name__}: {own!r}"[:100], f"a list of {len(items)} texts in their order"
        raise DataError("there must be one text for each item", "texts", found, expected, "texts=item_texts(ds)")
    return list(own)


def described(encoder: TextEncoder | None) -> dict | None:
    """What it takes to find an encoder again: its name, how to call it, and its fingerprint."""
    if encoder is None:
        return None
    return {"name": encoder.name, "fingerprint": encoder.fingerprint, "call": call_of(encoder)}


def call_of(encoder: TextEncoder) -> dict:
    """The settings that `TextEncoder.from_pretrained` must be given for this encoder."""
    return {key: getattr(encoder, key) for key in SETTINGS}


class Borrowed:
    """An encoder that a model asks and does not own: copies of the model share it, a pickled one leaves it behind."""

    def __init__(self, encoder: TextEncoder | None = None):
        self.encoder = encoder

    def __deepcopy__(self, memo: dict) -> "Borrowed":
        return self

    def __reduce__(self) -> tuple:
        return Borrowed, ()

    def find(self, name: str, call: dict, fingerprint: str, given: TextEncoder | None) -> TextEncoder:
        """The encoder of this fingerprint (or beginning of one): the one given, the one borrowed, or one of this name.

        Raises:
            ConfigError: it is not there, or another.
        """
        found, remedy = given or self.encoder, "pass encoder=..., made as it was when the model was built"
        if found is None:
            try:
                found = TextEncoder.from_pretrained(name, **call)
            except KLMError as fault:
                what, expected = "the encoder of this model is not here", f"the encoder {name!r}"
                raise ConfigError(what, "with_items(encoder)", fault.what, expected, remedy) from fault
        if not found.fingerprint.startswith(fingerprint):
            what, expected = "this is not the encoder of the model", f"{name!r} as it was, {fingerprint[:12]}"
            raise ConfigError(what, "with_items(encoder)", f"{found!r}, {found.fingerprint[:12]}", expected, remedy)
        return found


class ItemTexts(nn.Module):
    """One text per item, and the encoder that reads them.

    A step asks for the vectors of a set of items, each read once however many rows of the log are about it.

    Args:
        encoder: from `klm_utils.embedding.modes.tuned`; its model is trained in place.
        texts: one for each item, in the order of the items.
    """

    def __init__(self, encoder: TextEncoder, texts: list[str]):
        super().__init__()
        self.encoder, self.model = encoder, encoder.model
        self.ids = encoder.tokenize(texts)
        self.head: MaskedHead | None = None
        self.eval()

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """The vectors of these items as the language model sees them now: int [n] -> float32 [n, dim], with graph."""
        if not len(items):
            return torch.zeros(0, self.encoder.dim, device=items.device)
        ids = [self.ids[item] for item in items.tolist()]
        parts = by_length(ids, TOGETHER)
        order = torch.tensor([place for part in parts for place in part])
        vectors = torch.cat([self.encoder.forward([ids[place] for place in part]) for part in parts])
        return vectors.float().index_select(0, order.argsort().to(vectors.device))

    def learn_to_guess(self, wanted: bool = True, seed: int = 0) -> None:
        """Give the language model a new head, which `masked_loss` needs, or take it away."""
        self.head = MaskedHead(self.encoder, seed) if wanted else None

    def masked_loss(self, items: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
        """The masked-language-model loss of the texts of these items, after `learn_to_guess`."""
        assert self.head is not None
        return masked_loss(self.encoder, self.head, [self.ids[item] for item in items.tolist()], draw)

    def dropout(self, rate: float) -> None:
        """Use this dropout inside the language model in training, where it has any."""
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = rate
