"""No result reveals where and when a photo was taken."""

import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from models import album, drawing
from models.images import open_photo
from ui import examples, pets, programs, result_files, theme
from ui.uploads import Upload

SECRET = b"Kirchgasse 7"
CAT = examples.FOLDER / "cat_chelsea.png"


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo that contains its place in every possible form."""
    tags = Image.Exif()
    tags[0x010E] = SECRET.decode()
    tags.get_ifd(0x8825)[2] = (47.0, 22.0, 11.0)
    tags.get_ifd(0x8825)[29] = SECRET.decode()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path_factory.mktemp("photos") / "cat.jpg"
    Image.open(CAT).convert("RGB").save(
        path,
        exif=tags,
        xmp=b"<x:xmpmeta><a>" + SECRET + b"</a></x:xmpmeta>",
        comment=SECRET,
        icc_profile=profile,
    )
    assert path.read_bytes().count(SECRET) >= 3
    return path


def assert_tells_nothing(name: str, content: bytes) -> None:
    assert SECRET not in content, name
    if name.endswith((".png", ".jpg")):
        with Image.open(io.BytesIO(content)) as image:
            assert not image.getexif(), name
            told = set(image.info) - {"transparency", "gamma", "srgb"}
            assert told <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}, name


def test_no_file_of_an_album_reveals_it(telling: Path, tmp_path: Path) -> None:
    entry = album.examine(
        telling, telling.name, tmp_path, theme.SUBJECTS[:3], theme.SUBJECTS, pets.label, 200
    )
    packed = album.pack([entry], tmp_path)

    assert SECRET.decode() not in str(entry)
    files = [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".jpg")]
    assert len(files) == 3
    for path in files:
        assert_tells_nothing(path.name, path.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        assert len(archive.namelist()) == 3
        for name in archive.namelist():
            assert_tells_nothing(name, archive.read(name))


def test_no_result_of_an_endpoint_reveals_it(telling: Path) -> None:
    classes, facts = programs.threshold(Upload(str(telling)), 3, "luminance")
    mask, _ = programs.mask(Upload(str(telling)), "pet")
    cut_out = programs.cut_out(Upload(str(telling)))

    assert SECRET.decode() not in str((facts, programs.analyze(Upload(str(telling)), 3)))
    for file in (classes, mask, cut_out):
        assert_tells_nothing(file, Path(file).read_bytes())


def test_no_preview_reveals_it(telling: Path) -> None:
    photo = Upload(str(telling)).whole

    assert_tells_nothing("small.jpg", drawing.thumbnail(photo, 100))
    kept = result_files.picture_to_keep(Image.fromarray(photo), "a")
    assert_tells_nothing("result.png", Path(kept).read_bytes())
    assert (photo == open_photo(telling)).all()


def test_the_card_to_share_reveals_nothing(telling: Path) -> None:
    card = pets.write_card(Upload(str(telling)))

    assert_tells_nothing(card, Path(card).read_bytes())
