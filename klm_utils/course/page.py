"""The table at the end of a run, and report.html: the same table with every figure."""

from html import escape
from pathlib import Path

from klm_utils.course.notebook import figures, headline, read
from klm_utils.errors import ConfigError
from klm_utils.files import atomic_write

START = "<!doctype html><html lang=en><meta charset=utf-8><title>KLM course</title>"
STYLE = """body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
td, th { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top } td.number { text-align: right }
figure { margin: 1.5rem 0 } img { max-width: 100% } pre { overflow-x: auto; background: #f4f4f4; padding: .7rem }"""


def rows(results: list, skipped: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """(name, state, seconds, headline metric or reason) of every notebook, in order."""
    done = [(r.job.name, "FAILED" if r.error else "ok", f"{r.seconds:.1f}", headline(r.metrics)) for r in results]
    return sorted(done + [(name, "skipped", "", reason) for name, reason in skipped.items()])


def table(results: list, skipped: dict[str, str]) -> str:
    """The table as text."""
    lines = [("notebook", "state", "seconds", "headline"), *rows(results, skipped)]
    width = max(len(line[0]) for line in lines)
    return "\n".join(
        f"{name:{width}}  {state:8}{seconds:>8}  {metric}".rstrip() for name, state, seconds, metric in lines
    )


def write_page(results: list, skipped: dict[str, str], path: Path, scale: str) -> Path:
    """Write the page: one file without a link to anything, everything escaped; returns its path."""
    parts = [f"{START}<style>{STYLE}</style>"]
    parts += [f"<h1>KLM course, scale {escape(scale)}</h1><table>"]
    parts += ["<tr><th>notebook<th>state<th>seconds<th>headline"]
    for name, state, seconds, metric in rows(results, skipped):
        parts.append(f"<tr><td>{escape(name)}<td>{state}<td class=number>{seconds}<td>{escape(metric)}")
    parts.append("</table>")
    for result in results:
        parts.append(f"<h2>{escape(result.job.name)}</h2>")
        if protocol := result.metrics.get("protocol"):
            parts.append(f"<p>{escape(str(protocol))}</p>")
        if result.error:
            parts.append(f"<pre>{escape(result.error)}</pre>")
        for figure in figures(read(result.job.output)) if result.job.output.exists() else []:
            caption = escape(figure.caption, quote=True)
            image = f'<img alt="{caption}" src="data:image/png;base64,{escape(figure.png, quote=True)}">'
            parts.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    atomic_write(path, lambda part: part.write_text("\n".join(parts) + "\n", encoding="utf8"), ConfigError)
    return path


def is_page(path: Path) -> bool:
    """Whether the file at `path` is one that `write_page` wrote."""
    try:
        with open(path, encoding="utf8") as file:
            return file.read(len(START)) == START
    except (OSError, ValueError):
        return False
