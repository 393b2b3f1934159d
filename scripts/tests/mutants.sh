#!/bin/bash
# Self test of scripts/mutants with a cargo-mutants that is none: what it counts, what it tries twice, and what it calls a failure.
set -u
cd "$(dirname "$0")/../.." || exit 1
. scripts/lib/check.sh
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
export CARGO_TARGET_DIR=$work/target PATH=$work:$PATH

# Of `quorum` all are caught; of `codec` one in the second pass; of `mac` one survives; `packed` does not even build.
cat >"$work/cargo" <<'CARGO'
#!/bin/bash
[ ! -e "$(dirname "$0")/offline" ] || exit 1
[ "$2" != --version ] || exit 0
pass=1 output=
while [ $# -gt 0 ]; do
    case $1 in --output) output=$2 ;; --iterate) pass=2 ;; esac
    shift
done
part=$(basename "$output") out=$output/mutants.out
[ $pass = 1 ] || grep -q loop "$out/caught.txt" || [ "$part" = mac ] || exit 1 # the second pass would wait for it
rm -rf "$out"; mkdir -p "$out"; cd "$out"
case $part$pass in
quorum1) printf 'a\nb\n' >caught.txt; echo c >unviable.txt; echo loop >timeout.txt; exit 3 ;;
codec1) echo a >caught.txt; echo loop >timeout.txt; echo b >missed.txt; exit 2 ;;
codec2) echo b >caught.txt ;;
mac1) echo a >missed.txt; touch timeout.txt; exit 2 ;;
mac2) echo a >missed.txt; exit 2 ;;
packed1) exit 4 ;;
esac
CARGO
chmod +x "$work/cargo"

summary() { sed -n '/^passed\|^FAILED/p' "$work/out" | tr -s ' ' | sed 's/ [0-9]* s$//'; }

scripts/mutants --yes quorum codec >"$work/out" 2>&1
check "what passes" "0 mutants: 6 tried, 0 survive, 2 parts, 0 failed" "$? $(tail -1 "$work/out" | cut -d';' -f1)"
check "both passes are counted" "passed quorum 2 caught, 1 never end, 1 do not build, 0 survive
passed codec 2 caught, 1 never end, 0 do not build, 0 survive" "$(summary)"
scripts/mutants --yes mac >"$work/out" 2>&1
check "a survivor is a failure" "1 FAILED mac 0 caught, 0 never end, 0 do not build, 1 survive" "$? $(summary)"
scripts/mutants --yes packed >/dev/null 2>&1
check "tests that fail without a mutant are a failure" 1 $?

touch "$work/offline"
scripts/mutants --yes quorum >/dev/null 2>&1
check "no cargo-mutants to be had" 3 $?
scripts/mutants --yes nonsense >/dev/null 2>&1
check "unknown part" 2 $?
scripts/mutants --nonsense >/dev/null 2>&1
check "unknown option" 2 $?
exit $failed
