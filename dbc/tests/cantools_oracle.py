#!/usr/bin/env python3
"""Compares `dbc decode --json` with cantools, frame by frame and signal by signal.

Usage: cantools_oracle.py DBC_PROGRAM DBC_FILE LOG

Raw values must be equal, physical ones equal up to rounding, and both must find the same signals. Needs cantools
(pip install cantools). Exit status 1 with the first difference.
"""

import gzip
import json
import math
import subprocess
import sys

import cantools


def frames(log):
    """Identifier (bit 31: 29-bit) and data of each data frame, in the order of the log."""
    opener = gzip.open if log.endswith(".gz") else open
    with opener(log, "rt") as lines:
        for line in lines:
            identifier, _, data = line.split()[2].partition("#")
            if data.startswith("R"):
                continue
            if data.startswith("#"):
                data = data[2:]
            yield int(identifier, 16) | (len(identifier) == 8) << 31, bytes.fromhex(data)


def fits(signal, length):
    """Whether data of this length hold the whole signal."""
    start = signal.start
    if signal.byte_order == "big_endian":
        start = start // 8 * 8 + 7 - start % 8
    return start + signal.length <= 8 * length


def decoded_by_cantools(message, data):
    """Raw and physical value of each signal; None for one that the data are too short for."""
    padded = data.ljust(message.length, b"\0")[: message.length]
    raw = message.decode(padded, decode_choices=False, scaling=False)
    physical = message.decode(padded, decode_choices=False)
    signals = {signal.name: signal for signal in message.signals}
    return {
        name: (raw[name], physical[name]) if fits(signals[name], len(data)) else None for name in raw
    }


def same(ours, theirs):
    """Whether two values of a signal agree."""
    if ours is None or theirs is None:
        return ours is theirs
    raw, physical = theirs
    if isinstance(raw, float) and not math.isfinite(raw):
        return ours["raw"] is None  # JSON has no such number
    return ours["raw"] == raw and math.isclose(ours["value"], physical, rel_tol=1e-12, abs_tol=1e-12)


def main():
    program, dbc, log = sys.argv[1:]
    # Not strict: real files have overlapping signals.
    database = cantools.database.load_file(dbc, strict=False)
    messages = {message.frame_id | message.is_extended_frame << 31: message for message in database.messages}
    ours = subprocess.Popen([program, "decode", "--json", "--dbc", dbc, log], stdout=subprocess.PIPE, text=True)
    compared = 0
    for identifier, data in frames(log):
        if identifier not in messages:
            continue
        message = messages[identifier]
        found = json.loads(ours.stdout.readline())
        expected = decoded_by_cantools(message, data)
        if found["message"] != message.name or found["signals"].keys() != expected.keys():
            sys.exit(f"{message.name} {data.hex()}: {found} is not {expected}")
        for name, value in expected.items():
            if not same(found["signals"][name], value):
                sys.exit(f"{message.name} {data.hex()} {name}: {found['signals'][name]} is not {value}")
            compared += 1
    if ours.stdout.readline() or ours.wait() != 0:
        sys.exit("dbc decoded frames that the log does not have, or failed")
    print(f"{compared} signals agree")


if __name__ == "__main__":
    main()
