#!/bin/bash
# The wrong rules of device_chain::flaw build where they are asked for, and no program of the product builds with them.
set -u
cd "$(dirname "$0")/../.." || exit 1
failed=0

if message=$(cargo rustc --quiet --package device-chain --lib --profile check -- --cfg flaws 2>&1); then
    echo "ok   device-chain builds with --cfg flaws"
else
    echo "FAIL device-chain does not build with --cfg flaws: $message"
    failed=1
fi
for program in ecu-node:ecu-node vehicle-gateway:vehicle-gateway ecu-firmware:footprint; do
    package=${program%:*} binary=${program#*:}
    message=$(cargo rustc --quiet --package "$package" --bin "$binary" --profile check -- --cfg flaws 2>&1)
    if [ $? -ne 0 ] && grep -q 'built with wrong rules' <<<"$message"; then
        echo "ok   $binary refuses --cfg flaws"
    else
        echo "FAIL $binary does not refuse --cfg flaws: $message"
        failed=1
    fi
done
exit $failed
