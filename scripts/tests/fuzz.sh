#!/bin/bash
# Self test of scripts/fuzz with targets that are none: what it calls a failure, and that a fuzzer which cannot be had is another thing.
set -u
cd "$(dirname "$0")/../.." || exit 1
. scripts/lib/check.sh
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
export CARGO_TARGET_DIR=$work/target PATH=$work:$PATH
programs=$work/target/fuzz/$(rustc -vV | sed -n 's/^host: //p')/release
mkdir -p "$programs"

cat >"$work/cargo" <<'CARGO'
#!/bin/bash
[ "$1" = fuzz ] && [ ! -e "$(dirname "$0")/offline" ]
CARGO
printf '#!/bin/bash\necho "#7 DONE cov: 12 ft: 3"\necho "stat::number_of_executed_units: 7"\n' >"$programs/pump"
printf '#!/bin/bash\necho "panicked at what must hold"\necho "stat::number_of_executed_units: 5"\nexit 77\n' >"$programs/state"
printf '#!/bin/bash\n' >"$programs/block"
chmod +x "$work/cargo" "$programs"/*

scripts/fuzz --yes 1 pump >"$work/out" 2>&1
check "what passes" "0 fuzz: 1 targets, 0 failed; 7 runs" "$? $(tail -1 "$work/out" | cut -d' ' -f1-7)"
scripts/fuzz --yes 1 pump state >"$work/out" 2>&1
check "what fails" "1 fuzz: 2 targets, 1 failed; 12 runs" "$? $(tail -1 "$work/out" | cut -d' ' -f1-7)"
check "and is shown" 1 "$(grep -c '^    panicked at what must hold' "$work/out")"
scripts/fuzz --yes 1 block >/dev/null 2>&1
check "a target that has not run is a failure" 1 $?
check "the targets are those of input-tests" "$(ls fuzz/seeds | sort | paste -sd' ')" \
    "$(scripts/fuzz --help | sed '1,/^  TARGET/d' | tr -s ' ' '\n' | sed '/^$/d' | sort | paste -sd' ')"

touch "$work/offline"
scripts/fuzz --yes 1 pump >/dev/null 2>&1
check "no cargo-fuzz to be had" 3 $?
scripts/fuzz --yes nonsense >/dev/null 2>&1
check "unknown target" 2 $?
scripts/fuzz --nonsense >/dev/null 2>&1
check "unknown option" 2 $?
exit $failed
