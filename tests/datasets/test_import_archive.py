import zipfile

import pytest

from avsegcli.cli.main import main
from avsegcli.datasets.avsbench_files import LAYOUTS
from avsegcli.datasets.import_archive import import_avsbench
from avsegcli.errors import DataError

FILES = {
    "download/Multi-sources/ms3_meta_data.csv": b"name,split\n",
    "download/Multi-sources/ms3_data/audio_wav/test/one.wav": b"sound",
    "download/AVSS/metadata.csv": b"uid,split,label\n",
    "download/AVSS/v1m/one/frames/0.jpg": b"picture" * 500,
    "download/readme.txt": b"not of a subset",
}
PLACES = {
    "Multi-sources/ms3_meta_data.csv",
    "Multi-sources/ms3_data/audio_wav/test/one.wav",
    "AVSS/metadata.csv",
    "AVSS/v1m/one/frames/0.jpg",
}


@pytest.fixture(params=["zip", "folder"])
def source(request, tmp_path):
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name, content in FILES.items():
                archive.writestr(name, content)
        return tmp_path / "a.zip"
    for name, content in FILES.items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(content)
    return tmp_path / "source"


def files_of(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_every_subset_goes_to_its_place(source, tmp_path, capsys):
    root = tmp_path / "AVSBench"
    assert main(["data", "import", str(source), "--data-root", str(root)]) == 0
    assert files_of(root) == PLACES
    for name, content in FILES.items():
        place = root / name.removeprefix("download/")
        assert not place.exists() or place.read_bytes() == content
    assert capsys.readouterr().out == f"{root}: 4 files copied, 0 were there\n"
    assert main(["data", "import", str(source), "--data-root", str(root)]) == 0
    assert capsys.readouterr().out == f"{root}: 0 files copied, 4 were there\n"


def test_what_was_interrupted_goes_on_and_tables_come_last(source, tmp_path):
    root = tmp_path / "AVSBench"

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_avsbench(source, root, on_progress=interrupt)
    assert not any((root / layout.folder / layout.table).exists() for layout in LAYOUTS.values())
    (root / "AVSS/v1m/one/frames/0.jpg").write_bytes(b"cut off")
    done = import_avsbench(source, root)
    assert (done.copied, done.skipped) == (3, 1)
    assert files_of(root) == PLACES


def test_what_is_no_download_is_one_line(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(DataError, match="neither a folder nor a readable zip"):
        import_avsbench(tmp_path / "a.txt", tmp_path / "root")
    with pytest.raises(DataError, match="holds no subset of AVSBench"):
        import_avsbench(tmp_path, tmp_path / "root")


def test_a_damaged_or_wicked_zip_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("AVSS/metadata.csv", b"uid,split,label\n")
        archive.writestr("AVSS/v1m/one/0.jpg", b"picture" * 500)
    path.write_bytes(path.read_bytes().replace(b"picturepicture", b"pictureXicture", 1))
    with pytest.raises(DataError, match=r"0\.jpg' is damaged"):
        import_avsbench(path, tmp_path / "root")
    assert files_of(tmp_path / "root") == set()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("AVSS/metadata.csv", b"")
        archive.writestr("AVSS/../../evil", b"")
    with pytest.raises(DataError, match="leads out of it"):
        import_avsbench(path, tmp_path / "root")


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_told_however_the_zip_is_packed(tmp_path, packed):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", packed) as archive:
        archive.writestr("AVSS/v1m/0.jpg", bytes(range(256)))
        archive.writestr("AVSS/metadata.csv", b"")
    data = bytearray(path.read_bytes())
    data[len("AVSS/v1m/0.jpg") + 34 : 70] = bytes(22)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"0\.jpg' is damaged or cannot be read"):
        import_avsbench(path, tmp_path / "root")


def test_a_name_that_the_disk_does_not_take_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("AVSS/metadata.csv", b"")
        archive.writestr(f"AVSS/{300 * 'n'}.jpg", b"")
    with pytest.raises(DataError, match=r"cannot write .*nnn\.jpg: file name too long"):
        import_avsbench(tmp_path / "a.zip", tmp_path / "root")


def test_the_root_must_be_said(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("AVSEG_DATA", raising=False)
    assert main(["data", "import", str(tmp_path)]) == 2
    assert "--data-root or AVSEG_DATA" in capsys.readouterr().err
