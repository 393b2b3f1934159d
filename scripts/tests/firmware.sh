#!/bin/bash
# What a board is provisioned with, and what scripts/firmware refuses.
set -u
cd "$(dirname "$0")/../.." || exit 1
. scripts/lib/check.sh
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT

mkdir "$folder/body"
printf '07%.0s' {1..32} >"$folder/maker.pub"
printf 'signed' >"$folder/genesis.bin"
printf 'RINGKEY\001secret' >"$folder/body/keys.bin"
{ printf 'RFJ1%060d' 0; head -c 4032 /dev/zero | tr '\0' '\377'; } >"$folder/body/journal.bin"

printed=$(scripts/firmware provision stm32h743 "$folder" body "$folder")
check "the commands name the chip and both addresses" 3 \
    "$(grep -c -e 'erase --chip STM32H743ZITx' -e 'base-address 0x080E0000 .*body.provision.bin' -e 'base-address 0x08100000 .*body.journal.bin' <<<"$printed")"
check "it begins with magic and the maker's key" "RINGDEV 32" \
    "$(head -c 7 "$folder/body.provision.bin") $(od -An -v -tx1 -w1 -j8 -N32 "$folder/body.provision.bin" | grep -c 07)"
check "their lengths are there" "06000000 0e000000" \
    "$(od -An -tx1 -j40 -N8 "$folder/body.provision.bin" | tr -d ' \n' | sed 's/........$/ &/')"
check "and the parts themselves" "signedRINGKEY secret" "$(tail -c 20 "$folder/body.provision.bin" | tr '\001' ' ')"
check "the journal is its header" 64 "$(stat -c %s "$folder/body.journal.bin")"
check "only their owner can read them" "600 600" "$(stat -c %a "$folder/body.provision.bin" "$folder/body.journal.bin" | tr '\n' ' ' | sed 's/ $//')"

refuses() { # refuses WHAT STATUS ARGUMENT...
    local what=$1 status=$2
    shift 2
    scripts/firmware "$@" >/dev/null 2>&1
    check "$what" "$status" $?
}
refuses "what is there is not overwritten" 1 provision stm32h743 "$folder" body "$folder"
rm "$folder"/body.*.bin
printf 'a vote' >>"$folder/body/journal.bin"
refuses "a journal that was used is not begun anew" 1 provision stm32h743 "$folder" body "$folder"
refuses "an unknown device" 1 provision stm32g474 "$folder" nobody "$folder"
refuses "an unknown board" 2 build stm32f103
refuses "an unknown image" 2 flash stm32h743 footprint
refuses "nothing to do" 2
exit $failed
