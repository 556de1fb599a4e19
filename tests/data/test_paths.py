"""Paths on other file systems than this machine's, by means of TensorFlow's own in memory."""

import errno
import gzip
import tempfile
import uuid

import pytest

from xdistil.data.atomic_files import read_json, replace_folder, sha256_of_file, write_json
from xdistil.data.lines import numbered_lines
from xdistil.data.paths import (
    as_given,
    as_path,
    copy_tree,
    glob_files,
    is_remote,
    local_file,
    local_folder,
    move,
    remove_copies,
    remove_tree,
    written_locally,
)
from xdistil.data.readers import expand_files
from xdistil.data.remote_paths import RemotePath
from xdistil.distillation.run_directory import RunDirectory
from xdistil.errors import InputError


@pytest.fixture
def folder():
    """A new folder in memory."""
    path = RemotePath(f"ram:///{uuid.uuid4()}")
    path.mkdir(parents=True)
    return path


def test_names_are_those_of_pathlib():
    path = as_path("gs://bucket/runs/", "one", "state.tar.gz")
    assert str(path) == "gs://bucket/runs/one/state.tar.gz" and is_remote(path)
    assert (path.name, path.stem, path.suffix) == ("state.tar.gz", "state.tar", ".gz")
    assert path.parent == as_path("gs://bucket/runs/one") and path.parent < path
    assert [str(above) for above in path.parents] == [
        "gs://bucket/runs/one",
        "gs://bucket/runs",
        "gs://bucket",
        "gs://",
    ]
    assert str(path.with_name("x")) == "gs://bucket/runs/one/x"
    assert str(path.with_suffix(".b")) == "gs://bucket/runs/one/state.tar.b"
    below = path.relative_to(as_path("gs://bucket/runs"))
    assert below.as_posix() == "one/state.tar.gz"
    with pytest.raises(ValueError, match="not below"):
        path.relative_to(as_path("gs://other"))
    assert str(as_path("ram:///a") / "b") == "ram:///a/b"
    assert as_path("gs://a", "hdfs://host/b") == RemotePath("hdfs://host/b")
    assert len({path, as_path(path)}) == 1
    assert not is_remote("/a/b") and as_path("a", "b").as_posix() == "a/b"
    with pytest.raises(ValueError, match="no scheme"):
        RemotePath("/a/b")


def test_files_are_written_read_and_removed(folder):
    file = folder / "a.txt"
    assert not file.exists() and file.write_text("één\nzwei\n", encoding="utf-8") == 9
    assert file.is_file() and not file.is_dir() and not folder.is_file()
    assert file.read_text("utf-8") == "één\nzwei\n" and file.stat().st_size == 11
    with file.open("ab") as more:
        more.write(b"drei\n")
    assert file.read_bytes().splitlines()[-1] == b"drei"
    with file.open("rb", buffering=0) as raw:
        part = bytearray(4)
        assert raw.seek(6) == 6 and raw.readinto(part) == 4 and bytes(part) == b"zwei"
        assert raw.seek(-2, 2) == 14 and raw.read() == b"i\n"
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
    file.unlink()
    file.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        file.unlink()
    with pytest.raises(FileNotFoundError):
        file.open("rb")
    with pytest.raises(FileExistsError):
        folder.mkdir()
    folder.mkdir(exist_ok=True)


def test_folders_are_searched_moved_copied_and_removed(folder, tmp_path):
    for name in ("a/one.tsv", "a/b/two.tsv", "three.tsv", "four.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.tsv"))
    assert found == ["a/b/two.tsv", "a/one.tsv", "three.tsv"]
    assert [path.name for path in folder.glob("a/*.tsv")] == ["one.tsv"]
    assert list((folder / "nowhere").glob("*")) == []
    assert glob_files(f"{folder}/*/*.tsv") == [f"{folder}/a/one.tsv"]
    assert len(glob_files(f"{folder}/**/*.tsv")) == 3
    copy_tree(folder, tmp_path / "copy")
    assert (tmp_path / "copy" / "a" / "b" / "two.tsv").read_bytes() == b"a/b/two.tsv"
    copy_tree(tmp_path / "copy" / "a", folder / "back")
    move(folder / "back", folder / "moved")
    assert (folder / "moved" / "b" / "two.tsv").is_file() and not (folder / "back").is_dir()
    (folder / "new").mkdir()
    (folder / "new" / "x").write_bytes(b"x")
    replace_folder(folder / "new", folder / "moved")
    assert [path.name for path in (folder / "moved").rglob("*")] == ["x"]
    remove_tree(folder / "moved")
    assert not (folder / "moved").is_dir()
    remove_tree(folder / "moved", ignore_errors=True)


def test_libraries_that_know_this_machine_alone_get_copies(folder):
    with written_locally(folder / "model") as local:
        local.mkdir()
        (local / "weights").write_bytes(b"1")
        assert not (folder / "model").exists()
    with local_file(folder / "model" / "weights") as local:
        assert local.read_bytes() == b"1"
    assert not local.exists()
    assert (local_folder(folder / "model") / "weights").read_bytes() == b"1"


def test_a_copy_of_a_whole_file_system_is_removed_alone(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "precious").write_bytes(b"1")
    (folder / "x").write_bytes(b"x")
    root, below = as_path("ram:///"), folder / "x" / ".."
    monkeypatch.setattr("xdistil.data.paths.copy_tree", lambda source, target: target.mkdir())
    for given in (root, below):
        copy = local_folder(given)
        assert copy.is_dir() and copy.resolve().parents[1] == tmp_path.resolve()
        assert as_given(f"{copy}/a: bad") == f"{given if given == root else f'{given}/'}a: bad"
        assert as_given(f"{copy}: bad") == f"{given}: bad"
    remove_copies()
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_folder_whose_replacement_fails_is_there_again(tmp_path, monkeypatch):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(b"1")

    def fail_at_new(source, target):
        if source.name == "new":
            raise OSError(errno.ENOSPC, "No space left on device")
        move(source, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("xdistil.data.atomic_files.move", fail_at_new)
        replace_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "old").exists()
    # A kill between the two: what was set aside is put back before anything else is done.
    move(tmp_path / "old", tmp_path / ".old.old")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("xdistil.data.atomic_files.move", fail_at_new)
        replace_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "old").exists()
    replace_folder(tmp_path / "new", tmp_path / "old")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "old"]


def test_readers_and_writers_take_them(folder):
    write_json(folder / "settings.json", {"a": [1]}, checked=True)
    assert read_json(folder / "settings.json") == {"a": [1]}
    assert read_json(folder / "none.json") is None
    assert [path.name for path in folder.iterdir()] == ["settings.json"]
    (folder / "text.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    assert [line for _, line in numbered_lines(str(folder / "text.gz"))] == ["one", "two"]
    assert len(sha256_of_file(folder / "text.gz")) == 64
    assert expand_files(f"{folder}/*.gz") == [f"{folder}/text.gz"]
    with pytest.raises(InputError, match="no file matches"):
        expand_files(f"{folder}/*.zip")
    with pytest.raises(InputError, match="no such file"):
        list(numbered_lines(f"{folder}/none.txt"))


def test_a_file_system_that_is_not_there_is_told():
    for attempt in (
        lambda: write_json("nofs://here/a.json", {}),
        lambda: as_path("nofs://here").exists(),
        lambda: expand_files("nofs://here/*.tsv"),
        lambda: RunDirectory.open("nofs://here/run", {}),
    ):
        with pytest.raises(InputError, match=r"nofs://here.*no file system of this name"):
            attempt()
