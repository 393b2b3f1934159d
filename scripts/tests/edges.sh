#!/bin/bash
# Edges between the crates only go down, and what knows a clock, a socket or a database stays at the edge (ARCHITECTURE.md).
set -u
cd "$(dirname "$0")/../.." || exit 1
chip=thumbv7em-none-eabihf
metadata=$(cargo metadata --format-version 1 --no-deps) || exit 1

failed=0
python3 - "$metadata" <<'PYTHON' || failed=1
import json, sys

# Each crate with those it may use; lowest first, so that a cycle cannot be written down.
ALLOWED = {
    "can-bus": [],
    "device-chain": [],
    "journal": [],
    "event-chain": ["device-chain"],
    "ecu-node": ["can-bus", "device-chain", "journal"],
    "ecu-firmware": ["can-bus", "device-chain", "ecu-node", "journal"],
    "dbc": ["can-bus"],
    "mesh-proof": ["device-chain"],
    "mesh-sim": ["can-bus", "device-chain", "ecu-node", "journal"],
    "she": ["device-chain"],
    "cloud-link": ["device-chain", "event-chain"],
    "vehicle-gateway": ["can-bus", "cloud-link", "dbc", "device-chain", "ecu-node", "event-chain", "journal"],
    "input-tests": None,  # everything that reads something
    "vcan-tests": None,  # the whole car
}
OUTER = {"tokio", "socketcan", "rusqlite", "axum", "reqwest"}
MAY_KNOW_OUTER = {"can-bus", "ecu-node", "vehicle-gateway", "cloud-link", "vcan-tests"}
# One crate checks signatures (DC-5). The firmware chooses how large its code is, the simulator only signs.
SIGNATURES = {"ed25519-compact", "ed25519-dalek", "curve25519-dalek"}
MAY_KNOW_SIGNATURES = {"device-chain", "ecu-firmware", "mesh-sim"}

packages = {package["name"]: package for package in json.loads(sys.argv[1])["packages"]}
wrong = [f"{name} has no place in the list of scripts/tests/edges.sh" for name in packages.keys() - ALLOWED.keys()]
wrong += [f"{name} is listed but not in the workspace" for name in ALLOWED.keys() - packages.keys()]
for name, package in packages.items():
    for used in (dependency for dependency in package["dependencies"] if dependency["kind"] != "dev"):
        allowed = ALLOWED.get(name)
        if used["name"] in packages and allowed is not None and used["name"] not in allowed:
            wrong.append(f"{name} uses {used['name']}")
        if used["name"] in OUTER and name not in MAY_KNOW_OUTER:
            wrong.append(f"{name} uses {used['name']}, which belongs to adapters and programs")
        if used["name"] in SIGNATURES and name not in MAY_KNOW_SIGNATURES:
            wrong.append(f"{name} uses {used['name']}: signatures are device-chain's")
print(*(f"FAIL {line}" for line in wrong) if wrong else [f"ok   edges of {len(packages)} crates"], sep="\n")
sys.exit(bool(wrong))
PYTHON

for crate in can-bus device-chain ecu-node event-chain journal; do
    tree=$(cargo tree --edges normal --no-default-features --target $chip --package $crate --prefix none) || exit 1
    outer=$(grep -oE '^(tokio|socketcan|rusqlite|axum|reqwest|libc|getrandom) ' <<<"$tree" | sort -u | tr '\n' ' ')
    if [ -z "$outer" ]; then
        echo "ok   $crate for a chip knows no clock, socket or database"
    else
        echo "FAIL $crate for a chip uses $outer"
        failed=1
    fi
done
exit $failed
