"""What stands in a picture."""


def texts(ax):
    """All texts of an Axes but its title and the labels of its axes."""
    return [text.get_text() for text in ax.texts]
