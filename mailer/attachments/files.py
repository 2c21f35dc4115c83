"""Files under the allowed roots: opened so that no name, link or device leads anywhere else."""

import hashlib
import os
import stat
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path

from mailer.errors import AttachmentUnavailable


def open_allowed(path: Path, roots: Sequence[Path]) -> BufferedReader:
    """Open a regular file that lies under one of ``roots``.

    The file is opened first and judged by what was opened, so that a link swapped in between
    changes nothing. Opening does not block on a FIFO.

    Raises:
        AttachmentUnavailable: with the reason, and the setting to change.
        OSError: where opening itself failed and may succeed later.
    """
    try:
        # resolved before it is opened: opening a device can have effects of its own
        _require_allowed(path.resolve(strict=True), roots)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise AttachmentUnavailable(f"{path} does not exist") from None
    except PermissionError:
        raise AttachmentUnavailable(f"{path} may not be read by this user") from None
    except (ValueError, RuntimeError):  # NUL in it; and how pathlib reports links in a circle
        raise AttachmentUnavailable(f"{str(path)!a} leads nowhere") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)  # a directory can't be made a file object, which would close it
        raise AttachmentUnavailable(f"{path} is not a regular file")
    file = os.fdopen(descriptor, "rb")
    try:
        _require_allowed(_opened_path(descriptor, path), roots)
    except BaseException:
        file.close()
        raise
    return file


def size_of(file: BufferedReader) -> int:
    """Tell how many bytes an open file has."""
    return os.fstat(file.fileno()).st_size


def sha256_of(content: bytes) -> str:
    """Name content by its digest, in hex."""
    return hashlib.sha256(content).hexdigest()


def _opened_path(descriptor: int, path: Path) -> Path:
    """Tell what was really opened, where the system can say (Linux); else resolve again."""
    link = Path(f"/proc/self/fd/{descriptor}")
    return link.readlink() if link.is_symlink() else path.resolve()


def _require_allowed(real: Path, roots: Sequence[Path]) -> None:
    if any(real.is_relative_to(root.resolve()) for root in roots):
        return
    allowed = ":".join(map(str, roots)) or "none is set"
    raise AttachmentUnavailable(
        f"{real} is outside the allowed folders ({allowed}); "
        "add its folder to MAILER_ATTACHMENT_ROOTS, or use Attachment.from_bytes"
    )
