"""The model card that `save_pretrained` writes: what the model is, what it was trained on, how good, what for."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import klm_utils
from klm_utils.errors import CheckpointError, ConfigError
from klm_utils.evaluation.report import Report, plain
from klm_utils.files import atomic_write

OURS = "Written by klm-utils"
NONE = "None given: `model.save_pretrained(path, reports=[klm.evaluate(...)])` writes them here."
QUESTIONS = {
    "label": "*Will this user like it?* A probability for each pair of a user and an item that the user meets.",
    "interaction": "*What will this user choose?* A ranking; a probability of a choice against all other pairs.",
}


def save(folder: Path, model, trained: dict | None) -> None:
    """Write the card as README.md, unless there is one that somebody else wrote or wrote in."""
    path, text = folder / "README.md", card(model, trained)
    if not path.exists() or _untouched(path.read_text(encoding="utf8", errors="replace")):
        atomic_write(path, lambda beside: beside.write_text(text, encoding="utf8"), CheckpointError)


def card(model, trained: dict | None = None) -> str:
    """The card as Markdown, with the header that the hub reads.

    Args:
        model: a `KLMRecommender`; its `measured` are rows of `measured`.
        trained: of an encoder that was trained along and lies beside the card: its folder, and how to call it.
    """
    about = model.about
    text = about["encoder"]["name"] if about["encoder"] else "none"
    reads = [*(about["reads"]["text"] or []), *about["reads"]["features"], *(about["reads"]["facts"] or [])]
    lines = [
        "---",
        "library_name: klm-utils",
        "tags: [recommendation]",
        "---",
        "",
        f"# {plain(model.name)}",
        "",
        QUESTIONS[model.objective],
        "",
        "## Data and training",
        "",
        f"- data: {plain(about['data'])}; {plain(about['protocol'])}",
        f"- language model: {plain(text)}, mode {plain(about['mode'])} {plain(about['tuning'] or '')}".rstrip(),
        f"- knowledge: {plain(about['knowledge'])}; profile: {plain(about['profile'])}",
        f"- read of the items: {plain(', '.join(dict.fromkeys(reads)) or 'no column')}",
        f"- fusion: {plain(about['fusion'])} {plain(about['settings'])}, seed {plain(about['seed'])}",
        f"- users: {len(model.users):,}; items: {len(model.items):,}",
        "",
        "## Metrics",
        "",
        *(_table(model.measured) if model.measured else [NONE]),
        "",
        "## Intended use",
        "",
        "Teaching and research: comparing what text is worth to a recommender. It knows the users and items of its",
        "data set; `model.with_items(frame)` adds new items. Its scores repeat what that log shows, whoever was shown",
        "what. They were not checked for fairness between groups, and should decide nothing that matters to a person.",
        "",
        "## How to load it",
        "",
        "```python",
        "import klm_utils as klm",
        "",
        "model = klm.KLMRecommender.from_pretrained(FOLDER)",
        *([f"encoder = {_call(**trained)}"] if trained else []),
        "```",
        "",
    ]
    text = "\n".join([*lines, ""])
    return f"{text}{OURS} {klm_utils.__version__}, {_digest(text)}.\n"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12]


def _untouched(text: str) -> bool:
    """Whether a card is as it was written."""
    body, ours, end = text.rpartition(OURS)
    return bool(ours) and end.rstrip().endswith(f", {_digest(body)}.")


def _call(folder: str, call: dict) -> str:
    given = ", ".join(f"{key}={value!r}" for key, value in call.items())
    return f'klm.TextEncoder.from_pretrained(FOLDER + "/{folder}", {given})'


def measured(reports: Sequence[Report]) -> list[list]:
    """[metric, value, low, high, level, protocol] of each metric of some reports, for JSON.

    Raises:
        ConfigError: something else than reports.
    """
    if not isinstance(reports, list | tuple) or not all(isinstance(report, Report) for report in reports):
        remedy = "reports=[klm.evaluate(model, split)]"
        raise ConfigError("these are no reports", "save_pretrained(reports)", reports, "a list of Report", remedy)
    return [
        [name, float(value), *map(float, r.intervals[name]), r.level, r.protocol]
        for r in reports
        for name, value in r.metrics.items()
    ]


def _table(rows: list[list]) -> list[str]:
    lines = ["| metric | value | interval | protocol |", "|---|---|---|---|"]
    for name, value, low, high, level, protocol in rows:
        interval = "undefined" if low != low else f"{low:.4f} to {high:.4f} ({level:.0%})"
        lines.append(f"| {plain(name)} | {value:.4f} | {interval} | {plain(protocol.replace('|', '/'))} |")
    return lines


def told(model) -> str:
    """What `print(model)` says: what the model reads of its data, and what of the items it does not."""
    about, reads = model.about, model.about["reads"]
    text = "texts of your own" if reads["text"] is None else f"text of {', '.join(reads['text']) or 'nothing'}"
    reader = "no text" if about["encoder"] is None else f"{text} ({about['encoder']['name']}, {about['mode']})"
    known = [
        f"features of {', '.join(names)}" if names else "no features"
        for names in map(reads.get, ("features", "profile"))
    ]
    facts = "" if reads["facts"] == [] else f", facts of {', '.join(reads['facts'] or ['your own'])}"
    profile = {"features": known[1], "text": "profile as text", "both": f"{known[1]}, profile as text"}
    return "\n".join(
        [
            f"{model.name}: {about['data']}, objective {model.objective}",
            f"  items     {len(model.items):,}: id, {reader}, {known[0]}{facts}",
            f"  users     {len(model.users):,}: id, history, {profile[about['profile']]}",
            f"  fusion    {about['fusion']} ({', '.join(f'{k}={v}' for k, v in about['settings'].items())})",
            f"  not read  {', '.join(reads['unread']) or 'no column'} (of the items)",
        ]
    )
