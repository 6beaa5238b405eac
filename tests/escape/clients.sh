#!/usr/bin/env bash
# Runs each client once, and writes what became of its request: clients.sh FOLDER RESULTS. Runs under `exec`.
# shellcheck disable=SC2016,SC2089,SC2090 # names have backticks, and inner shells variables; the body is JSON
set -uo pipefail
work=$1
results=$2

# try NAME COMMAND...: the client got an answer of KPay's, or its request reached the trap, or neither.
try() {
  local name=$1 before out outcome=refused start=$EPOCHREALTIME
  shift
  before=$(wc -l <"$work/trap.log")
  out=$(timeout 30 "$@" 2>&1)
  case $out in *'"statusid":"611"'* | *'"retcode":500'*) outcome=reached ;; esac
  [ "$(wc -l <"$work/trap.log")" = "$before" ] || outcome=escaped
  printf '%s\t%s\n' "$name" "$outcome" >>"$results"
  printf -- '-- %s, %s to %s: %s: %s\n' "$name" "$start" "$EPOCHREALTIME" "$outcome" "${out:0:300}" >>"$results.log"
}

body='{"action":"checkstatus","refid":"none"}'
user=your_username:your_password
with_curl() { curl --silent --show-error --max-time 10 --user "$user" --data "$body" "$@"; }
export -f with_curl
export body user
clients=$work/clients
node=(node "$clients/client.mjs")
python=(/usr/bin/python3 "$clients/client.py")
export PYTHONPATH=$work/python

try 'curl' bash -c 'with_curl https://pay.esicia.com/'
try 'curl, `http://`' bash -c 'with_curl http://pay.esicia.com/'
try 'curl, `pay.esicia.com.`' bash -c 'with_curl https://pay.esicia.com./'
try 'curl, `--noproxy "*"`' bash -c 'with_curl --noproxy "*" https://pay.esicia.com/'
try 'curl, empty environment' env -i PATH="$PATH" curl --silent --max-time 10 --user "$user" --data "$body" https://pay.esicia.com/
try 'curl, its own proxy' bash -c 'with_curl --proxy http://127.1.1.2:3128 https://pay.esicia.com/'
try 'wget' wget --quiet --output-document=- --tries=1 --timeout=10 --auth-no-challenge --user=your_username --password=your_password --post-data="$body" https://pay.esicia.com/
try 'PHP curl (Guzzle, Laravel, WordPress)' php "$clients/client.php" curl
try 'PHP streams (`file_get_contents`)' php "$clients/client.php" streams
try 'Node `fetch`' "${node[@]}" fetch
try 'Node `https`' "${node[@]}" https
try 'Node `https`, `PAY.ESICIA.COM`' "${node[@]}" capitals
try 'Node `http2`' "${node[@]}" http2
try 'Node `tls`' "${node[@]}" tls
try 'Node got, HTTP/2' "${node[@]}" got
try 'Node axios' "${node[@]}" axios
try 'Bun `fetch`' "$work/bun" "$clients/client.mjs" fetch
try 'Python requests' "${python[@]}" requests
try 'Python httpx' "${python[@]}" httpx
try 'Python aiohttp' "${python[@]}" aiohttp
try 'Python urllib3 `PoolManager`' "${python[@]}" urllib3
try 'Python `urllib.request`' "${python[@]}" urllib
try 'Python `http.client`' "${python[@]}" http_client
try 'Ruby `Net::HTTP`' ruby "$clients/client.rb"
try 'Go `http.DefaultTransport`' "$work/go-client" default
try 'Go, its own `http.Transport`' "$work/go-client" transport
try 'Java `HttpClient`' java -cp "$clients" Client HttpClient
try 'Java `HttpsURLConnection`' java -cp "$clients" Client HttpsURLConnection
