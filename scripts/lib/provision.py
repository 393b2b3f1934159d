"""Make what a board is provisioned with: provision.py FOLDER NAME OUT KEYS, of the folder that `ecu-node provision` made, and the device's
key file, unsealed.

The form is that of ecu-node/src/provision.rs. The journal is the header that `ecu-node provision` has formatted: 64 bytes at the start of
the first bank, whatever the sizes of the flash; the rest of the journal's flash has to be erased.
"""

import os
import sys

HEADER = 64

if len(sys.argv) != 5:
    sys.exit("usage: provision.py FOLDER NAME OUT KEYS")
folder, name, out, keys = sys.argv[1:]


def read(*path):
    try:
        with open(os.path.join(folder, *path), "rb") as file:
            return file.read()
    except OSError as error:
        sys.exit(f"error: {error.filename}: {error.strerror}")


def write(end, data):
    path = os.path.join(out, name + end)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        sys.exit(f"error: {path}: {error.strerror}")


maker = bytes.fromhex(read("maker.pub").decode().strip())
genesis, keys, journal = read("genesis.bin"), read(os.path.abspath(keys)), read(name, "journal.bin")
if len(maker) != 32 or keys[:7] != b"RINGKEY":
    sys.exit("error: maker.pub or the key file is not what `ecu-node provision` makes")
if journal[:4] != b"RFJ1" or set(journal[HEADER:]) != {0xFF}:
    sys.exit(f"error: {name} has run already: its journal is no new one, and its votes must not be forgotten")

lengths = len(genesis).to_bytes(4, "little") + len(keys).to_bytes(4, "little")
write(".provision.bin", b"RINGDEV\x01" + maker + lengths + genesis + keys)
write(".journal.bin", journal[:HEADER])
