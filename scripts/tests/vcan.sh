#!/bin/bash
# Self test of scripts/vcan: exit statuses, quoting, separate and live output, both buses, signals, nothing left behind.
set -u
# Who runs this in the background may have it ignore SIGINT, which is tested here.
[ -z "$(trap -p INT)" ] || exec env --default-signal=INT "$0"
here=$(cd "$(dirname "$0")" && pwd)
vcan=$here/../vcan
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work # so that the folder's name marks every process of ours
. "$here/../lib/check.sh"

# One boot for all that needs no boot of its own: nested calls run in place.
export RINGFORT_TEST_VALUE=$'two words\nand "quotes"'
"$vcan" bash -c '
    for status in 0 1 42; do "$1" bash -c "exit $status" 2>/dev/null; echo "status $?"; done
    printf "<%s>\n" "${@:2}" "$PWD" "$RINGFORT_TEST_VALUE"
    echo for-stderr >&2; echo again >/dev/stderr
    candump -L vcan0 -n 1 >"$2/fd" & candump -L vcan1 -n 1 >"$2/classic" &
    sleep 0.5
    cansend vcan0 123##1DEAD; cansend vcan1 456#BEEF
    wait
    cansend vcan1 123##1DEAD >/dev/null 2>&1; echo "FD on vcan1: $?"
    head -c 3000000 /dev/urandom | base64 | tee "$2/written"
    exit 42
' vcan-test "$vcan" "$work" 'a  b' '$HOME "*"' '' $'new\nline' >"$work/out" 2>"$work/err"
check "exit status" 42 $?
check "arguments, folder, environment, nested exit statuses" \
    "$(printf 'status %s\n' 0 1 42; printf '<%s>\n' "$work" 'a  b' '$HOME "*"' '' $'new\nline' "$PWD" "$RINGFORT_TEST_VALUE"; echo 'FD on vcan1: 1')" \
    "$(sed '/^FD on vcan1/q' "$work/out")"
check "megabytes of output" "$(cksum <"$work/written")" "$(sed '1,/^FD on vcan1/d' "$work/out" | cksum)"
check "stderr apart from stdout, and one line from vcan" $'for-stderr\nagain' "$(sed '1{/^vcan: using /d}' "$work/err")"
check "CAN FD frame on vcan0" "vcan0 123##5DEAD" "$(cut -d' ' -f2- "$work/fd")"
check "classic frame on vcan1" "vcan1 456#BEEF" "$(cut -d' ' -f2- "$work/classic")"

"$vcan" false 2>/dev/null
check "status of false" 1 $?
"$vcan" 2>/dev/null
check "no command" 2 $?
RINGFORT_VCAN=other "$vcan" true 2>/dev/null
check "unknown way" 2 $?

# Signals reach the command while it runs; its first line shows that output is live, and no process stays.
for signal in INT TERM; do
    set -m
    "$vcan" bash -c 'trap "echo caught; exit 7" '$signal'; echo ready; while sleep 0.1; do :; done' >"$work/live" 2>/dev/null &
    wrapper=$!
    set +m
    for _ in $(seq 300); do grep -q ready "$work/live" && break; sleep 0.1; done
    check "live output before $signal" ready "$(cat "$work/live")"
    kill -$signal $wrapper
    wait $wrapper
    check "status after $signal" 7 $?
    check "output after $signal" $'ready\ncaught' "$(cat "$work/live")"
    check "no process left after $signal" "" "$(pgrep -af "$work")"
done

# The reader going away ends the command, as in any pipeline.
check "first line only" y "$(timeout 60 "$vcan" bash -c 'while echo y; do sleep 0.05; done' 2>/dev/null | head -1)"

# Killed outright, the wrapper takes a machine with it (natively, it has become the command).
set -m
"$vcan" bash -c 'echo ready; sleep 300' "$work" >"$work/live" 2>/dev/null &
wrapper=$!
set +m
for _ in $(seq 300); do grep -q ready "$work/live" && break; sleep 0.1; done
kill -KILL $wrapper
wait $wrapper 2>/dev/null
for _ in $(seq 50); do pgrep -f "$work" >/dev/null || break; sleep 0.1; done
check "no process left after KILL" "" "$(pgrep -af "$work")"

exit $failed
