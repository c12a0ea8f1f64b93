"""The model and the loop that trains it (notebook 05)."""
