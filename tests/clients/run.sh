#!/usr/bin/env bash
# Starts the sandbox as a user would and lets small clients in several languages pay with it.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --locked --quiet
program=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/debug/kpay-sandbox
clients=$PWD/tests/clients
work=$(mktemp -d)
cd "$work"
"$program" serve --listen 127.0.0.1:0 --certs "$work/certs" --ready-file "$work/ready.json" --postback-retries 0 >log.txt 2>&1 &
sandbox=$!
trap 'kill "$sandbox" 2>/dev/null || true; wait "$sandbox" || true; rm -rf "$work"' EXIT
for _ in $(seq 100); do
  [ -f ready.json ] && break
  kill -0 "$sandbox" || { cat log.txt; exit 1; }
  sleep 0.1 # another process: there is nothing to wait on but its file
done
[ -f ready.json ] || { echo "the sandbox was not ready within 10 s" >&2; cat log.txt; exit 1; }
field() { python3 -c 'import json, sys; print(json.load(open("ready.json"))[sys.argv[1]])' "$1"; }
KPAY_URL=$(field url)
KPAY_CA=$(field ca)
KPAY_USERNAME=$(field username)
KPAY_PASSWORD=$(field password)
export KPAY_URL KPAY_CA KPAY_USERNAME KPAY_PASSWORD
export NODE_EXTRA_CA_CERTS=$KPAY_CA
failed=0
passed=0
try() {
  if timeout 15 "$@"; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    echo "failed: $*"
    cat log.txt
  fi
}
try bash "$clients/pay.sh"
try php "$clients/pay.php"
try node "$clients/pay.mjs"
try python3 "$clients/pay.py"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
