"""Faults of a bad native library, for the processes that decode."""

from __future__ import annotations

from pathlib import Path

from tests.image_files import encode, picture

# Runs at the start of every Python process, and gives the decoder the faults of a bad native library.

FAULTS = '''\
import ctypes, io, json, os, signal, sys, time
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
    if b"BUSY" in data:
        while True:
            pass
    if b"STOPPED" in data:
        os.kill(os.getpid(), signal.SIGSTOP)
    if b"DEAF" in data:
        os.close(1)
        time.sleep(600)
    if b"FORKING" in data:
        # What it has started holds the other end of its pipe.
        os.fork()
        time.sleep(600)
    if b"SPYING" in data:
        raise OSError(json.dumps([sorted(os.environ), len(os.listdir("/proc/self/fd"))]))
    if b"SCRIBBLE" in data:
        with io.open(data.split(b"SCRIBBLE")[1].decode(), "wb", buffering=0) as file:
            file.write(b"more")
    if b"DEEP" in data:
        sys.stdout.buffer.write(b"[" * 9_000 + b"\\n")
    if b"NONSENSE" in data:
        sys.stdout.buffer.write(b'{"width": "wide"}\\n')
        sys.stdout.buffer.flush()
    if b"FLOOD" in data:
        sys.stdout.buffer.write(b"x" * 100_000)
        sys.stdout.buffer.flush()
    if b"LYING" in data:
        lie = json.loads(data.split(b"LYING")[1])
        answer_with(lambda send, answers, header, payload: send(answers, {**header, **lie}, payload))
    if b"MORE" in data:
        answer_with(lambda send, answers, header, payload: send(answers, header, bytes(payload) + b"x"))
    if b"TWICE" in data:
        answer_with(lambda send, *answer: (send(*answer), time.sleep(0.05), send(*answer)))
    return opened(file, *arguments, **settings)
def answer_with(fault):
    """Have the next answer sent by another function."""
    child = sys.modules["__main__"]
    send = child._send_line
    def send_once(*answer):
        child._send_line = send
        fault(send, *answer)
    child._send_line = send_once
Image.open = open
'''


def faulty(fault: bytes) -> bytes:
    """Write an image that names a fault behind its end, where decoders do not look."""
    return encode(picture(), "jpeg") + fault


def is_alive(process: int) -> bool:
    """Return whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
