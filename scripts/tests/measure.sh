#!/bin/bash
# Self test of scripts/measure: every image runs to its end with its known answers, twice with the same counts, and the
# counts are those of what is named. What fails on the chip fails here.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. scripts/lib/check.sh

scripts/measure --nonsense >/dev/null 2>&1
check "unknown option" 2 $?
scripts/measure --yes --json >"$work/first"
check "every image gets its known answers right" 0 $?
scripts/measure --yes --json >"$work/second"
check "every image does so again" 0 $?
check "the counts are the same each time" "$(cat "$work/first")" "$(cat "$work/second")"

python3 - "$work/first" <<'PYTHON' || failed=1
import json, sys

with open(sys.argv[1]) as file:
    result = json.load(file)
found = {candidate["name"]: candidate for candidate in result["candidates"]}
# Instructions of the operation that is named, in thousands, with room for another compiler.
BOUNDS = {
    "cmac": ("make", 100, 250), "cmac-scheduled": ("make", 80, 220), "blake2s": ("make", 5, 20), "siphash": ("make", 4, 12),
    "hmac-sha256": ("make", 50, 120), "hmac-sha256-scheduled": ("make", 20, 60),
    "ed25519-keygen": ("keygen", 1000, 4000), "ed25519-sign": ("sign", 1000, 4000), "ed25519-verify": ("verify", 1000, 4000),
}
wrong = [f"{name} was not measured" for name in BOUNDS.keys() - found.keys()]
for name, candidate in found.items():
    operation, low, high = BOUNDS[name]
    count = candidate["instructions"][operation]
    if not low * 1000 <= count <= high * 1000:
        wrong.append(f"{name} {operation}: {count} instructions")
    if not (0 < candidate["stack"] < 16_384 and 500 < candidate["text"] < 65_536):
        wrong.append(f"{name}: {candidate['stack']} bytes of stack, {candidate['text']} of .text")
    if operation == "make" and not 5 < count / candidate["instructions"]["check"] < 6.5:
        wrong.append(f"{name}: six tags are not six times one")
for kept, anew in (("cmac-scheduled", "cmac"), ("hmac-sha256-scheduled", "hmac-sha256")):
    if found[kept]["instructions"]["make"] >= found[anew]["instructions"]["make"]:
        wrong.append(f"{kept} takes longer than {anew}")
built = result["votes"][0]
if built["worst_us"]["500k/2M"] != 405.5 or not 1e7 < built["years_to_forge"]["500k/2M"] < 1e8:
    wrong.append(f"votes as built: {built}")
print(*(f"FAIL {line}" for line in wrong) if wrong else ["ok   counts, stack and code are those of what is named"], sep="\n")
sys.exit(bool(wrong))
PYTHON

# An image that ends with a failure, as one with a wrong answer does, and one that is none.
images=${CARGO_TARGET_DIR:-$PWD/target}/measure
RINGFORT_CANDIDATE=unknown cargo build --quiet --profile firmware --target thumbv7em-none-eabihf --package ecu-firmware --bin measure &&
    cp "$images/../thumbv7em-none-eabihf/firmware/measure" "$work/unknown"
python3 scripts/lib/measure.py "$images/nothing" "$images/no-mac" "$work/unknown" >"$work/out" 2>"$work/err"
check "a failing image" "1 error: $work/unknown fails in QEMU; it came so far:" "$? $(head -1 "$work/err")"
check "no table then" "" "$(cat "$work/out")"

scripts/measure --validator --json >"$work/validator"
check "a whole validator is counted" "0 an approval as validator" "$? $(grep -om1 'an approval as validator' "$work/validator")"
check "and takes the same each time" "" "$(scripts/measure --validator --json | diff - "$work/validator")"
exit $failed
