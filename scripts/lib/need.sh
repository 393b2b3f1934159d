# Sourced by the scripts: get what is missing on a Debian machine, saying what and why first.

# need_packages WHY COMMAND=PACKAGE...
# Installs the packages whose command is missing. Asks on a terminal unless `assume_yes` is set; without a terminal it
# goes on. Returns 1 with an explanation if something is still missing afterwards.
need_packages() {
    local why=$1 pair missing=()
    local PATH=$PATH:/usr/sbin:/sbin
    shift
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    echo "Debian packages needed: ${missing[*]} ($why)" >&2
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "error: neither root nor sudo: install them as root and try again" >&2; return 1; }
        sudo=(sudo)
        [ -t 0 ] || sudo=(sudo -n)
    fi
    command -v apt-get >/dev/null || { echo "error: no apt-get here: install them by hand and try again" >&2; return 1; }
    confirm "install them with apt-get?" || return 1

    local install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}")
    "${install[@]}" </dev/null >&2 || { "${sudo[@]}" apt-get update -qq </dev/null >&2 && "${install[@]}" </dev/null >&2; } ||
        { echo "error: apt-get could not install: ${missing[*]}" >&2; return 1; }
}

# confirm QUESTION: yes if `assume_yes` is set or there is no terminal to ask on.
confirm() {
    [ -z "${assume_yes:-}" ] && [ -t 0 ] && [ -t 2 ] || return 0
    local answer
    read -r -p "$1 [Y/n] " answer
    case $answer in '' | [Yy]*) return 0 ;; *) echo "error: not installed, as you wish" >&2; return 1 ;; esac
}

# need_target TARGET WHY: adds a target to Rust, which has to be there.
need_target() {
    command -v cargo >/dev/null || { echo "error: no cargo: install Rust with rustup first (the toolchain is in rust-toolchain.toml)" >&2; return 1; }
    [ ! -d "$(rustc --print target-libdir --target "$1")" ] || return 0
    echo "Rust target needed: $1 ($2)" >&2
    confirm "add it with rustup?" && rustup target add "$1" || { echo "error: the Rust target $1 is missing" >&2; return 1; }
}

# need_components TOOLCHAIN WHY COMPONENT...: adds components of a toolchain of Rust, and the toolchain if it is not there.
need_components() {
    local toolchain=$1 why=$2 component missing=()
    shift 2
    command -v rustup >/dev/null || { echo "error: no rustup: install Rust with it first" >&2; return 1; }
    local installed
    installed=$(rustup component list --toolchain "$toolchain" --installed 2>/dev/null)
    for component; do
        grep -q "^$component" <<<"$installed" || missing+=("$component")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "Rust toolchain needed: $toolchain with ${missing[*]} ($why)" >&2
    confirm "get it with rustup?" || return 1
    if [ -n "$installed" ]; then
        rustup component add --toolchain "$toolchain" "${missing[@]}"
    else
        rustup toolchain install "$toolchain" --profile minimal --component "$(IFS=,; echo "${missing[*]}")"
    fi || { echo "error: rustup could not get ${missing[*]} for $toolchain" >&2; return 1; }
}
