"""Pictures in a zip become the parts of a data set by their folders; what is unsound is refused by its name."""

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from library.base import DataSet, Feature, Part, Schema, Split
from library.sources import folders
from library.sources.rows import read_parts
from shared.tables.values import Unfit

SHADES = {"dark": 0, "light": 255}


class Shades(DataSet):
    """Grey pictures of four by six pixels, dark or light."""

    name = "shades"
    source = licence = "of this test"
    labels = ("dark", "light")
    schema = Schema(
        features=(Feature(name="picture", datatype="FP32", shape=(1, 4, 6), minimum=0, maximum=16),),
        target=Feature(name="shade", datatype="INT64"),
    )
    split = Split(train=0.5, validation=0.25)

    def load(self) -> dict[str, Any]:
        raise AssertionError("what it is like is not read")


class Words(Shades):
    """No pictures."""

    name = "words"
    schema = Schema(features=(Feature(name="word", datatype="BYTES"),), target=Feature(name="shade", datatype="INT64"))


def picture(shade: int = 0, size: tuple[int, int] = (30, 20), kind: str = "PNG", mode: str = "RGB") -> bytes:
    Image.new(mode, size, (shade,) * len(mode)).save(body := io.BytesIO(), kind)
    return body.getvalue()


Pack = Callable[..., Path]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    def pack(files: dict[str, bytes], **attributes: Any) -> Path:
        """`attributes` are those of the last file."""
        with zipfile.ZipFile(tmp_path / "given", "w", zipfile.ZIP_DEFLATED) as archive:
            for number, (name, content) in enumerate(files.items(), start=1):
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                for attribute, value in attributes.items() if number == len(files) else ():
                    setattr(info, attribute, value)
                archive.writestr(info, content)
        return tmp_path / "given"

    return pack


def of_each_shade(count: int, prefix: str = "") -> dict[str, bytes]:
    kinds = ("PNG", "JPEG", "WEBP")
    return {
        f"{prefix}{shade}/{number}.{kinds[number % 3].lower()}": picture(value, (8 + number, 9), kinds[number % 3])
        for shade, value in SHADES.items()
        for number in range(count)
    }


@pytest.mark.parametrize("prefix", ["", "my pictures/"])
def test_pictures_of_any_size_are_brought_to_that_of_the_schema(pack: Pack, prefix: str) -> None:
    aside = {"__MACOSX/dark/._1.png": b"x", f"{prefix}dark/._0.png": b"x", f"{prefix}Thumbs.db": b"x"}
    parts = read_parts(pack(of_each_shade(8, prefix) | aside), None, Shades())
    assert {part: len(items["shade"]) for part, items in parts.items()} == {"train": 8, "validation": 4, "test": 4}
    for items in parts.values():
        assert items["picture"].shape[1:] == (1, 4, 6)
        assert items["picture"].dtype == np.float32
        np.testing.assert_allclose(items["picture"].mean(axis=(1, 2, 3)), 16 * items["shade"], atol=0.2)


def test_folders_may_name_parts_and_numbers_of_labels(pack: Pack) -> None:
    files = {f"{part}/{kind}/deep/{part}.png": picture(255 * kind) for part in Part for kind in (0, 1)}
    parts = read_parts(pack(files | {"train/1/more.png": picture(255)}), None, Shades())
    assert {part: items["shade"].tolist() for part, items in parts.items()} == {
        "train": [0, 1, 1],
        "validation": [0, 1],
        "test": [0, 1],
    }


def test_the_order_within_the_zip_does_not_matter(pack: Pack) -> None:
    files = of_each_shade(8)
    forth, back = (read_parts(pack(dict(order)), None, Shades()) for order in (files.items(), [*files.items()][::-1]))
    for part in Part:
        np.testing.assert_array_equal(forth[part]["picture"], back[part]["picture"])


GOOD = {"dark/a.png": picture()}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"../a.png": picture()}, "'../a.png' leads out of the archive"),
        ({"dark/../../a.png": picture()}, "leads out of the archive"),
        ({"/dark/a.png": picture()}, "'/dark/a.png' leads out of the archive"),
        ({"dark\\a.png": picture()}, "leads out of the archive"),
        ({"C:/dark/a.png": picture()}, "leads out of the archive"),
        ({"a.png": picture()}, "'a.png' lies in no folder, which is none of 'dark', 'light'"),
        ({"grey/a.png": picture(), **GOOD}, "'grey/a.png' lies in 'grey', which is none of 'dark', 'light'"),
        ({"train/dark/a.png": picture(), **GOOD}, "'dark/a.png' lies in none of the folders train, validation"),
        ({"train/dark/a.png": picture(), "train/light/b.png": picture()}, "the part 'validation' has no rows"),
        ({"dark/a.png": b"MZ\x90\0"}, "'dark/a.png' is no PNG or JPEG or WEBP image"),
        ({"dark/a.png": picture(kind="GIF")}, "'dark/a.png' is no PNG or JPEG or WEBP image"),
        ({"dark/a.png": picture()[:45]}, "'dark/a.png' is broken or cut short"),
        ({"dark/notes.txt": b"all dark"}, "'dark/notes.txt' is no PNG"),
    ],
)
def test_what_is_unsound_is_refused_by_its_name(pack: Pack, files: dict[str, bytes], words: str) -> None:
    with pytest.raises(Unfit, match=words.replace(".", r"\.")):
        read_parts(pack(files), None, Shades())


def test_an_archive_within_is_not_opened(pack: Pack) -> None:
    inner = pack(of_each_shade(1)).read_bytes()
    with pytest.raises(Unfit, match=r"'light/more\.zip' is an archive: unpack it"):
        read_parts(pack({**GOOD, "light/more.zip": inner}), None, Shades())


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_are_refused(pack: Pack, kind: int) -> None:
    path = pack({**GOOD, "light/passwd": b"/etc/passwd"}, external_attr=(kind | 0o777) << 16)
    with pytest.raises(Unfit, match="'light/passwd' is a link or a device"):
        read_parts(path, None, Shades())


def test_a_file_that_is_larger_than_it_says_is_not_read_to_its_end(pack: Pack, monkeypatch: Any) -> None:
    monkeypatch.setattr(folders, "MOST_FILE_BYTES", 1000)
    path = pack({"dark/a.png": bytes(100_000)})
    with pytest.raises(Unfit, match="'dark/a.png' has 0 MiB, more than"):
        read_parts(path, None, Shades())
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", 100_000), struct.pack("<I", 900)))
    with pytest.raises(Unfit, match="broken|more bytes than it says"):
        read_parts(path, None, Shades())


@pytest.mark.parametrize(
    ("limit", "words"),
    [("MOST_FILES", "2 files, more than 1"), ("MOST_BYTES", "MiB unpacked"), ("MOST_ARRAY_BYTES", "as arrays")],
)
def test_what_is_too_much_is_refused_before_it_is_read(pack: Pack, monkeypatch: Any, limit: str, words: str) -> None:
    monkeypatch.setattr(folders, limit, 1)
    with pytest.raises(Unfit, match=words):
        read_parts(pack(of_each_shade(1)), None, Shades())


def test_a_picture_of_too_many_pixels_is_not_decoded(pack: Pack) -> None:
    with pytest.raises(Unfit, match=r"'dark/a\.png': the image has more than 25000000 pixels"):
        read_parts(pack({"dark/a.png": picture(size=(6000, 5000), mode="L")}), None, Shades())


def test_a_broken_zip_and_one_for_a_data_set_of_words(pack: Pack) -> None:
    path = pack(of_each_shade(2))
    with pytest.raises(Unfit, match="'words' holds no pictures with labels: bring rows"):
        read_parts(path, None, Words())
    content = bytearray(path.read_bytes())
    content[60:64] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(Unfit, match="the zip is broken"):
        read_parts(path, None, Shades())


def test_names_that_lie_twice_in_a_zip_are_refused(pack: Pack) -> None:
    path = pack(GOOD)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("dark/a.png", picture())
    with pytest.raises(Unfit, match="two files of the zip have one name"):
        read_parts(path, None, Shades())
