"""What tests of several rooms share: a small course for the harness, small data, small models, disks that fail."""

import importlib.util
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from worlds import FAST, planted, tasteful, tiny_encoder

import klm_utils as klm

CACHE = os.environ.get("KLM_CACHE", "")  # empty: the user's

LONG = ("test_shop_quality.py", "test_run.py", "test_distributed.py", "test_hygiene.py", "test_quality.py")  # over 30 s

METRICS = 'print("METRICS", json.dumps({"headline": "auc", "auc": 0.75 + EPOCHS / 100, "protocol": "made up"}))'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: two workers that take file after file then end together."""
    items.sort(key=lambda item: item.path.name not in LONG)


class Course:
    """A checkout with `notebooks/` and a file of scales. The folder's name has a space, as a user's may."""

    def __init__(self, root: Path):
        self.root, self.notebooks, self.scales = root, root / "notebooks", root / "scales.yaml"
        self.notebooks.mkdir(parents=True)
        (root / "pyproject.toml").write_text('[tool.klm]\nrepository = "some/course"\nbranch = "main"\n')
        self.entries = {}

    def add(self, name: str, *code: str, parameters: str = "EPOCHS = 5", metrics: str = METRICS, **entry) -> Path:
        """A notebook of a parameters cell, the cells of `code` and a metrics cell, with its entry of scales."""
        cells = [
            new_markdown_cell(f"# {name}"),
            new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            new_code_cell("import json"),
            *[cell if isinstance(cell, dict) else new_code_cell(cell) for cell in code],
            new_code_cell(metrics, metadata={"tags": ["metrics"]}),
        ]
        path = self.notebooks / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=cells), path)
        self.entries[name] = entry
        timeout = {"smoke": 30, "default": 60, "full": 60}
        self.scales.write_text(yaml.safe_dump({"timeout": timeout, "notebooks": self.entries}))
        return path


@pytest.fixture
def course(tmp_path) -> Course:
    """A new small course."""
    return Course(tmp_path / "a course")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of this repository."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def script(checkout):
    """A script of the repository as a module: script("data/shop/measure.py")."""

    def load(path: str):
        spec = importlib.util.spec_from_file_location(Path(path).stem + "_script", checkout / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def movielens():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KLM_CACHE", CACHE)  # the encoder of a module may have set another one
        return klm.load_dataset("movielens-100k")


@pytest.fixture(scope="session")
def ds():
    return planted()


@pytest.fixture(scope="session")
def small():
    return tasteful()


@pytest.fixture(scope="session")
def split(ds):
    return klm.split(ds, "random")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny one, whose vectors go to a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield tiny_encoder()


@pytest.fixture
def read_only():
    """A folder in which an ordinary user may read but not write, and for a moment we are one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        @contextmanager
        def locked(files=0o444):
            root = os.geteuid() == 0
            for path in [folder, *folder.rglob("*")]:
                os.chmod(path, 0o555 if path.is_dir() else files)
            if root:
                os.seteuid(65534)
            try:
                yield
            finally:
                if root:
                    os.seteuid(0)
                for path in [folder, *folder.rglob("*")]:
                    os.chmod(path, 0o755)

        yield folder, locked


@pytest.fixture
def full_disk():
    """A limit on the size of files makes the kernel refuse a write, as a full disk does."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited(size=1000):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture(scope="module")
def model(ds, split, encoder):
    """Trained with text. Nothing here may change it."""
    model = klm.KLMRecommender.from_split(split, encoder)
    klm.fit(model, split, klm.TrainConfig(**FAST))
    return model


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


@pytest.fixture
def build(ds, split):
    """A new untrained model."""
    return lambda split=split, **options: klm.KLMRecommender.from_split(split, **options)


@pytest.fixture(autouse=True)
def listening():
    """A process that was started in the background ignores Ctrl-C, and so would these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
