import pytest
from planted import planted

import klm_utils as klm


@pytest.fixture(scope="session")
def movielens():
    return klm.load_dataset("movielens-100k")


@pytest.fixture(scope="session")
def small():
    return planted()
