"""nbval compares stored with new outputs; what goes to stderr (warnings, progress) differs between machines."""


def pytest_collectstart(collector):
    """Leave stderr out of the comparison."""
    if getattr(collector, "path", None) is not None and hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
