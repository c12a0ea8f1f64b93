"""python -m klm_utils doctor | lab | run | student | minutes | cache. Each imports what it needs, and only then."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from klm_utils.errors import ConfigError, KLMError


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 something failed, 2 wrong arguments, 130 interrupted."""
    parser = _parser()
    options, rest = parser.parse_known_args(argv)
    options.rest = rest
    if rest and not options.takes_rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return options.call(options)
    except KLMError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m klm_utils", description=__doc__)
    parser.set_defaults(takes_rest=False)
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("doctor", help="check this machine, with the remedy for each fault")
    command.set_defaults(call=lambda options: _tool("doctor").main())

    command = commands.add_parser("lab", help="JupyterLab in my/, your own copies; its options may follow")
    command.set_defaults(call=lambda options: _tool("lab").main(options.rest), takes_rest=True)

    command = commands.add_parser("run", help="execute notebooks headless; exit code 1 if one fails")
    command.add_argument("which", nargs="*", help="numbers or names (03, 05_end); default: all")
    command.add_argument("--scale", choices=["smoke", "default", "full"], default="default")
    command.add_argument("--jobs", type=_positive, default=2, help="notebooks at a time, one thread each (default: 2)")
    command.add_argument("--student", action="store_true", help="run the student copies")
    command.add_argument("--store", action="store_true", help="keep the outputs in notebooks/ (default scale only)")
    output = "folder of the executed copies and report.html; default: build/, or build/student/"
    command.add_argument("--output", type=_path, help=output)
    command.add_argument("--scales", type=_path, help="another file of scales than the course's own")
    command.set_defaults(call=lambda options: _tool("run").main(options))

    command = commands.add_parser("student", help="write notebooks/student from the solved notebooks")
    command.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file differs")
    command.add_argument("--force", action="store_true", help="replace copies that somebody has edited, too")
    command.set_defaults(call=lambda options: _tool("student").main(options.check, options.force))

    command = commands.add_parser("minutes", help="how long each notebook takes to read")
    command.set_defaults(call=lambda options: _tool("minutes").main())

    command = commands.add_parser("cache", help="show where the cache is and its size")
    either = command.add_mutually_exclusive_group()
    either.add_argument("--fetch", action="store_true", help="fetch the pinned models and data")
    either.add_argument("--clear", action="store_true", help="delete what was fetched or derived, nothing else")
    command.set_defaults(call=lambda options: _cache(options.fetch, options.clear))
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text!r}")
    return int(text)


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, found {text!r}")
    return Path(text)


def _tool(name: str) -> ModuleType:
    """A module of klm_utils.course; a package it lacks is named together with what installs it."""
    try:
        return import_module(f"klm_utils.course.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("klm_utils"):
            raise
        remedy = 'python -m pip install -r requirements.lock (in a checkout), or: pip install "klm-course[course]"'
        raise ConfigError(f"this command needs the package {error.name}", remedy=remedy) from error


def _cache(fetch: bool, clear: bool) -> int:
    try:
        from klm_utils.data import assets
        from klm_utils.files import cache_dir
    except ModuleNotFoundError as error:
        remedy = f"python -m pip install {error.name}"
        raise ConfigError(f"the cache needs the package {error.name}", remedy=remedy) from error
    if fetch:
        for name in assets.asset_names():
            if assets.missing(name):
                print(f"fetching {name}", flush=True)
            assets.fetch(name)
    if clear:
        print(f"deleted {assets.clear_cache() / 1e6:.0f} MB")
    sizes = assets.cache_size()
    print(f"{cache_dir()}: {sum(sizes.values()) / 1e6:.0f} MB")
    for part, size in sizes.items():
        print(f"  {part:24} {size / 1e6:8.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
