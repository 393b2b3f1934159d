"""List what `cargo test --no-run --message-format=json` (on standard input) has built, one test binary a line.

A line is WHERE, folder of the package, binary, with tabs between; WHERE is `vcan` for what needs the virtual buses (every
test whose name begins with "vcan", and what else the package vcan-tests has but its test "sim", whose bus is simulated in
real time: it keeps to that only outside a virtual machine), else `here`.
"""

import json
import os
import sys

for line in sys.stdin:
    message = json.loads(line)
    if message.get("reason") != "compiler-artifact" or not message["profile"]["test"] or not message["executable"]:
        continue
    folder = os.path.dirname(message["manifest_path"])
    name = message["target"]["name"]
    needs_vcan = name.startswith("vcan") or (os.path.basename(folder) == "vcan-tests" and name != "sim")
    print("vcan" if needs_vcan else "here", folder, message["executable"], sep="\t")
