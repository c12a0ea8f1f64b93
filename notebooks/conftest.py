"""nbval compares stored with new outputs; what goes to stderr differs between machines."""

from pathlib import Path

LONG = ("05_", "03_", "06_")  # over a minute
PATIENCE = 600  # seconds for a message of a kernel that has answered; nbval's five are too few


def pytest_collectstart(collector):
    """Leave stderr out of the comparison."""
    if getattr(collector, "path", None) is not None and hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


def pytest_collection_modifyitems(items):
    """Wait longer for outputs, and take long notebooks first: two workers then end together."""
    items.sort(key=lambda item: not getattr(item, "path", Path()).name.startswith(LONG))
    for item in items:
        if hasattr(item, "output_timeout"):
            item.output_timeout = PATIENCE
