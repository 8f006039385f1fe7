"""Faults of a bad native library, for the processes that decode."""

from __future__ import annotations

from tests.image_files import encode, picture

# Runs at the start of every Python process, and gives the decoder the faults of a bad native library.

FAULTS = """\
import ctypes, io, os, sys, time
from PIL import Image
opened = Image.open
def open(file, *arguments, **settings):
    data = file.read()
    file.seek(0)
    if b"CRASH" in data:
        ctypes.string_at(0)
    if b"EXIT" in data:
        os._exit(3)
    if b"HANG" in data:
        if "HANGING" in os.environ:
            io.open(os.environ["HANGING"], "w").close()
        time.sleep(600)
    if b"SWELL" in data:
        bytearray(8 << 30)
    if b"NONSENSE" in data:
        sys.stdout.buffer.write(b'{"width": "wide"}\\n')
        sys.stdout.buffer.flush()
    if b"FLOOD" in data:
        sys.stdout.buffer.write(b"x" * 100_000)
        sys.stdout.buffer.flush()
    if b"MORE" in data:
        sys.stdout.buffer.write(b'{"width": 1, "height": 1, "source": "", "repairs": []}\\n' + bytes(32 * 32 * 3 + 1))
        sys.stdout.buffer.flush()
        time.sleep(600)
    return opened(file, *arguments, **settings)
Image.open = open
"""


def faulty(fault: bytes) -> bytes:
    """Write an image that names a fault behind its end, where decoders do not look."""
    return encode(picture(), "jpeg") + fault
