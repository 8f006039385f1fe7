"""Mount a folder a second time, through a file system without locks or without syncs of folders, like many on networks.

It speaks the kernel's own protocol (`linux/fuse.h`), and so needs no library, but Linux and root. Run it as
`python -m tools.fuse FOLDER MOUNT [OPERATION=ERROR ...]`, e.g. `flock=ENOLCK fsyncdir=EINVAL`, until it is interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable, Mapping, Sequence

_HEADER = struct.Struct("<IIQQIIIHH")
_ANSWER = struct.Struct("<IiQ")
_LARGEST_WRITE = 1 << 17
_BIG_WRITES, _FLOCKS = 1 << 5, 1 << 10
_DIRECT = 1
"""Nothing is cached: what changes in the folder is seen at once."""
_ROOT = 1
_MODE, _SIZE = 1 << 0, 1 << 3
_GETATTR_FILE = 1

_NAMES = {
    **{1: "lookup", 2: "forget", 3: "getattr", 4: "setattr", 5: "readlink", 6: "symlink", 9: "mkdir", 10: "unlink"},
    **{11: "rmdir", 12: "rename", 13: "link", 14: "open", 15: "read", 16: "write", 17: "statfs", 18: "release"},
    **{20: "fsync", 25: "flush", 26: "init", 27: "opendir", 28: "readdir", 29: "releasedir", 30: "fsyncdir"},
    **{32: "flock", 33: "flock", 35: "create", 36: "interrupt", 42: "forget", 45: "rename2"},
}
_UNANSWERED = ("forget", "interrupt")


class Mirror:
    """The operations of the file system, on the files of a folder. Each takes its node and its arguments' bytes."""

    def __init__(self, folder: str, refused: Mapping[str, int]) -> None:
        """Mirror a folder.

        Args:
          folder: its path.
          refused: error numbers, by the operations that fail with them.
        """
        self._paths = {_ROOT: folder}
        self._refused = refused

    def answer(self, request: bytes) -> bytes | None:
        """Carry out a request of the kernel; None if it expects no answer."""
        _, code, unique, node, *_ = _HEADER.unpack_from(request)
        name = _NAMES.get(code, "")
        if name in _UNANSWERED:
            return None
        number, said = 0, b""
        try:
            work: Callable[[int, bytes], bytes] | None = getattr(self, f"_{name}", None)
            if name in self._refused or work is None:
                raise OSError(self._refused.get(name, errno.ENOSYS), "")
            said = work(node, request[_HEADER.size :])
        except OSError as error:
            number = error.errno or errno.EIO
        return _ANSWER.pack(_ANSWER.size + len(said), -number, unique) + said

    def _init(self, node: int, _: bytes) -> bytes:
        # With `flock` among them, the kernel asks for every lock, instead of keeping them itself.
        flags = _BIG_WRITES | (_FLOCKS if "flock" in self._refused else 0)
        return struct.pack("<IIIIHHIIHHI28x", 7, 31, 1 << 17, flags, 12, 9, _LARGEST_WRITE, 1, 0, 0, 0)

    def _lookup(self, node: int, said: bytes) -> bytes:
        return self._entry(self._below(node, said))

    def _getattr(self, node: int, said: bytes) -> bytes:
        flags, file = struct.unpack_from("<I4xQ", said)
        found = os.fstat(file) if flags & _GETATTR_FILE else os.lstat(self._paths[node])
        return struct.pack("<QII", 0, 0, 0) + _attributes(found)

    def _setattr(self, node: int, said: bytes) -> bytes:
        valid, size, mode = struct.unpack_from("<I12xQ44xI", said)
        path = self._paths[node]
        if valid & _SIZE:
            os.truncate(path, size)
        if valid & _MODE:
            os.chmod(path, stat.S_IMODE(mode))
        return struct.pack("<QII", 0, 0, 0) + _attributes(os.lstat(path))

    def _readlink(self, node: int, _: bytes) -> bytes:
        return os.fsencode(os.readlink(self._paths[node]))

    def _symlink(self, node: int, said: bytes) -> bytes:
        name, target = said.split(b"\0")[:2]
        os.symlink(os.fsdecode(target), path := self._below(node, name))
        return self._entry(path)

    def _mkdir(self, node: int, said: bytes) -> bytes:
        os.mkdir(path := self._below(node, said[8:]), struct.unpack_from("<I", said)[0])
        return self._entry(path)

    def _unlink(self, node: int, said: bytes) -> bytes:
        os.unlink(self._below(node, said))
        return b""

    def _rmdir(self, node: int, said: bytes) -> bytes:
        os.rmdir(self._below(node, said))
        return b""

    def _rename(self, node: int, said: bytes, names_at: int = 8) -> bytes:
        [folder] = struct.unpack_from("<Q", said)
        old, new = said[names_at:].split(b"\0")[:2]
        os.rename(self._below(node, old), self._below(folder, new))
        return b""

    def _rename2(self, node: int, said: bytes) -> bytes:
        return self._rename(node, said, 16)

    def _link(self, node: int, said: bytes) -> bytes:
        [linked] = struct.unpack_from("<Q", said)
        os.link(self._paths[linked], path := self._below(node, said[8:]))
        return self._entry(path)

    def _open(self, node: int, said: bytes) -> bytes:
        [flags] = struct.unpack_from("<I", said)
        return struct.pack("<QII", os.open(self._paths[node], flags), _DIRECT, 0)

    def _create(self, node: int, said: bytes) -> bytes:
        flags, mode = struct.unpack_from("<II", said)
        file = os.open(path := self._below(node, said[16:]), flags | os.O_CREAT, mode)
        return self._entry(path) + struct.pack("<QII", file, _DIRECT, 0)

    def _read(self, node: int, said: bytes) -> bytes:
        file, offset, size = struct.unpack_from("<QQI", said)
        return os.pread(file, size, offset)

    def _write(self, node: int, said: bytes) -> bytes:
        file, offset, size = struct.unpack_from("<QQI", said)
        return struct.pack("<II", os.pwrite(file, said[40 : 40 + size], offset), 0)

    def _release(self, node: int, said: bytes) -> bytes:
        os.close(struct.unpack_from("<Q", said)[0])
        return b""

    def _fsync(self, node: int, said: bytes) -> bytes:
        return b""

    _flush = _releasedir = _fsyncdir = _fsync

    def _statfs(self, node: int, _: bytes) -> bytes:
        found = os.statvfs(self._paths[_ROOT])
        counts = found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree
        return struct.pack("<5Q4I24x", *counts, found.f_bsize, found.f_namemax, found.f_frsize, 0)

    def _opendir(self, node: int, _: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0)

    def _readdir(self, node: int, said: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", said)
        listed = b""
        for place, name in enumerate(sorted(os.listdir(os.fsencode(self._paths[node])))[offset:], offset + 1):
            entry = struct.pack("<QQII", place + 1, place, len(name), 0) + name
            entry += bytes(-len(entry) % 8)
            if len(listed) + len(entry) > size:
                break
            listed += entry
        return listed

    def _below(self, node: int, name: bytes) -> str:
        return os.path.join(self._paths[node], os.fsdecode(name.partition(b"\0")[0]))

    def _entry(self, path: str) -> bytes:
        found = os.lstat(path)
        # A node is an inode: what is renamed, here or in the folder itself, stays the same.
        self._paths[found.st_ino] = path
        return struct.pack("<QQQQII", found.st_ino, 0, 0, 0, 0, 0) + _attributes(found)


def _attributes(found: os.stat_result) -> bytes:
    times = [divmod(time, 10**9) for time in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
    return struct.pack(
        "<6Q10I",
        *(found.st_ino, found.st_size, found.st_blocks, *(seconds for seconds, _ in times)),
        *(*(rest for _, rest in times), found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0),
    )


def serve(folder: str, mount: str, refused: Mapping[str, int]) -> None:
    """Mount a folder, and serve it until it is unmounted."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"mirror", os.fsencode(mount), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), mount)
    mirror = Mirror(folder, refused)
    try:
        while True:
            try:
                answer = mirror.answer(os.read(device, _LARGEST_WRITE + 4096))
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno not in (errno.ENOENT, errno.EINTR):
                    raise
                continue
            if answer is not None:
                # A request that was interrupted meanwhile expects no answer.
                with contextlib.suppress(FileNotFoundError):
                    os.write(device, answer)
    finally:
        # Lazily: whoever still uses it must not keep it.
        libc.umount2(os.fsencode(mount), 2)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuse", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", help="to be mounted a second time")
    parser.add_argument("mount", metavar="MOUNT", help="an empty folder")
    parser.add_argument(
        "refusals", nargs="*", type=_refusal, metavar="OPERATION=ERROR", help="what is refused, and how"
    )
    flags = parser.parse_args(argv)
    with contextlib.suppress(KeyboardInterrupt):
        serve(flags.folder, flags.mount, dict(flags.refusals))


def _refusal(written: str) -> tuple[str, int]:
    name, _, error = written.partition("=")
    if name not in _NAMES.values() or not hasattr(errno, error):
        raise argparse.ArgumentTypeError(f"{written} is not of the form OPERATION=ERROR, e.g. flock=ENOLCK")
    return name, int(getattr(errno, error))


if __name__ == "__main__":
    main()
