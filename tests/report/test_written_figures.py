import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from hpcgeom.errors import InputError
from hpcgeom.report.write import write_figures

NAMES = ("intrinsic_dimension", "overlap")
AGAIN = """
import sys, xarray
from pathlib import Path
from hpcgeom.report.write import write_figures
write_figures(xarray.open_zarr(sys.argv[1]), Path(sys.argv[2]), names=sys.argv[3:])
"""


@pytest.fixture(scope="module")
def written(one_model, tmp_path_factory) -> list[Path]:
    return write_figures(one_model, tmp_path_factory.mktemp("report") / "figures", names=NAMES)


def test_each_figure_is_a_png_and_an_svg_and_nothing_else_is_left(written):
    assert [path.name for path in written] == [f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")]
    assert sorted(written[0].parent.iterdir()) == sorted(written)


def test_another_process_with_other_settings_writes_the_same_bytes(written, one_model, tmp_path):
    one_model.to_zarr(tmp_path / "results.zarr", consolidated=True, zarr_format=2)
    settings = tmp_path / "matplotlibrc"
    settings.write_text("font.size: 20\naxes.facecolor: yellow\naxes.labelpad: 20\n")
    environment = {**os.environ, "PYTHONHASHSEED": "7", "MATPLOTLIBRC": str(settings), "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-c", AGAIN, str(tmp_path / "results.zarr"), str(tmp_path / "figures"), *NAMES]
    subprocess.run(command, env=environment, check=True, timeout=120)
    for path in written:
        assert (tmp_path / "figures" / path.name).read_bytes() == path.read_bytes(), path.name


def test_svgs_are_well_formed_and_carry_the_caption_but_no_date(written):
    for path in written[1::2]:
        text = path.read_text()
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "N = 2,000 points" in text.split("</metadata>")[0]
        assert not re.search(r"dc:date|20[2-9]\d-\d\d-\d\d", text)


def test_pngs_are_sharp_and_have_no_date(written):
    for path in written[::2]:
        data = path.read_bytes()
        with Image.open(path) as image:
            assert image.size[0] == 1600
            assert image.info["dpi"][0] >= 150
            assert "N = 2,000" in image.info["Description"]
        assert b"tIME" not in data
        assert struct.unpack(">I", data[16:20]) == (1600,)


def test_a_failed_write_leaves_the_older_file_and_no_half_one(one_model, tmp_path, monkeypatch):
    (tmp_path / "overlap.png").write_bytes(b"older")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        write_figures(one_model, tmp_path, names=["overlap"])
    assert [path.name for path in tmp_path.iterdir()] == ["overlap.png"]
    assert (tmp_path / "overlap.png").read_bytes() == b"older"


def test_a_file_in_place_of_the_folder_is_refused(one_model, tmp_path):
    (tmp_path / "figures").write_text("")
    with pytest.raises(InputError, match=r"cannot write figures to .*: expected a folder, found a file"):
        write_figures(one_model, tmp_path / "figures")


def test_all_that_is_possible_is_written_by_default(arrays, tmp_path):
    written = write_figures(arrays, tmp_path / "new" / "folder")
    assert [path.stem for path in written[::2]] == [
        "intrinsic_dimension",
        "gride",
        "dimension_by_fraction",
        "label_overlap",
    ]
