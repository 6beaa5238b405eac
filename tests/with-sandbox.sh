# shellcheck shell=bash
# Sourced: `start_sandbox FLAGS…` starts the program on a free port with a folder of its own, exports how to reach it, and
# ends it with the script. Its log is $work/log.txt.
cargo build --locked --quiet
program=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/debug/kpay-sandbox
work=$(mktemp -d)
children=()
end_children() {
  for child in "${children[@]}"; do
    kill "$child" 2>/dev/null || true
    wait "$child" || true
  done
  rm -rf "$work"
}
trap end_children EXIT

# Another process can only be waited for by the file that it writes: `await_file FILE PID`.
await_file() {
  for _ in $(seq 100); do
    [ -f "$1" ] && return
    kill -0 "$2" || { cat "$work/log.txt"; exit 1; }
    sleep 0.1
  done
  echo "$1 was not there within 10 s" >&2
  cat "$work/log.txt"
  exit 1
}

start_sandbox() {
  "$program" serve --listen 127.0.0.1:0 --certs "$work/certs" --ready-file "$work/ready.json" "$@" >"$work/log.txt" 2>&1 &
  children+=($!)
  await_file "$work/ready.json" $!
  field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/ready.json" "$1"; }
  KPAY_URL=$(field url)
  KPAY_CA=$(field ca)
  KPAY_USERNAME=$(field username)
  KPAY_PASSWORD=$(field password)
  KPAY_CONTROL=${KPAY_URL/https/http}/__sandbox/api
  NODE_EXTRA_CA_CERTS=$KPAY_CA
  export KPAY_URL KPAY_CA KPAY_USERNAME KPAY_PASSWORD KPAY_CONTROL NODE_EXTRA_CA_CERTS
}

failed=0
passed=0
# Runs a client; a failure shows the sandbox's log.
try() {
  if timeout 60 "$@"; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    echo "failed: $*"
    cat "$work/log.txt"
  fi
}
tell() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}
