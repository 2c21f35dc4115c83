import os
from pathlib import Path

import pytest

from mailer.attachments.files import open_allowed
from mailer.errors import AttachmentUnavailable


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "allowed"
    root.mkdir()
    (root / "a.txt").write_bytes(b"content")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    return root


@pytest.fixture(autouse=True)
def no_descriptor_leaks():
    descriptors = Path("/proc/self/fd")
    before = sorted(descriptors.iterdir()) if descriptors.exists() else []
    yield
    if before:
        assert sorted(descriptors.iterdir()) == before


def read_allowed(path, roots):
    with open_allowed(path, roots) as file:
        return file.read()


def refused(path, root):
    with pytest.raises(AttachmentUnavailable) as caught:
        read_allowed(Path(path), [root])
    return str(caught.value)


def test_a_file_under_a_root_is_read(root):
    assert read_allowed(root / "a.txt", [Path("/nowhere"), root]) == b"content"
    (root / "empty").touch()
    assert read_allowed(root / "empty", [root]) == b""


def test_a_root_may_be_a_link_and_the_path_relative(root, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(root)
    assert read_allowed(tmp_path / "link" / "a.txt", [root]) == b"content"
    assert read_allowed(root / "a.txt", [tmp_path / "link"]) == b"content"
    monkeypatch.chdir(root)
    assert read_allowed(Path("a.txt"), [root]) == b"content"


def test_without_any_root_nothing_is_read(root):
    with pytest.raises(AttachmentUnavailable, match="none is set"):
        read_allowed(root / "a.txt", [])


@pytest.mark.parametrize(
    "path",
    [
        *("../secret.txt", "../../../../../../../../etc/passwd", "x/../../secret.txt"),
        *("/etc/passwd", "/proc/self/environ", "/proc/self/root/etc/passwd", "/dev/zero"),
    ],
)
def test_no_way_leads_out_of_the_roots(root, path):
    (root / "x").mkdir()
    sentence = refused(root / path, root)
    assert "outside the allowed folders" in sentence
    assert "MAILER_ATTACHMENT_ROOTS" in sentence


def test_a_root_s_name_as_the_beginning_of_another_opens_nothing(root, tmp_path):
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "allowed-not" / "b").touch()
    assert "outside" in refused(tmp_path / "allowed-not" / "b", root)


@pytest.mark.parametrize(
    "target", ["../secret.txt", "/etc/passwd", "/dev/zero", "/proc/self/environ"]
)
def test_a_link_that_leads_outside_is_refused(root, target):
    (root / "link").symlink_to(target)
    assert "outside" in refused(root / "link", root)


def test_a_folder_link_that_leads_outside_is_refused(root, tmp_path):
    (root / "folder").symlink_to(tmp_path)
    assert "outside" in refused(root / "folder" / "secret.txt", root)


def test_a_link_swapped_between_check_and_use_reveals_nothing(root, tmp_path, monkeypatch):
    """The file that was opened is judged, not the name that was looked at before."""
    real_open = os.open

    def swap_and_open(path, *args, **kwargs):
        (root / "a.txt").unlink()
        (root / "a.txt").symlink_to(tmp_path / "secret.txt")
        monkeypatch.undo()
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", swap_and_open)
    assert "outside" in refused(root / "a.txt", root)


def test_a_fifo_is_refused_without_waiting_for_a_writer(root):
    os.mkfifo(root / "fifo")
    assert "not a regular file" in refused(root / "fifo", root)


def test_a_socket_is_refused(root, monkeypatch):
    import socket

    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises((AttachmentUnavailable, OSError)):
            read_allowed(root / "socket", [root])


def test_a_device_is_refused_even_under_a_root():
    with pytest.raises(AttachmentUnavailable, match="not a regular file"):
        read_allowed(Path("/dev/zero"), [Path("/")])


def test_a_folder_is_refused(root):
    assert "not a regular file" in refused(root, root)


@pytest.mark.parametrize("path", ["missing", "a.txt/b", "dangling", "loop", "a\0b", "\0"])
def test_what_leads_nowhere_is_refused(root, path):
    (root / "dangling").symlink_to("missing")
    (root / "loop").symlink_to("loop")
    assert refused(root / path, root)


def test_what_may_not_be_read_is_told_so(root, monkeypatch):
    def forbidden(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)
    assert "may not be read by this user" in refused(root / "a.txt", root)
