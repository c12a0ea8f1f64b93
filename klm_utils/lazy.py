"""The modules of a package by their dotted names, each loaded when it is first named (PEP 562)."""

import pkgutil
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def modules(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package, which says `__getattr__, __dir__ = modules(__name__)`.

    Then `import klm_utils as klm; klm.data.assets.fetch` works, whatever was imported before.
    """

    def __getattr__(name: str) -> Any:
        if not name.startswith("_"):
            try:
                return import_module(f"{package}.{name}")
            except ModuleNotFoundError as fault:
                if fault.name != f"{package}.{name}":  # the module is there, a package that it needs is not
                    raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        module = sys.modules[package]
        found = {module.name for module in pkgutil.iter_modules(module.__path__)}
        return sorted(found | set(vars(module)))

    return __getattr__, __dir__
