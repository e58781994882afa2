"""Damaged, edited, foreign and newer directories are refused with the reason."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemap.errors import ReleaseError
from tastemap.storage import check_directory, read_directory, read_manifest, write_directory

FILES = ["als.safetensors", "items.parquet", "manifest.sha256", "manifest.toml"]


def rewrite_manifest(path: Path, change) -> None:
    """Edit the manifest as somebody would who also knows how to renew its checksum."""
    text = change((path / "manifest.toml").read_text()).encode()
    (path / "manifest.toml").write_bytes(text)
    digest = hashlib.sha256(text).hexdigest()
    (path / "manifest.sha256").write_text(f"{digest}  manifest.toml\n")


def test_the_whole_directory_is_what_the_tests_say(saved):
    assert sorted(os.listdir(saved)) == FILES
    assert check_directory(saved) == []


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_of_every_file_is_refused(saved, name):
    whole = (saved / name).read_bytes()
    for length in {*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1}:
        (saved / name).write_bytes(whole[:length])
        with pytest.raises(ReleaseError):
            read_directory(saved)
        assert check_directory(saved)
    (saved / name).write_bytes(whole)
    assert check_directory(saved) == []


@given(data=st.data())
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_flipped_bit_is_refused(saved, data):
    file = saved / data.draw(st.sampled_from(FILES))
    whole = file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        file.write_bytes(flipped)
        with pytest.raises(ReleaseError):
            read_directory(saved)
    finally:
        file.write_bytes(whole)
    read_directory(saved)


@given(junk=st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_bytes_as_manifest_are_refused(junk):
    with TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "manifest.toml").write_bytes(junk)
        digest = hashlib.sha256(junk).hexdigest()
        (path / "manifest.sha256").write_text(f"{digest}  manifest.toml\n")
        with pytest.raises(ReleaseError):
            read_directory(path)


def test_the_message_says_truncated_edited_too_long_or_missing(saved):
    tensors, table = saved / "als.safetensors", saved / "items.parquet"
    whole = tensors.read_bytes()
    tensors.write_bytes(whole[:40])
    with pytest.raises(
        ReleaseError, match=rf"truncated \(40 of {len(whole)} bytes\).*Save it again"
    ):
        read_directory(saved)
    tensors.write_bytes(whole + b"more")
    with pytest.raises(ReleaseError, match="4 bytes too many"):
        read_directory(saved)
    tensors.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    table.unlink()
    problems = check_directory(saved)
    assert len(problems) == 2
    assert "als.safetensors was edited or damaged" in problems[0]
    assert "lacks the file items.parquet" in problems[1]


def test_an_edited_manifest_is_noticed(saved):
    text = (saved / "manifest.toml").read_text()
    (saved / "manifest.toml").write_text(text.replace("factors = 4", "factors = 8"))
    with pytest.raises(ReleaseError, match=r"manifest.toml was edited.*checksum"):
        read_manifest(saved)


def test_a_missing_checksum_is_noticed(saved):
    (saved / "manifest.sha256").unlink()
    with pytest.raises(ReleaseError, match=r"lacks the file manifest\.sha256"):
        read_directory(saved)


def test_the_checksum_file_is_one_that_sha256sum_reads(saved):
    result = subprocess.run(
        ["sha256sum", "--check", "manifest.sha256"], cwd=saved, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout.strip()) == (0, "manifest.toml: OK")


def test_a_newer_format_says_to_upgrade(saved):
    rewrite_manifest(saved, lambda text: text.replace("format_version = 1", "format_version = 2"))
    with pytest.raises(ReleaseError, match=r"format 2 .*formats up to 1.*pip install --upgrade"):
        read_directory(saved)


def test_the_wrong_kind_is_refused(saved):
    with pytest.raises(ReleaseError, match="holds a model, and a pipeline was asked for"):
        read_directory(saved, kind="pipeline")


def test_unreadable_toml_is_refused(saved):
    rewrite_manifest(saved, lambda text: text + "= = =\n")
    with pytest.raises(ReleaseError, match="not readable as TOML"):
        read_directory(saved)


def test_deeply_nested_toml_is_refused(saved):
    rewrite_manifest(saved, lambda text: "deep = " + "[" * 100_000 + "]" * 100_000 + "\n" + text)
    with pytest.raises(ReleaseError, match="not readable as TOML"):
        read_directory(saved)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('kind = "model"', "kind = 3"),
        ('kind = "model"', ""),
        ("format_version = 1", "format_version = '1'"),
        ("created = ", "created = 1\nlater = "),
        ("[files.", "[fils."),
        ("nulls = []", "nulls = [1]"),
        ("nulls = []", "nulls = [[]]"),
        ("nulls = []", "nulls = [[['a']]]"),
        ("nulls = []", "nulls = [['hyperparameters', 'factors', 'deeper']]"),
        ("bytes = ", "bytes = 1\nsize = "),
        ('sha256 = "', 'sha256 = 1\nother = "'),
    ],
)
def test_a_manifest_of_wrong_types_is_refused(saved, old, new):
    rewrite_manifest(saved, lambda text: text.replace(old, new))
    with pytest.raises(ReleaseError, match="manifest"):
        read_directory(saved)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.parquet",
        "/etc/outside.parquet",
        "sub/inside.parquet",
        "..",
        ".hidden.parquet",
        "outside.pkl",
        "a\\u0000.parquet",
        "a\\n.parquet",
        "manifest.toml",
    ],
)
def test_names_that_lead_elsewhere_are_refused(saved, name):
    (saved.parent / "outside.parquet").write_bytes((saved / "items.parquet").read_bytes())
    rewrite_manifest(saved, lambda text: text.replace("items.parquet", name))
    with pytest.raises(ReleaseError, match="not a plain name"):
        read_directory(saved)


@pytest.mark.parametrize("name", FILES)
def test_links_are_not_followed(saved, name):
    shutil.move(saved / name, saved.parent / name)
    (saved / name).symlink_to(saved.parent / name)
    with pytest.raises(ReleaseError, match="symbolic link"):
        read_directory(saved)


@pytest.mark.parametrize("name", FILES)
def test_pipes_and_directories_in_the_place_of_files_are_refused(saved, name):
    (saved / name).unlink()
    os.mkfifo(saved / name)
    with pytest.raises(ReleaseError, match="not a plain file"):
        read_directory(saved)
    (saved / name).unlink()
    (saved / name).mkdir()
    with pytest.raises(ReleaseError, match="not a plain file"):
        read_directory(saved)


def test_a_missing_path_a_file_and_a_foreign_directory_are_told_apart(tmp_path):
    with pytest.raises(ReleaseError, match=r"there is nothing at .*train and save"):
        read_directory(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ReleaseError, match="is a file"):
        read_directory(tmp_path / "file")
    with pytest.raises(ReleaseError, match=r"holds no manifest\.toml"):
        read_directory(tmp_path)


def test_a_file_with_a_good_checksum_that_is_no_tensor_file_is_refused(saved):
    junk = b"\xff" * 100
    old = read_manifest(saved).files["als.safetensors"]
    (saved / "als.safetensors").write_bytes(junk)
    rewrite_manifest(
        saved,
        lambda text: text.replace(old.sha256, hashlib.sha256(junk).hexdigest()).replace(
            f"bytes = {old.bytes}\n", "bytes = 100\n"
        ),
    )
    stored = read_directory(saved)
    with pytest.raises(ReleaseError, match=r"als\.safetensors cannot be read"):
        stored.tensors("als")


def test_a_directory_replaced_after_its_check_is_noticed(saved):
    stored = read_directory(saved)
    write_directory(
        saved,
        kind="model",
        manifest={},
        tensors={"als": {"items": np.zeros((3, 4), np.float32)}},
        tables={},
        overwrite=True,
    )
    with pytest.raises(ReleaseError, match="was replaced while it was being read"):
        stored.tensors("als")
    with pytest.raises(ReleaseError, match=r"items\.parquet"):
        stored.tables("items")


def test_reading_needs_neither_torch_nor_the_models(saved):
    script = (
        "import sys; from tastemap.storage import read_directory; "
        f"read_directory({str(saved)!r}).tensors('als'); "
        "assert not {'torch', 'tastemap.retrieval'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
