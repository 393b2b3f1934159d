"""Print what a validator takes on an emulated Cortex-M4: validator.py [--json] IMAGE SMALL-IMAGE FOLDER-OF-TRACES

The image `replay` plays what happened to one ECU of a simulated car and counts the instructions of each input and of each poll.
The second image is the one that is built for a small flash.
"""

import json
import re
import subprocess
import sys
from statistics import median

import qemu

MEGAHERTZ = (48, 168, 480)
CPI = 1.3  # as in measure.py
QUIET, APPROVAL = "1", "2"  # parts of a trace, of ecu-node/firmware/tests/replay.rs


def replay(image, folder, trace):
    """Instructions by part, and for each approval its inputs and polls: what it was, and what it took."""
    command = qemu.command(image, "-icount", "shift=0", arguments=("list", trace))
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    if done.returncode:
        sys.exit(f"error: {trace} is not replayed in QEMU:\n{done.stderr}")
    parts, approvals = {}, [[]]
    for line in done.stdout.splitlines():
        if whole := re.fullmatch(r"part=(\d+) instructions=(\d+) inputs=\d+ longest=\d+", line):
            parts.setdefault(whole[1], []).append(int(whole[2]))
            if whole[1] == APPROVAL:
                approvals.append([])
        elif one := re.fullmatch(rf"part={APPROVAL} ([\w-]+) (\d+)", line):
            approvals[-1].append((one[1], int(one[2])))
    return parts, approvals[:-1]


def on_the_way(steps):
    """What stands one after the other in an approval: whatever the journal is written for, twice a vote and then the decision, and what
    is done when it is. The rest is done while others are waited for."""
    written = [at for at, (what, _) in enumerate(steps) if what == "persisted"]
    return sum(took for at in written for _, took in steps[at - 2 : at + 2])


def suite(name, image, folder, trace):
    """The rows of a MAC suite."""
    parts, approvals = replay(image, folder, trace)
    steps = [step for approval in approvals for step in approval]
    after_persisted = [say[1] for take, say in zip(steps, steps[1:]) if take[0] == "persisted" and say[0] == "poll"]
    precommits = [took for what, took in steps if what == "precommit"]
    # two votes and what is said of the decision wait for the journal: the votes take longest
    votes = sorted(after_persisted)[-2 * len(approvals) :]
    return {
        f"{name}: a vote made and put into a frame": median(votes),
        f"{name}: a vote checked and counted": median(took for what, took in steps if what == "prevote"),
        f"{name}: the precommit that decides": median(sorted(precommits)[-len(approvals) :]),
        f"{name}: an approval as validator": median(parts[APPROVAL]),
        f"{name}: of it one after the other": median(map(on_the_way, approvals)),
        f"{name}: ignition, six peers": parts["0"][0],
        f"{name}: a quiet second": parts[QUIET][0],
    }


as_json = sys.argv[1] == "--json"
image, small, folder = sys.argv[1 + as_json :]
rows = suite("blake2s", image, folder, "blake2s") | suite("cmac", image, folder, "cmac")
rows |= suite("blake2s in a small flash", small, folder, "blake2s")
for trace, name in (("catch-up", "catch-up by decisions"), ("state", "catch-up by a state")):
    rows[f"blake2s: {name}"] = replay(image, folder, trace)[0]["0"][0]
table = [
    {"what": what, "instructions": round(count), "milliseconds": {str(clock): round(count * CPI / clock / 1000, 3) for clock in MEGAHERTZ}}
    for what, count in rows.items()
]
if as_json:
    print(json.dumps({"cpi": CPI, "rows": table}, indent=2))
else:
    print(f"{'':<62}{'instructions':>12}" + "".join(f"{f'{clock} MHz':>11}" for clock in MEGAHERTZ))
    for row in table:
        print(f"{row['what']:<62}{row['instructions']:>12}" + "".join(f"{time:>11.3f}" for time in row["milliseconds"].values()))
    print(f"\nTimes in ms at {CPI} cycles an instruction, without flash, bus and signatures. docs/measurements/validator.md")
