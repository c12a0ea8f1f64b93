import pandas as pd
import pytest


@pytest.fixture
def tables():
    """Three small good tables: keyword arguments of RecDataset.from_frames. Tests break one cell of a copy."""
    return {
        "items": pd.DataFrame({"item_id": [1, 2, 3], "title": ["a", "b", "c"], "tags": [["x"], ["x", "y"], []]}),
        "users": pd.DataFrame({"user_id": [10, 20], "age": [30, 40]}),
        "interactions": pd.DataFrame(
            {
                "user_id": [10, 10, 20, 20],
                "item_id": [1, 2, 2, 3],
                "timestamp": [5, 1, 1, 0],
                "rating": [5.0, 2.0, 4.0, 1.0],
                "label": [1, 0, 1, 0],
            }
        ),
    }
