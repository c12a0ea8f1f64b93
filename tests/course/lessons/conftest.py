"""What the tests of the lessons share."""

import matplotlib.pyplot as plt
import pytest

from klm_utils import plots


@pytest.fixture(autouse=True)
def closed():
    """Every figure of a test can be drawn, Chinese too; then it is closed, and settings are what they were."""
    with plt.rc_context():
        plots.chinese()
        yield
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
    plt.close("all")
