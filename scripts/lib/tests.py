"""List what `cargo test --no-run --message-format=json` (on standard input) has built, one test binary a line.

A line is WHERE, folder of the package, binary, with tabs between; WHERE is `vcan` for what needs the virtual buses (the
package vcan-tests and every test whose name begins with "vcan"), else `here`.
"""

import json
import os
import sys

for line in sys.stdin:
    message = json.loads(line)
    if message.get("reason") != "compiler-artifact" or not message["profile"]["test"] or not message["executable"]:
        continue
    folder = os.path.dirname(message["manifest_path"])
    needs_vcan = os.path.basename(folder) == "vcan-tests" or message["target"]["name"].startswith("vcan")
    print("vcan" if needs_vcan else "here", folder, message["executable"], sep="\t")
