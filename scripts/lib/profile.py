"""Print where the instructions of an approval go on an emulated Cortex-M4: profile.py IMAGE FOLDER-OF-TRACES

QEMU logs the address of every instruction that `replay` executes; calls and returns among them make the stack, and the image's line
tables say which functions were inlined where. An instruction counts for the first row one of whose functions is on its stack.
"""

import re
import subprocess
import sys
from collections import Counter

import qemu

APPROVAL = "2"  # part of a trace, of ecu-node/firmware/tests/replay.rs
ROWS = (
    ("tags made", r"seal_message.*closure"),
    ("tags checked", r"KeyStore.*verify|\bkey_of\b"),
    ("SHA-256: the decision's hash", r"decision_hash"),
    ("SHA-256: the tree of decisions", r"hash::merkle"),
    ("the rest of the decision", r"conclude|end_height|take_decided"),
    ("the rest of the proposal", r"on_propose"),
    ("the rest of others' votes", r"on_vote"),
    ("the rest of own votes", r"\bcast\b"),
    ("the rules", r"progress|propose_pending|\bvote\b"),
    ("messages", r"on_message|on_bus"),
    ("polls", r"image::poll"),
    ("what is left", r""),
)


def disassembled(image):
    """Functions by their address, and where each call returns to."""
    listing = subprocess.run(["llvm-objdump", "-d", "--no-show-raw-insn", image], capture_output=True, text=True, check=True).stdout
    functions = {int(at, 16): name for at, name in re.findall(r"^([0-9a-f]{8}) <(.*)>:$", listing, re.MULTILINE)}
    calls = re.findall(r"^\s*([0-9a-f]+):\s+(blx?)\s", listing, re.MULTILINE)
    return functions, {int(at, 16): int(at, 16) + (4 if kind == "bl" else 2) for at, kind in calls}


def executed(image, folder, trace):
    """The address of each instruction; the parts of the trace, in order, when all were executed."""
    command = qemu.command(image, "-singlestep", "-d", "exec,nochain", "-D", "/dev/stderr", arguments=("count", trace))
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as emulator:
        for line in emulator.stderr:
            if line.startswith("Trace"):
                yield int(line.split("[")[1].split("/")[1], 16)
        yield re.findall(r"part=(\d+)", emulator.stdout.read())


def counted(image, folder, trace):
    """Instructions of all approvals by the calls they are under and their address, and how many approvals."""
    functions, returns = disassembled(image)
    window = {at for at, name in functions.items() if re.search(r"5image\w*(6handle|4poll)\b", re.sub("17h.*", "", name))}
    part_ends = {at for at, name in functions.items() if "3Sum5print" in name}
    parts, stack, inside, last = [Counter()], [], 0, 0
    for at in executed(image, folder, trace):
        if isinstance(at, list):
            approvals = [part for part, mark in zip(parts, at) if mark == APPROVAL]
            return sum(approvals, Counter()), len(approvals)
        back = returns.get(last)
        if back is not None and at != back:
            stack.append((back, last))
            inside = inside or at in window and len(stack)
            if at in part_ends:
                parts.append(Counter())
        elif stack and at == stack[-1][0]:
            stack.pop()
            inside = inside if len(stack) >= inside else 0
        if inside:
            parts[-1][tuple(call for _, call in stack[inside - 1 :]), at] += 1
        last = at


def names(image, addresses):
    """The functions that each address is in, those inlined there among them."""
    command = ["llvm-addr2line", "-e", image, "-i", "-f", "-C", "-a"]
    told = subprocess.run(command, input="\n".join(map(hex, addresses)), capture_output=True, text=True, check=True).stdout
    found = {}
    for line in told.splitlines():
        if line.startswith("0x"):
            found[int(line, 16)] = current = []
        else:
            current.append(re.sub(r"::h[0-9a-f]{16}$", "", line))
    return {at: "\n".join(lines[::2]) for at, lines in found.items()}


image, folder = sys.argv[1:]
counts, approvals = counted(image, folder, "blake2s")
inlined = names(image, {at for calls, last in counts for at in (*calls, last)})
rows = Counter()
for (calls, last), count in counts.items():
    on_the_stack = "\n".join(inlined[at] for at in (*calls, last))
    rows[next(row for row, function in ROWS if re.search(function, on_the_stack))] += count
total = sum(rows.values())
for row, _ in ROWS:
    print(f"{row:<32}{rows[row] / approvals:>8.0f}{100 * rows[row] / total:>6.1f} %")
print(f"{'an approval, mean of ' + str(approvals):<32}{total / approvals:>8.0f}")
