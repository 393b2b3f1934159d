"""Run the images of scripts/measure in QEMU and print what they cost: measure.py [--json] NOTHING NO-MAC IMAGE...

An image prints "OPERATION instructions=COUNT stack_pointer=ADDRESS". What an operation did to the stack below its caller
is seen from outside (qemu.py). From stack and flash those of an image that has the same around nothing are subtracted: NO-MAC for
the MACs of a vote, NOTHING for the others.
"""

import json
import os
import re
import subprocess
import sys

import qemu
from sizes import sizes
from votes import layouts

TIMEOUT_S = 60
MEGAHERTZ = (48, 168, 480)
CPI = 1.3  # cycles per instruction, assumed: a Cortex-M4 that waits for its flash now and then
# What stands one after the other on the way to an approval in round 0: a proposal, a PREVOTE and a PRECOMMIT.
MESSAGES_OF_AN_APPROVAL = 3


def run(image):
    """Each operation of an image with its instructions and stack pointer, and the lowest address that the stack reached."""
    printed, (depth, _) = qemu.run(image, TIMEOUT_S, "-icount", "shift=0")
    lines = re.findall(r"^(\w+) instructions=(\d+) stack_pointer=(\d+)$", printed, re.MULTILINE)
    if not lines:
        sys.exit(f"error: {image} printed no count:\n{printed}")
    return [(operation, int(count), int(pointer)) for operation, count, pointer in lines], qemu.RAM_END - depth


def cost(image):
    """What an image takes: instructions by operation, the deepest stack of them, flash."""
    operations, lowest = run(image)
    text, rodata, _ = sizes(image)
    stack = max(pointer for _, _, pointer in operations) - lowest
    counts = {operation: count for operation, count, _ in operations}
    if "make" in counts:
        counts["approval"] = MESSAGES_OF_AN_APPROVAL * (counts["make"] + counts["check"])
    return {"name": os.path.basename(image), "instructions": counts, "stack": stack, "text": text, "rodata": rodata}


def milliseconds(instructions):
    """At each clock."""
    return {str(clock): round(instructions * CPI / clock / 1000, 4) for clock in MEGAHERTZ}


def version(*command):
    """The first line that a program says of itself."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def print_tables(candidates, votes, tools):
    """For people."""
    clocks = "".join(f"{f'{clock} MHz':>10}" for clock in MEGAHERTZ)
    print(f"{'':<32}{'instructions':>12}{clocks}{'stack':>8}{'.text':>8}{'.rodata':>9}")
    for candidate in candidates:
        memory = f"{candidate['stack']:>8}{candidate['text']:>8}{candidate['rodata']:>9}"
        for operation, count in candidate["instructions"].items():
            times = "".join(f"{time:>10.3f}" for time in candidate["milliseconds"][operation].values())
            print(f"{candidate['name']:<22} {operation:<9}{count:>12}{times}{memory}")
            memory = ""
    print(f"\nTimes in ms at {CPI} cycles an instruction; memory in bytes. thumbv7em-none-eabihf, opt-level 3, LTO.")
    print(*tools, sep="\n")

    print(f"\n{'':<35}{'worst frame, us':^27}   {'years to forge a vote (even odds)'}")
    buses = "".join(f"{bus:>9}" for bus in votes[0]["worst_us"])
    print(f"{'vote':<7}{'validators':>10}{'header':>9}{'tag':>9}{buses}   {buses}")
    for vote in votes:
        worst = "".join(f"{time:>9.1f}" for time in vote["worst_us"].values())
        years = "".join(f"{time:>9.2g}" for time in vote["years_to_forge"].values())
        print(f"{vote['frame']:<7}{vote['validators']:>10}{vote['header']:>9}{vote['tag']:>9}{worst}   {years}")


arguments = sys.argv[1:]
as_json = arguments[0] == "--json"
nothing, no_mac, *candidates = (cost(image) for image in arguments[as_json:])
for candidate in candidates:
    frame = no_mac if "make" in candidate["instructions"] else nothing
    for memory in ("stack", "text", "rodata"):
        candidate[memory] -= frame[memory]
    candidate["milliseconds"] = {name: milliseconds(count) for name, count in candidate["instructions"].items()}
votes = list(layouts())
tools = [version("rustc", "--version"), version("qemu-system-arm", "--version")]
if as_json:
    print(json.dumps({"cpi": CPI, "tools": tools, "candidates": candidates, "votes": votes}, indent=2))
else:
    print_tables(candidates, votes, tools)
