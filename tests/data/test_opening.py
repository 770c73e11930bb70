"""Which reader a folder is given to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from semalign.data import check_dataset
from semalign.data.formats import READERS
from semalign.data.opening import find_dataset, open_dataset, scan_dataset
from semalign.errors import SemalignError
from semalign.schemes import load_scheme

MARKS = {
    "300W": "ibug/",
    "AFLW": "AFLWinfo_release.mat",
    "300-VW": "548/vid.avi",
    "WFLW": "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_test.txt",
    "COFW": "COFW_test_color.mat",
}


def mark(root: Path, name: str) -> Path:
    """Make what a folder of the data set is recognised by."""
    path = root / MARKS[name]
    (path if MARKS[name].endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
    if not MARKS[name].endswith("/"):
        path.write_bytes(b"")
    return root


@pytest.mark.parametrize("name", MARKS)
def test_each_layout_is_recognised(tmp_path: Path, name: str) -> None:
    assert set(MARKS) == {reader.title for reader in READERS if not reader.general and not reader.document}
    root = mark(tmp_path / "some/folder", name)
    for given in (root, root.parent):
        reader, folder = find_dataset(given, READERS)
        assert (reader.title, folder) == (name, root)


def test_two_layouts_are_no_choice(tmp_path: Path) -> None:
    root = mark(mark(tmp_path / "a", "AFLW"), "COFW")
    with pytest.raises(SemalignError) as caught:
        open_dataset(root)
    assert str(caught.value) == f"{root}: holds several data sets (AFLW, COFW); give the folder of one of them."
    mark(tmp_path / "b/one", "WFLW")
    mark(tmp_path / "b/two", "300W")
    with pytest.raises(SemalignError, match=r"holds several data sets \(WFLW in one, 300W in two\)"):
        open_dataset(tmp_path / "b")
    assert find_dataset(tmp_path / "b/two", READERS)[0].title == "300W"


def test_no_layout(tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match=r"nowhere: there is no such folder; give the folder that holds afw, "):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(SemalignError, match=r"is no data set of a known layout; .*001/vid\.avi \(300-VW\)"):
        open_dataset(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SemalignError, match="file: is a file, not a folder"):
        open_dataset(tmp_path / "file")


def test_300w_as_before(make_300w: Callable[..., Path]) -> None:
    root = make_300w()
    assert len(open_dataset(root)) == len(open_dataset(root.parent)) == len(open_dataset(root / "lfpw/testset")) == 10
    with pytest.raises(SemalignError, match="the scheme aflw19 has 19"):
        open_dataset(root, load_scheme("aflw19"))
    (root / "afw/image_0001.pts").unlink()
    with pytest.raises(SemalignError, match=r"has no \.pts beside it"):
        open_dataset(root)
    assert len(open_dataset(root, keep_going=True)) == 9


def test_empty_sets(tmp_path: Path) -> None:
    root = mark(tmp_path / "wflw", "WFLW")
    with pytest.raises(SemalignError, match="holds no annotated face"):
        open_dataset(root)
    with pytest.raises(SemalignError, match="holds no annotated face"):
        scan_dataset(root)
    with pytest.raises(SemalignError, match="holds no annotated face"):
        check_dataset(root)
