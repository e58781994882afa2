"""Writing is all or nothing, and deletes nothing that is not ours."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tastemap.errors import ReleaseError
from tastemap.storage import check_directory, read_directory, write_directory


def write(path, number=1, **keywords):
    write_directory(
        path,
        kind="model",
        manifest={"number": number},
        tensors={"model": {"w": np.full(50_000, number)}},
        tables={},
        **keywords,
    )


def test_nothing_but_the_directory_is_left(tmp_path):
    write(tmp_path / "new" / "parents" / "m")
    assert os.listdir(tmp_path / "new" / "parents") == ["m"]


def test_an_empty_directory_is_used(tmp_path):
    write(tmp_path)
    assert check_directory(tmp_path) == []


def test_a_saved_directory_is_replaced_only_when_asked(tmp_path):
    write(tmp_path / "m", 1)
    with pytest.raises(ReleaseError, match="exists already"):
        write(tmp_path / "m", 2)
    assert read_directory(tmp_path / "m").manifest == {"number": 1}
    write(tmp_path / "m", 2, overwrite=True)
    assert read_directory(tmp_path / "m").manifest == {"number": 2}
    assert os.listdir(tmp_path) == ["m"]


def test_a_damaged_directory_of_ours_may_be_replaced(tmp_path):
    write(tmp_path / "m", 1)
    (tmp_path / "m" / "model.safetensors").write_bytes(b"damage")
    (tmp_path / "m" / "manifest.sha256").unlink()
    write(tmp_path / "m", 2, overwrite=True)
    assert check_directory(tmp_path / "m") == []


def test_what_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("mine")
    write(tmp_path / "m", 1)
    (tmp_path / "m" / "notes.txt").write_text("mine")
    for name in ("file", "folder", "m"):
        with pytest.raises(ReleaseError, match=r"Choose another place|choose another place"):
            write(tmp_path / name, 2, overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "folder" / "thesis.tex").read_text() == "mine"
    assert (tmp_path / "m" / "notes.txt").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "m"]


def test_a_link_to_a_saved_directory_stays_a_link(tmp_path):
    write(tmp_path / "real" / "m", 1)
    (tmp_path / "latest").symlink_to(tmp_path / "real" / "m")
    write(tmp_path / "latest", 2, overwrite=True)
    assert (tmp_path / "latest").is_symlink()
    assert read_directory(tmp_path / "real" / "m").manifest == {"number": 2}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_may_not_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ReleaseError, match="Permission denied"):
            write(tmp_path / "m")
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_leaves_the_old_one(tmp_path):
    """A real limit on the size of files stands for the full disk."""
    write(tmp_path / "m", 1)
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from tests.storage.test_storage_writing import write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "write(Path(sys.argv[1]), 2, overwrite=True)\n"
    )
    result = run_python(script, tmp_path / "m")
    assert "ReleaseError" in result.stderr
    assert "could not be written" in result.stderr or "cannot be stored" in result.stderr
    assert read_directory(tmp_path / "m").manifest == {"number": 1}
    assert os.listdir(tmp_path) == ["m"]


def test_a_kill_at_any_moment_leaves_a_whole_directory(tmp_path):
    """The old one or the new one is there, in its place or where the error says."""
    write(tmp_path / "m", 0)
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.storage.test_storage_writing import write\n"
        "print('ready', flush=True)\n"
        "for number in range(1, 1_000_000): write(Path(sys.argv[1]), number, overwrite=True)\n"
    )
    random = np.random.default_rng(7)
    for _ in range(8):
        process = start_python(script, tmp_path / "m")
        assert process.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0.005, 0.08))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        try:
            stored = read_directory(tmp_path / "m")
        except ReleaseError as error:
            aside = Path(str(error).partition("is whole at ")[2].partition(";")[0])
            aside.rename(tmp_path / "m")
            stored = read_directory(tmp_path / "m")
        number = stored.manifest["number"]
        assert (stored.tensors("model")["w"] == number).all()


def test_an_interrupted_overwrite_names_the_copy_from_before(tmp_path):
    write(tmp_path / "m", 1)
    aside = tmp_path / ".m.0123abcd.replaced"
    (tmp_path / "m").rename(aside)
    with pytest.raises(ReleaseError, match=rf"interrupted.*is whole at {aside}; rename it to m"):
        read_directory(tmp_path / "m")


def test_writers_of_one_place_at_once_leave_one_of_their_directories(tmp_path):
    errors = []

    def work(first):
        try:
            for number in range(first, first + 15):
                write(tmp_path / "m", number, overwrite=True)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(100 * i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    stored = read_directory(tmp_path / "m")
    assert (stored.tensors("model")["w"] == stored.manifest["number"]).all()
    assert os.listdir(tmp_path) == ["m"]


def start_python(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def run_python(script, *arguments):
    process = start_python(script, *arguments)
    process.stdout_text, process.stderr = process.communicate()
    return process
