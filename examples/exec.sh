# shellcheck shell=bash
# Sourced by each test: runs check.sh with a shop under `kpay-sandbox exec`, on a free port.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export PORT
check() {
  "${KPAY_SANDBOX:-kpay-sandbox}" exec --certs "$here/.certs" --clock paused --seed 1 --postback-to "https://shop.example=http://127.0.0.1:$PORT" -- bash "$here/check.sh" "$@"
}
