# Shared by scripts/build, scripts/test and scripts/demo: messages, packages, the Rust
# toolchain, where programs land. Sourced, never run. Nothing here changes the machine
# beyond installing packages that are missing, and each of those is named when it happens.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
export PYTHONDONTWRITEBYTECODE=1

# Programs are built here; the same rule as cargo's, so that what is on PATH for one is found by all.
TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
RELEASE_DIR=$TARGET_DIR/release

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# need_root WHAT: namespaces, packages and AF_XDP sockets are root's.
need_root() { [ "$(id -u)" -eq 0 ] || die "$1 needs root: run it with sudo, or in a throw-away machine"; }

# What building needs: a C compiler and DPDK's headers (dpdk-sys), libclang (bindgen).
BUILD_PACKAGES=(ca-certificates gcc libc6-dev pkg-config libdpdk-dev libclang1-14 libclang-common-14-dev)
# What the lab needs on top: namespaces and their tools, testpmd for the ratio, openssl for the mTLS test.
LAB_PACKAGES=(iproute2 ethtool iputils-ping iperf3 python3 dpdk-dev procps curl util-linux openssl)

missing_packages() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

# install_missing PACKAGE...: those that are absent, and only those. Retries, since mirrors stumble.
install_missing() {
    local missing try
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    need_root "installing ${missing[*]}"
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    for try in 1 2 3; do
        if apt-get -qq update >/dev/null &&
            apt-get -qq install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null; then
            return 0
        fi
        say "apt-get failed (try $try of 3)"
        sleep 3
    done
    die "could not install ${missing[*]}: see what apt-get says: apt-get install ${missing[*]}"
}

# version_at_least HAVE WANT
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n1)" = "$2" ]; }

rustc_version() { rustc --version 2>/dev/null | cut -d' ' -f2 | cut -d- -f1; }

# find_rust: a cargo no older than the pinned one, on PATH when this returns. In this order:
# rustup's pinned toolchain, one that rustup can fetch, any other new enough, Debian's
# rustc-web from bookworm-security (kept current there for browsers).
find_rust() {
    local pinned toolchain version
    pinned=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
    [ -d "$HOME/.cargo/bin" ] && PATH=$HOME/.cargo/bin:$PATH
    if command -v rustup >/dev/null; then
        if rustup run "$pinned" rustc --version >/dev/null 2>&1; then
            export RUSTUP_TOOLCHAIN=$pinned
            return 0
        fi
        say "rustup has no $pinned yet, fetching it"
        if timeout 300 rustup toolchain install "$pinned" --profile minimal -c rustfmt -c clippy >/dev/null 2>&1; then
            export RUSTUP_TOOLCHAIN=$pinned
            return 0
        fi
        while read -r toolchain; do
            version=$(rustup run "$toolchain" rustc --version 2>/dev/null | cut -d' ' -f2)
            case $version in *-nightly | *-beta* | "") continue ;; esac
            if version_at_least "$version" "$pinned"; then
                say "$pinned cannot be fetched; using rustup's $toolchain ($version)"
                export RUSTUP_TOOLCHAIN=$toolchain
                return 0
            fi
        done < <(rustup toolchain list | cut -d' ' -f1)
    elif command -v cargo >/dev/null && version_at_least "$(rustc_version)" "$pinned"; then
        return 0
    fi
    install_missing rustc-web cargo-web rustfmt-web
    PATH=/usr/bin:$PATH
    version_at_least "$(rustc_version)" "$pinned" ||
        die "rustc $(rustc_version) is older than the pinned $pinned: install $pinned with rustup"
}

# build_release [CARGO ARGS]: release programs in $RELEASE_DIR.
build_release() {
    install_missing "${BUILD_PACKAGES[@]}"
    find_rust
    say "building release programs into $RELEASE_DIR with $(rustc --version)"
    CARGO_TARGET_DIR=$TARGET_DIR cargo build --release --locked "$@"
}
