"""What a model of sentence-transformers says of its own pooling. TextEncoder goes by its arguments, but tells."""

import json
import logging
from pathlib import Path

from transformers.utils import cached_file

from klm_utils.embedding.backbones import hub_answers

log = logging.getLogger(__name__)
DEFAULTS = {"pooling": "mean", "normalize": True, "max_length": 256, "prefix": None}  # of TextEncoder.from_pretrained
OURS = {"mean": "mean", "cls": "cls", "lasttoken": "last"}  # their word for a pooling -> that of TextEncoder


def warn(name: str | Path, given: dict) -> None:
    """One line if the model says otherwise than the arguments left at their defaults, with what to pass.

    Args:
        name: a hub id or a local folder.
        given: the arguments of `DEFAULTS`; who passes another value has decided.
    """
    said = stated(name)
    lacks = [f"a layer {layer}" for layer in said.pop("layers", ())]
    if said.get("pooling", "mean") not in OURS.values():
        lacks.append(f"the pooling {said.pop('pooling')}")
    if lacks:
        log.warning("%s wants %s: TextEncoder has none, and gives other vectors", name, " and ".join(lacks))
    other = {key: value for key, value in said.items() if given[key] == DEFAULTS[key] != value}
    if other:
        follow = ", ".join(f"{key}={value!r}" for key, value in other.items())
        log.warning("%s was made for %s: pass that to TextEncoder.from_pretrained to follow it", name, follow)


def stated(name: str | Path) -> dict:
    """Arguments of TextEncoder that the files of sentence-transformers state, and "layers" that it lacks; {} if none.

    They are modules.json, the config.json of the pooling, sentence_bert_config.json and
    config_sentence_transformers.json.
    """
    local = not hub_answers(name)
    modules = _json(name, "modules.json", local)
    if not isinstance(modules, list):
        return {}
    kinds = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
    said = {"normalize": "Normalize" in kinds}
    if layers := sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"}):
        said["layers"] = layers
    if "Pooling" in kinds:
        said["pooling"] = _pooling(_json(name, f"{kinds['Pooling']}/config.json", local) or {})
    if length := (_json(name, "sentence_bert_config.json", local) or {}).get("max_seq_length"):
        said["max_length"] = length
    config = _json(name, "config_sentence_transformers.json", local) or {}
    prompts = {key: text for key, text in (config.get("prompts") or {}).items() if text}
    if prompts:
        said["prefix"] = prompts.get(config.get("default_prompt_name"), next(iter(prompts.values())))
    return said


def _pooling(config: dict) -> str:
    """One word, or several with + between: {"pooling_mode": "cls"}, before 2026 {"pooling_mode_cls_token": true}."""
    word = config.get("pooling_mode")
    words = [word] if isinstance(word, str) else word or [k for k, on in config.items() if on is True and "mode_" in k]
    words = [w.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for w in words]
    return OURS.get(words[0], words[0]) if len(words) == 1 else "+".join(words) or "mean"


def _json(name: str | Path, file: str, local: bool):
    """The content of a file of the model, or None if there is no such file, or it cannot be read."""
    try:
        return json.loads(Path(cached_file(name, file, local_files_only=local)).read_text(encoding="utf8"))
    except (OSError, ValueError, TypeError):
        return None
