"""Run an image of ecu-firmware in QEMU, and see how deep its stacks were.

The emulated RAM is a file that is painted before the run, so what was done to them is seen from outside.
"""

import subprocess
import sys
import tempfile

RAM_BASE, RAM_BYTES = 0x2100_0000, 16 << 20  # of mps2-an386 and of ecu-node/firmware/build.rs
RAM_END = RAM_BASE + RAM_BYTES  # where the stack begins
STACK_BYTES = 512 << 10  # of the stack, and of a second one below it, where it is; what is static ends far below
PAINT = b"\xcc" * 4
MACHINE = "mps2-an386"


def command(image, *options, arguments=(), machine=MACHINE):
    """What runs an image: its own output is all that is printed, `arguments` are what it is told."""
    told = ",".join(["enable=on,target=native", *(f"arg={argument}" for argument in arguments)])
    emulated = ["qemu-system-arm", "-M", machine, "-cpu", "cortex-m4", "-display", "none", "-monitor", "none", "-serial", "null"]
    return [*emulated, "-semihosting-config", told, *options, "-kernel", image]


def run(image, timeout_s, *options):
    """What an image printed, and how deep its stack was and its second one. Ends the program if the image fails or hangs."""
    with tempfile.NamedTemporaryFile() as ram:
        ram.write(PAINT * (RAM_BYTES // len(PAINT)))
        ram.flush()
        backend = f"memory-backend-file,id=ram,size={RAM_BYTES},mem-path={ram.name},share=on"
        painted = command(image, "-object", backend, *options, machine=f"{MACHINE},memory-backend=ram")
        try:
            done = subprocess.run(painted, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            sys.exit(f"error: {image} does not come to an end in QEMU: it panics or hangs")
        if done.returncode:
            sys.exit(f"error: {image} fails in QEMU; it came so far:\n{done.stdout}{done.stderr}")
        ram.seek(RAM_BYTES - 2 * STACK_BYTES)
        second, first = ram.read(STACK_BYTES), ram.read(STACK_BYTES)
    return done.stdout, (depth(first), depth(second))


def depth(stack):
    """Bytes of a stack from where it was painted over."""
    touched = (at for at in range(0, STACK_BYTES, len(PAINT)) if stack[at : at + len(PAINT)] != PAINT)
    return STACK_BYTES - next(touched, STACK_BYTES)
