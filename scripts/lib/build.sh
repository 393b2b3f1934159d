# Sourced by the scripts after need.sh: build what a car needs.

# Builds all programs into the folder $programs, with the progress that cargo shows.
build_car() {
    command -v cargo >/dev/null ||
        { echo "error: no cargo: install Rust with rustup first (the toolchain is in rust-toolchain.toml)" >&2; return 1; }
    need_packages "to build" cc=build-essential || return 1
    programs=${CARGO_TARGET_DIR:-$here/../target}/release
    cargo build --release --manifest-path "$here/../Cargo.toml" --bins \
        --package ecu-node --package vehicle-gateway --package cloud-link --package vcan-tests
}
