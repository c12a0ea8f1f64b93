import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from small import FAST, planted, tiny_encoder

import klm_utils as klm

CACHE = os.environ.get("KLM_CACHE", "")  # empty: the user's


@pytest.fixture(scope="session")
def movielens():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KLM_CACHE", CACHE)  # the encoder of a module may have set another one
        return klm.load_dataset("movielens-100k")


@pytest.fixture(scope="session")
def ds():
    return planted()


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
    model = klm.KLMRecommender.from_dataset(ds, split, encoder)
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
    return lambda split=split, **options: klm.KLMRecommender.from_dataset(split.dataset, split, **options)


@pytest.fixture(autouse=True)
def listening():
    """A process that was started in the background ignores Ctrl-C, and so would these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
