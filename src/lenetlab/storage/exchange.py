"""Exchange two names in one step of the file system, which the standard library does not offer."""

import ctypes
import errno
import os
import sys
from pathlib import Path

UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)  # system or file system without exchange


def exchange(first: Path, second: Path) -> bool:
    """Give each of two files or folders the other's name; False, with nothing changed, where that is not possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(first), os.fsencode(second)
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        AT_FDCWD, RENAME_EXCHANGE = -100, 2
        failed = libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE)
    elif sys.platform == "darwin":
        RENAME_SWAP = 2
        failed = libc.renamex_np(*names, RENAME_SWAP)
    else:
        return False
    if failed and ctypes.get_errno() not in UNSUPPORTED:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(first), None, str(second))
    return not failed
