#!/bin/bash
# Every rule that the code cites is defined once in docs/protocol.md, and every rule there is cited, or "not yet built";
# every trace there is a test.
set -u
cd "$(dirname "$0")/../.." || exit 1
spec=docs/protocol.md
number='\b(DC-|[MCLPRWFSVT])[0-9]+\b'

# "C3" as it is, "P1 to P5" as all five. Transport (can-bus, the serial-line adapter) cites nothing: candump's R4 and slcan's S6 are no rules.
cited() {
    find crates ecu-node vehicle-gateway cloud-link vcan-tests -name target -prune -o -path crates/can-bus -prune -o -path ecu-node/src/linux/adapter.rs -prune -o \
        -name '*.rs' -print0 | xargs -0 cat | grep -oE "$number( to $number)?" | while read -r first _ last; do
        if [ -n "$last" ]; then
            seq -f "${first%%[0-9]*}%g" "${first##*[!0-9]}" "${last##*[!0-9]}"
        else
            echo "$first"
        fi
    done | sort -u
}
# "- **C3** ..." defines; "- **T3** to **T4** ..." defines both.
defined() { sed -nE 's/^- (\*\*[A-Z0-9-]+\*\*( to \*\*[A-Z0-9-]+\*\*)?).*/\1/p' $spec | grep -oE "$number"; }
unbuilt() { sed -nE 's/^- \*\*([A-Z0-9-]+)\*\* \(not yet built\).*/\1/p' $spec; }
# "| T1 | L1 | ... | `t1_name` |": each trace has its tests, and they exist.
untested() {
    for trace in $(defined | grep '^T'); do
        names=$(grep "^| $trace |" $spec | grep -oE "\`${trace,,}b?_[a-z0-9_]+\`" | tr -d '`')
        [ -n "$names" ] || echo "$trace"
        for name in $names; do
            grep -rqE "^fn $name\(\)" crates/device-chain/src || echo "$name"
        done
    done
}

failed=0
check() { # check WHAT LIST: no line may be in the list
    if [ -z "$2" ]; then
        echo "ok   $1"
    else
        echo "FAIL $1: $(tr '\n' ' ' <<<"$2")"
        failed=1
    fi
}
work=$(mktemp)
trap 'rm -f "$work"' EXIT
cited >"$work"
check "rules are found in code and specification" "$([ -s "$work" ] && [ -n "$(defined)" ] || echo none)"
check "each rule is defined once" "$(defined | sort | uniq -d)"
check "each rule cited is defined in $spec" "$(comm -23 "$work" <(defined | sort -u))"
check "each rule defined is cited or not yet built" "$(comm -13 "$work" <(comm -23 <(defined | sort -u) <(unbuilt | sort -u)))"
check "no rule that is not yet built is cited" "$(comm -12 "$work" <(unbuilt | sort -u))"
check "each trace has its tests" "$(untested)"
exit $failed
