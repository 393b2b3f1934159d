"""Print what crates and images take on a chip: sizes.py NAME=FILE...

The numbers of a crate (.rlib) are those of its own compiled code, before linking; generic code counts where it is used.
Those of a linked image are the whole. `readelf` (binutils) reads any processor's object files.
"""

import subprocess
import sys


def sizes(path):
    """Bytes of code, of constants and of static RAM in an object file, an archive of them, or an image."""
    text = rodata = ram = 0
    listing = subprocess.run(["readelf", "-SW", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in listing.stdout.splitlines():
        # "[Nr] Name Type Addr Off Size ES Flg ...": the flags are missing where there are none.
        columns = line.rpartition("]")[2].split()
        if len(columns) < 9 or columns[1] not in ("PROGBITS", "NOBITS"):
            continue
        size, flags = int(columns[4], 16), columns[6]
        if "A" not in flags:
            continue
        if "W" in flags:
            ram += size
        elif "X" in flags:
            text += size
        else:
            rodata += size
    if not text:
        sys.exit(f"error: no code found in {path}")
    return text, rodata, ram


if __name__ == "__main__":
    print(f"{'crate':<16}{'.text':>10}{'.rodata':>10}{'static RAM':>12}  (bytes)")
    for name, path in (argument.split("=", 1) for argument in sys.argv[1:]):
        text, rodata, ram = sizes(path)
        print(f"{name:<16}{text:>10}{rodata:>10}{ram:>12}")
