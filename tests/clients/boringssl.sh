#!/usr/bin/env bash
# Clients on BoringSSL accept the CA, although it is limited to names: Bun and curl_cffi.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/with-sandbox.sh
source tests/with-sandbox.sh
tools=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/boringssl
npm install --prefix "$tools" --no-package-lock --no-audit --no-fund --silent bun@1
[ -d "$tools/python/curl_cffi" ] ||
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --target "$tools/python" curl_cffi
start_sandbox --quiet
# A client that connects to a name gets a certificate without addresses, of which BoringSSL knows no limits.
url=https://localhost:${KPAY_URL##*:}/__sandbox/livez
try "$tools/node_modules/.bin/bun" -e 'const answer = await fetch(process.argv.at(-1)); process.exit(answer.ok ? 0 : 1)' "$url"
try env PYTHONPATH="$tools/python" python3 -c 'import sys; from curl_cffi import requests; url, ca = sys.argv[1:]; requests.get(url, verify=ca).raise_for_status()' "$url" "$KPAY_CA"
tell
