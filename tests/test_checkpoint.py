"""A checkpoint is whole or refused: cut anywhere, edited anywhere, written onto a full disk or into a closed folder."""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from klm_utils import files
from klm_utils.errors import CheckpointError

TENSORS = {
    "float": torch.arange(6.0).reshape(2, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "flags": torch.tensor([True, False]),
    "whole": torch.tensor([2**40, -1]),
    "scalar": torch.tensor(3.5),
    "none": torch.zeros(0, 4),
}
ABOUT = {"ids": ["é", '"quoted"', "new\nline", "🎬"], "number": 0.1, "nothing": None, "nested": {"a": [1, 2]}}


@pytest.fixture
def path(tmp_path):
    files.write_tensors(tmp_path / "new folder" / "file.safetensors", TENSORS, ABOUT)
    return tmp_path / "new folder" / "file.safetensors"


def equal(found):
    tensors, about = found
    return about == ABOUT and all(
        torch.equal(tensors[k], v) and tensors[k].dtype == v.dtype for k, v in TENSORS.items()
    )


def test_what_was_written_is_read(path):
    assert equal(files.read_tensors(path)) and set(files.read_tensors(path)[0]) == set(TENSORS)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_cut_anywhere_it_is_refused(path):
    content = path.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, *range(101, len(content) - 1, 37), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="cut short"):
            files.read_tensors(path)
    path.write_bytes(content + b"x")
    with pytest.raises(CheckpointError, match="cut short or was edited"):
        files.read_tensors(path)


def test_every_edited_byte_is_noticed_or_means_nothing(path):
    """Nothing but our own error comes out, and never another content."""
    content, refused = path.read_bytes(), 0
    for at in range(len(content)):
        flip = (0x01, 0x20, 0x80)[at % 3]
        path.write_bytes(content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :])
        try:
            assert equal(files.read_tensors(path)), f"byte {at}"
        except CheckpointError:
            refused += 1
    assert refused > 0.97 * len(content), "only the padding of the header may change"


def test_an_edited_description_is_noticed(path):
    content = path.read_bytes()
    assert content.count(b"0.1") == 1
    path.write_bytes(content.replace(b"0.1", b"0.2"))
    with pytest.raises(CheckpointError, match="checksum"):
        files.read_tensors(path)


def test_swapped_tensors_are_noticed(path):
    """Two tensors of one shape change names: each byte of data is as it was."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    header["float"], header["transposed"] = header["transposed"], header["float"]
    header["float"]["shape"], header["transposed"]["shape"] = [2, 3], [3, 2]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    with pytest.raises(CheckpointError, match="checksum"):
        files.read_tensors(path)


def test_a_file_of_another_program_is_refused(path):
    for metadata in (None, {"format": "pt"}, {"about": "{}"}, {"sha256": "0"}):
        save_file({"weight": torch.ones(2)}, path, metadata)
        with pytest.raises(CheckpointError):
            files.read_tensors(path)
    path.write_text("not a checkpoint at all, only some text")
    with pytest.raises(CheckpointError):
        files.read_tensors(path)


def test_no_file_and_a_folder_in_its_place(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    for name in ("absent.safetensors", "folder.safetensors"):
        with pytest.raises(CheckpointError, match=name):
            files.read_tensors(tmp_path / name)


def test_a_full_disk_leaves_the_old_file(path, full_disk):
    with full_disk(), pytest.raises(CheckpointError, match="cannot write") as caught:
        files.write_tensors(path, {"large": torch.zeros(10_000)}, {})
    assert path.name in caught.value.where and caught.value.remedy
    assert equal(files.read_tensors(path)) and [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_closed_folder_leaves_the_old_file(read_only):
    folder, locked = read_only
    path = folder / "file.safetensors"
    files.write_tensors(path, TENSORS, ABOUT)
    with locked():
        for place in (path, folder / "new" / "file.safetensors"):
            with pytest.raises(CheckpointError, match="cannot write"):
                files.write_tensors(place, TENSORS, {})
        assert equal(files.read_tensors(path))


def test_a_file_that_may_not_be_read(read_only):
    folder, locked = read_only
    files.write_tensors(folder / "file.safetensors", TENSORS, ABOUT)
    with locked(files=0), pytest.raises(CheckpointError, match=r"file\.safetensors"):
        files.read_tensors(folder / "file.safetensors")


def test_a_file_in_place_of_the_folder(path):
    with pytest.raises(CheckpointError, match=path.name):
        files.write_tensors(path / "below.safetensors", TENSORS, ABOUT)
    assert equal(files.read_tensors(path))


def test_an_interrupted_write_leaves_the_old_file(path, monkeypatch):
    def interrupted(*args):
        save_file(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_tensors(path, {"new": torch.zeros(1)}, {})
    assert equal(files.read_tensors(path)) and [file.name for file in path.parent.iterdir()] == [path.name]


def test_tensors_that_want_a_gradient_are_written_as_values(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(2))
    files.write_tensors(tmp_path / "p.safetensors", {"p": parameter}, {})
    assert not files.read_tensors(tmp_path / "p.safetensors")[0]["p"].requires_grad
