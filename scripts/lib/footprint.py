"""What one ECU takes of a chip, against its budgets: footprint.py NAME=IMAGE=RAM...

IMAGE is ecu-firmware's `footprint` and RAM the goal for its RAM in KiB. The image is read (sections, symbols, calls of what panics) and run
in QEMU with painted RAM: eight ECUs ignite, approve, seal, come back from their journals, catch up by decisions and by the state, and are
readmitted. RAM is what one of them has in static memory, and two stacks: the deepest of Ed25519, and the deepest of all else, which interrupts
it on a board. Fails if more is taken than `REACHED` says, which is what was reached: it must not get worse.
"""

import re
import struct
import subprocess
import sys

import qemu
from sizes import sizes

TIMEOUT_S = 900
KIB = 1024
FLASH_GOAL = 128 * KIB
BOOTS = 11  # of `car.rs`: it has the memory of an ECU for each
# Flash, RAM and calls of what panics: no image may take more.
# Another compiler may take a little more.
REACHED = {"registry in SRAM": (167_000, 74_500, 122), "registry in mapped flash": (167_000, 67_900, 122)}
# In the image for the scenario alone, or in every ECU's flash whatever the firmware: the genesis and the keys.
AROUND = r"footprint::(image::CAR|car::FLASHES)$"
PROVISIONED = r"footprint::node::(GENESIS|MAKER|endpoint_keys::KEYS)$"
PANICS = r"core::panicking::|core::(option|result)::.*(expect|unwrap)_failed|slice_.*_fail|core::slice::index|core::str::slice_error"


def symbols(image):
    """Address, size, kind and name of each symbol."""
    listing = subprocess.run(["nm", "-S", "-C", image], stdout=subprocess.PIPE, check=True, text=True).stdout
    found = (re.match(r"(\w+) (\w+) (\w) (.+)$", line) for line in listing.splitlines())
    return [(int(f[1], 16), int(f[2], 16), f[3], re.sub(r"::h[0-9a-f]{16}$", "", f[4])) for f in found if f]


def text(image):
    """Address and bytes of the code."""
    listing = subprocess.run(["readelf", "-SW", image], stdout=subprocess.PIPE, check=True, text=True).stdout
    address, offset, size = re.search(r"\] \.text +PROGBITS +(\w+) (\w+) (\w+)", listing).groups()
    with open(image, "rb") as file:
        file.seek(int(offset, 16))
        return int(address, 16), file.read(int(size, 16))


def calls(image, functions):
    """Addresses of the branches to one of these addresses: BL (T1) and B.W (T4) of the Thumb instruction set."""
    base, code = text(image)
    halves = struct.unpack(f"<{len(code) // 2}H", code[: len(code) // 2 * 2])
    for at, (high, low) in enumerate(zip(halves, halves[1:])):
        if high & 0xF800 != 0xF000 or low & 0x9000 != 0x9000:
            continue
        sign = high >> 10 & 1
        i1, i2 = 1 ^ (low >> 13 & 1) ^ sign, 1 ^ (low >> 11 & 1) ^ sign
        offset = (i1 << 23 | i2 << 22 | (high & 0x3FF) << 12 | (low & 0x7FF) << 1) - (sign << 24)
        if base + 2 * at + 4 + offset in functions:
            yield base + 2 * at


def largest(listed, kinds, count, share=lambda name: 1):
    """The largest symbols of these kinds."""
    chosen = sorted(((size // share(name), name) for _, size, kind, name in listed if kind in kinds), reverse=True)
    return "\n".join(f"  {size:>8}  {name}" for size, name in chosen[:count])


def measure(name, image, goal):
    """Prints what an image takes; whether that is no more than was reached."""
    listed = symbols(image)
    def taken(pattern):
        return sum(size for _, size, _, symbol in listed if re.search(pattern, symbol))

    if any(kind in "dD" and re.search(r"footprint::car::NODES$", symbol) for _, _, kind, symbol in listed):
        sys.exit(f"error: {name}: an ECU is not all zeros before it starts, and so takes as much flash as RAM: look for an `Option` that should be a `Slot`")
    code, constants, static = sizes(image)
    flash = code + constants - taken(PROVISIONED)
    nodes = taken(r"footprint::car::NODES$")
    ram = static - taken(AROUND) - nodes * (BOOTS - 1) // BOOTS
    pump, ed25519 = qemu.run(image, TIMEOUT_S)[1]  # one interrupts the other
    if not pump or not ed25519:
        sys.exit(f"error: {name}: a stack is not used, and so not measured: {pump} and {ed25519} bytes of Ed25519")
    taken_ram = ram + pump + ed25519
    panics = {address & ~1 for address, _, kind, symbol in listed if kind in "tT" and re.search(PANICS, symbol)}
    panicking = len(list(calls(image, panics)))
    print(f"{name}: flash {flash}, goal {FLASH_GOAL}; RAM {taken_ram}, goal {goal * KIB}: "
          f"{ram} static, {pump} stack, and {ed25519} stack of Ed25519; calls of what panics: {panicking}")
    print("flash, largest:", largest(listed, "tTrR", 12), sep="\n")
    print("RAM, largest:", largest(listed, "bBdD", 4, lambda symbol: BOOTS if symbol.endswith("::NODES") else 1), sep="\n")
    worse = [what for what, is_now, was in zip(("flash", "RAM", "calls of what panics"), (flash, taken_ram, panicking), REACHED[name]) if is_now > was]
    for what in worse:
        print(f"error: {name}: more {what} than was reached: {REACHED[name]}", file=sys.stderr)
    return not worse


if __name__ == "__main__":
    results = [measure(name, image, int(goal)) for name, image, goal in (argument.split("=") for argument in sys.argv[1:])]
    sys.exit(not all(results))
