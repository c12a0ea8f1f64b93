"""Pretrained language models, by name: the two pinned ones, or anything that from_pretrained can read."""

import copy
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import torch
import transformers
from huggingface_hub import HfApi
from huggingface_hub import constants as hub
from huggingface_hub.errors import HfHubHTTPError
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from klm_utils.data.assets import ASSETS, fetch, offline
from klm_utils.embedding import e5
from klm_utils.errors import AssetError, ConfigError
from klm_utils.files import LEFT_BY_SYSTEMS, check_seal, sealed

log = logging.getLogger(__name__)
transformers.utils.logging.set_verbosity_error()  # load reports and hints
transformers.utils.logging.disable_progress_bar()  # huggingface_hub's too
logging.getLogger("huggingface_hub").setLevel("ERROR")  # one line per retry of a download
PREFIXES = {"e5": "query: "}  # Wang et al. 2024, Multilingual E5, section 2: texts of symmetric tasks start so


def load_backbone(name: str | Path) -> tuple[transformers.PreTrainedTokenizerBase, transformers.PreTrainedModel]:
    """A tokenizer and its language model, in evaluation mode, float32, on the CPU; nothing is printed.

    Args:
        name: "minilm" (all-MiniLM-L6-v2, English), "e5" (multilingual-e5-small), a hub id or a local folder.

    Raises:
        ConfigError: `name` is not a text.
        AssetError: the model is missing, incomplete, of an unknown kind, or wants code of its own to run.
    """
    if not isinstance(name, str | os.PathLike) or not str(name):
        what, expected = "the name of a language model must be a text", '"minilm", "e5", a hub id or a local folder'
        raise ConfigError(what, "load_backbone(name)", name, expected, "pass one of these")
    if name == "minilm":
        folder = fetch("minilm")
        _refuse_foreign(folder, ASSETS["minilm"].members)
        return _pretrained(AutoTokenizer, folder, True), _pretrained_model(folder, True)
    if name == "e5":
        tokenizer, folder = e5.tokenizer(), e5.folder()
        _refuse_foreign(folder, e5.FILES)
        return tokenizer, _pretrained_model(folder, True)
    if sealed(Path(name)):  # save_pretrained wrote it
        check_seal(Path(name))
    local = not hub_answers(name)
    tokenizer = _pretrained(AutoTokenizer, name, local)
    if set(tokenizer.get_vocab()) <= {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab(), "▁"}:
        # transformers makes such a tokenizer when it finds no file of one
        what, found = "the tokenizer knows no word, so all texts would be equal", sorted(tokenizer.get_vocab())[:5]
        expected = "the files of the tokenizer beside those of the model: tokenizer.json, or vocab.txt and the like"
        raise AssetError(what, str(name), found, expected, "add them: tokenizer.save_pretrained(folder)")
    return tokenizer, _pretrained_model(name, local)


def hub_answers(name: str | Path) -> bool:
    """Whether `name` is no folder, and the hub can be asked for it.

    One question, for at most HF_HUB_ETAG_TIMEOUT (10 s): the hub's own client would repeat it for 20 s, and then the
    next.
    """
    if offline() or hub.HF_HUB_OFFLINE or os.path.isdir(name):
        return False
    try:
        HfApi().model_info(str(name), timeout=hub.HF_HUB_ETAG_TIMEOUT)
    except HfHubHTTPError:  # an answer too: from_pretrained will tell it
        return True
    except Exception as fault:  # httpx's or requests', by version; or this can be no name of the hub
        log.debug("the hub cannot be asked for %s: %s", name, fault)
        return False
    return True


def trim_vocabulary(
    model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerBase, texts: Iterable[str]
) -> tuple[transformers.PreTrainedTokenizerBase, transformers.PreTrainedModel]:
    """The same language model with only the token rows that these texts use, and the special ones.

    The texts, alone and behind a prefix of `PREFIXES`, get the same vectors as before. Any other text still works as
    far as the remaining tokens can spell it; the rest becomes the unknown token. The model and the tokenizer that come
    in are not changed.

    Returns:
        tokenizer and model, as `load_backbone` gives them; `save_pretrained` of both makes a folder that it reads.

    Raises:
        ConfigError: a tokenizer that is neither Unigram nor WordPiece (in BPE a token needs those it is merged from).
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str()) | {"truncation": None, "padding": None}
    kind, words = state["model"].get("type"), state["model"].get("vocab")
    if kind not in ("Unigram", "WordPiece"):
        what, expected = (
            "the vocabulary of this kind of tokenizer cannot be trimmed",
            "Unigram (e5), WordPiece (minilm)",
        )
        raise ConfigError(what, "trim_vocabulary(tokenizer)", kind, expected, "use the model as it is")
    batch = [prefix + text for text in dict.fromkeys(texts) for prefix in ("", *PREFIXES.values())]
    used = set(tokenizer.all_special_ids).union(*tokenizer(batch or [""])["input_ids"])
    if kind == "Unigram":  # the rarest piece sets the price of an unknown character: with it, every path costs the same
        used.add(min(range(len(words)), key=lambda token: words[token][1]))
    old = sorted(used)
    new = {token: place for place, token in enumerate(old)}
    if kind == "Unigram":
        state["model"] |= {"vocab": [words[token] for token in old], "unk_id": new[state["model"]["unk_id"]]}
    else:
        state["model"]["vocab"] = {word: new[token] for word, token in words.items() if token in new}
    state["added_tokens"] = [token | {"id": new[token["id"]]} for token in state["added_tokens"] if token["id"] in new]
    for special in (state.get("post_processor") or {}).get("special_tokens", {}).values():
        special["ids"] = [new[token] for token in special["ids"]]
    trimmed = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        model_max_length=tokenizer.model_max_length,
        **tokenizer.special_tokens_map,
    )
    table = model.get_input_embeddings()
    small = copy.deepcopy(model, {id(table): table})  # the big table is not copied
    rows = torch.nn.Embedding.from_pretrained(table.weight.detach()[old].clone(), freeze=not table.weight.requires_grad)
    small.set_input_embeddings(rows)
    small.config.vocab_size, small.config.pad_token_id = len(old), trimmed.pad_token_id
    return trimmed, small


def _refuse_foreign(folder: Path, known: Iterable[str]) -> None:
    """AssetError if a pinned model has a file more: transformers would read an adapter_config.json, for example."""
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir()} - set(known)
    seen = sorted(file for file in files if not file.startswith(".") and "/." not in file)
    if foreign := [file for file in seen if PurePosixPath(file).name not in LEFT_BY_SYSTEMS]:
        what, expected = "a file that does not belong to this model, and may change it", f"only {', '.join(known)}"
        raise AssetError(what, str(folder / foreign[0]), foreign, expected, "move it to another folder")


def _pretrained_model(name: str | Path, local: bool) -> transformers.PreTrainedModel:
    """AutoModel without pooling layer: none of our poolings uses it, and where the file lacks it, it is random."""
    options = {"dtype": torch.float32, "output_loading_info": True}
    try:
        model, info = _pretrained(AutoModel, name, local, add_pooling_layer=False, **options)
    except TypeError:  # this architecture has no such argument
        model, info = _pretrained(AutoModel, name, local, **options)
    if info["missing_keys"]:
        what = "the file of weights is incomplete; random values would stand in for the rest"
        found = f"{len(info['missing_keys'])} tensors missing, first {min(info['missing_keys'])}"
        expected = f"all tensors of {type(model).__name__}"
        raise AssetError(what, str(name), found, expected, "save or download the model again")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # off the file, which Windows lets nobody replace while it is mapped
    return model.eval()


def _pretrained(kind, name: str | Path, local: bool, **options):
    """kind.from_pretrained, with every way in which a folder or hub id can fail told as an AssetError."""
    before = hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = before or local  # local_files_only alone still lets the hub's client look for updates
    try:
        return kind.from_pretrained(name, trust_remote_code=False, local_files_only=local, **options)
    except Exception as fault:
        if isinstance(fault, TypeError) and "add_pooling_layer" in str(fault):
            raise
        if os.path.isdir(name):
            remedy = "put the missing or damaged file back, or choose a model that needs no code of its own"
        else:
            network = "check the network, which does not reach the hub" if local else "see whether the hub has it"
            network = "unset KLM_OFFLINE to download it" if offline() else network
            remedy = f'check the spelling of the folder or hub id; {network}; "minilm" and "e5" need no hub'
        what, found = f"{kind.__name__} cannot load this model", (str(fault).strip().splitlines() or [""])[0]
        expected = '"minilm", "e5", a hub id, or a folder with config.json, model.safetensors and tokenizer files'
        raise AssetError(what, str(name), f"{type(fault).__name__}: {found}", expected, remedy) from fault
    finally:
        hub.HF_HUB_OFFLINE = before
