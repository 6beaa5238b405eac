#!/usr/bin/env bash
# Everything that must hold: formatting, lints, tests, small clients in several languages.
# Installs what is missing as root on Debian; elsewhere it says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || { echo "cargo is missing: install Rust, see https://rustup.rs" >&2; exit 1; }
cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy

packages=()
need() { command -v "$1" >/dev/null || packages+=("$2"); }
need cc gcc
need curl curl
need openssl openssl
need php php-cli
need node nodejs
need npm npm
need go golang-go
need pip3 python3-pip
need python3 python3
need ruby ruby
need javac default-jdk-headless
need wget wget
need unshare util-linux
need setpriv util-linux
need ip iproute2
need shellcheck shellcheck
need faketime faketime
# Programs only: a function of the same name would count too.
[ -n "$(type -P chromium chromium-browser google-chrome google-chrome-stable)" ] || packages+=(chromium)
if ! command -v php >/dev/null || ! php -m | grep -qx curl; then packages+=(php-curl); fi
/usr/bin/python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
  else
    echo "missing: ${packages[*]} (their names on Debian); install them and start again" >&2
    exit 1
  fi
fi

# axe-core judges the pages' contrast and labels; it is used by the browser tests only.
npm install --prefix tests/browser --no-package-lock --no-audit --no-fund --silent

step() { printf '\n== %s\n' "$*"; }
step formatting
cargo fmt --check
step lints
cargo clippy --locked --all-targets -- -D warnings
shellcheck -x tests/*.sh benches/*.sh tests/clients/*.sh tests/reproduce/*.sh tests/security/*.sh tests/escape/*.sh examples/*.sh examples/*/*.sh .ci/run
step "dependencies: licences, duplicates, sources, known vulnerabilities"
cargo deny --version >/dev/null 2>&1 || cargo install --quiet --locked --debug cargo-deny
cargo deny check licenses bans sources
if cargo deny fetch db >/dev/null 2>&1; then
  cargo deny check advisories
else
  echo "known vulnerabilities are not looked for: their database (github.com/RustSec/advisory-db) cannot be had here"
fi
step tests
cargo test --locked
step a random walk of a million operations
cargo test --locked --profile quick-release --test it a_random_walk
KPAY_SANDBOX=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/debug/kpay-sandbox
export KPAY_SANDBOX
step "load and faults, in short"
python3 tests/load/load.py --short --program "${CARGO_TARGET_DIR:-target}/quick-release/kpay-sandbox"
step "restarts on a state file, in short"
python3 tests/load/restarts.py --short --program "${CARGO_TARGET_DIR:-target}/quick-release/kpay-sandbox"
step "a certificate of the CA for another name"
tests/security/constraints.sh
step "the hosts file on a full disk and on a mount"
tests/security/hosts.sh
step "clients that might escape from exec"
tests/escape/run.sh
step clients
tests/clients/run.sh
step "clients on BoringSSL"
tests/clients/boringssl.sh
step every scenario in four languages
tests/reproduce/run.sh
step "the shops in examples/, against KPay's own address"
for shop in php laravel express flask go; do
  printf -- '-- %s\n' "$shop"
  "examples/$shop/test.sh"
done
step "all checks passed"
