#!/bin/bash
# Self test of scripts/miri with a toolchain that is none: what it counts, what it calls a failure, and that a Miri which cannot be had is
# another thing. No test is run.
set -u
cd "$(dirname "$0")/../.." || exit 1
. scripts/lib/check.sh
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
export CARGO_TARGET_DIR=$work/target PATH=$work:$PATH

cat >"$work/rustup" <<'RUSTUP'
#!/bin/bash
[ ! -e "$(dirname "$0")/offline" ] || exit 1
printf '%s\n' miri-x86_64-unknown-linux-gnu rust-src
RUSTUP
cat >"$work/cargo" <<'CARGO'
#!/bin/bash
[ "$3" = test ] || exit 0
case $5 in
can-bus)
    printf '%s\n' 'test a ... ok' 'test b ... ignored, every cut: hours' 'test c ... ignored, every cut: hours' \
        'test result: ok. 30 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 1.00s'
    ;;
device-chain) echo 'test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 96 filtered out; finished in 1.00s' ;;
ecu-node) echo 'error: Undefined Behavior: attempting a read of uninitialized memory'; exit 1 ;;
event-chain) echo 'test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.00s' ;;
esac
CARGO
chmod +x "$work/rustup" "$work/cargo"

scripts/miri --yes can-bus device-chain >"$work/out" 2>&1
check "what passes" 0 $?
check "what was run and left out is counted" "miri: 34 tests passed, 98 left out, 2 crates, 0 failed" "$(tail -1 "$work/out" | cut -d';' -f1)"
check "with the reasons" "96 device-chain: whole cars and meshes: hours, 2 every cut: hours" \
    "$(sed -n '/^left out/,/^miri/p' "$work/out" | sed '1d;$d;s/^ *//;s/  / /' | paste -sd, | sed 's/,/, /')"

scripts/miri --yes can-bus ecu-node >"$work/out" 2>&1
check "undefined behaviour is a failure" "1 2 crates, 1 failed" "$? $(tail -1 "$work/out" | grep -o '[0-9]* crates, [0-9]* failed')"
check "and is shown" 1 "$(grep -c '^    error: Undefined Behavior' "$work/out")"
scripts/miri --yes event-chain >/dev/null 2>&1
check "a crate none of whose tests is run is a failure" 1 $?

touch "$work/offline"
scripts/miri --yes can-bus >/dev/null 2>&1
check "no Miri to be had" 3 $?
scripts/miri mesh-sim >/dev/null 2>&1
check "a crate that is not of the core" 2 $?
scripts/miri --nonsense >/dev/null 2>&1
check "unknown option" 2 $?
exit $failed
