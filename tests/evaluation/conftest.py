import pytest
from worlds import tasteful


@pytest.fixture(scope="session")
def small():
    return tasteful()
