#!/usr/bin/env bash
# Runs the well-known test suites for HTTP and TLS servers against the program, on loopback only, and prints a table.
#
#     tests/security/suites.sh [--short] [NAME ...]     names: h2load testssl sslyze slowhttptest boofuzz
#
# It takes three minutes on two processors that have nothing else to do, ten on busy ones; --short takes one or two. Every suite is bounded in time and in its number of requests.
# The program is KPAY_SANDBOX, or the release build, which is built if it is missing. The suites' own reports, and the
# requests that found a fault, are in target/suites/ afterwards. The exit code is 1 when a suite found a fault.
# It installs what is missing as root on Debian; elsewhere it says what is missing.
# schemathesis is not here: it needs an OpenAPI document, and the control API has none.
# check calls the functions by name, and shellcheck does not see that.
# shellcheck disable=SC2317
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}/suites" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
reports=$target/suites
rm -rf "$reports/findings"
python=$reports/python/bin

# What a suite reports and what is right here all the same, with the reason.
declare -A explained=(
  [testssl:cert_revocation]="the CA is this installation's own: nobody publishes what it revokes, and who wants to revoke it distrusts it"
  [sslyze:maximum_certificate_lifespan]="the limit is for certificates of public authorities; this one is renewed 30 days before its end"
)

all=(h2load testssl sslyze slowhttptest boofuzz)
short='' chosen=()
for word in "$@"; do
  case $word in
    --short) short=yes ;;
    h2load | testssl | sslyze | slowhttptest | boofuzz) chosen+=("$word") ;;
    *) echo "\"$word\" is unknown. Use --short, or names of suites: ${all[*]}" >&2; exit 2 ;;
  esac
done
[ ${#chosen[@]} -gt 0 ] || chosen=("${all[@]}")
is_chosen() { [[ " ${chosen[*]} " == *" $1 "* ]]; }

install_packages() {
  local packages=()
  need() { [ -n "$(type -P "${@:2}")" ] || packages+=("$1"); }
  need curl curl
  need python3 python3
  need coreutils timeout
  if is_chosen h2load; then need nghttp2-client h2load; fi
  if is_chosen testssl; then need testssl.sh testssl testssl.sh; fi
  if is_chosen slowhttptest; then need slowhttptest slowhttptest; fi
  if is_chosen sslyze || is_chosen boofuzz; then python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv); fi
  [ ${#packages[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: ${packages[*]} (their names on Debian); install them and start again" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
}

# install_module NAME==VERSION: into the virtual environment; these versions were tried, and their output is read below.
install_module() {
  [ -x "$python/python" ] || python3 -m venv "$reports/python"
  [ "$("$python/pip" show "${1%==*}" 2>/dev/null | sed -n 's/^Version: //p')" = "${1#*==}" ] || timeout 300 "$python/pip" install --quiet --disable-pip-version-check "$1" ||
    { echo "$1 was not installed. Install it with $python/pip, or leave this suite out" >&2; exit 1; }
}

install_packages
if is_chosen sslyze; then install_module sslyze==6.3.1; fi
if is_chosen boofuzz; then install_module boofuzz==0.4.2; fi
program=${KPAY_SANDBOX:-$target/release/kpay-sandbox}
[ -x "$program" ] || { [ -z "${KPAY_SANDBOX:-}" ] && cargo build --locked --release; } || { echo "$program was not found. Build it, or correct KPAY_SANDBOX" >&2; exit 1; }

work=$(mktemp -d)
pid=''
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
# --offline: a mutated CONNECT names other hosts, and nothing may leave this machine.
"$program" --listen 127.0.0.1:0 --certs "$work/certs" --ready-file "$work/ready" --offline --quiet >"$work/log" 2>&1 & pid=$!
for _ in {1..200}; do if [ -s "$work/ready" ] || ! kill -0 "$pid" 2>/dev/null; then break; fi; sleep 0.1; done
[ -s "$work/ready" ] || { echo "$program did not start within 20 s. Its output:" >&2; cat "$work/log" >&2; exit 1; }
port=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["port"])' "$work/ready")
ca=$work/certs/ca.pem
ask() { curl --silent --show-error --fail --noproxy '*' --max-time 10 --cacert "$ca" "$@"; }
# The suites reach loopback directly.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY

rows=() failed=0
memory() { awk '/^VmRSS:/ { printf "%.1f MiB", $2 / 1024 }' "/proc/$pid/status" 2>/dev/null || echo unknown; }

# check NAME ASKED COMMAND ...: runs a function that prints its result in a line, notes it, and looks at the program afterwards.
check() {
  local name=$1 asked=$2 began=$SECONDS result verdict=ok
  echo "-- $name: $asked" >&2
  shift 2
  result=$("$@" 2>"$work/errors") || verdict=FAILED
  cat "$work/errors" >&2
  [ -n "$result" ] || result="no result: $(tail -n 1 "$work/errors")"
  if ! kill -0 "$pid" 2>/dev/null; then
    verdict=FAILED result+="; the program has ended"
  elif [ "$(ask "http://127.0.0.1:$port/__sandbox/livez" 2>/dev/null)" != ok ]; then
    verdict=FAILED result+="; /__sandbox/livez does not respond"
  fi
  # A panic of one task does not end the program.
  if grep -q 'panicked at' "$work/log"; then
    verdict=FAILED result+="; $(grep -m 1 'panicked at' "$work/log")"
  fi
  rows+=("$name|$asked|$verdict: $result|$((SECONDS - began))|$(memory)")
  [ $verdict = ok ] || failed=1
}

# h2load COUNT [--h1]: every request gets its whole response.
run_h2load() {
  local count=$1 protocol=${2:-} user=your_username:your_password refid=SUITES-1 one report=$reports/h2load${2:-}.txt
  local pay='{"action":"pay","msisdn":"0780000003","email":"customer@example.rw","details":"order","refid":"'"$refid"'","amount":5000,"currency":"RWF","cname":"Jane","cnumber":"C-1","pmethod":"momo","retailerid":"02","returl":"http://127.0.0.1:9/","redirecturl":"https://shop.example/thanks","bankid":"63510"}'
  printf '{"action":"checkstatus","refid":"%s"}' "$refid" >"$work/status.json"
  # The second time it is a refid already used.
  ask --user "$user" "https://localhost:$port/" --data "$pay" >/dev/null
  one=$(ask --user "$user" "https://localhost:$port/" --data "@$work/status.json")
  [[ $one == *\"refid\":\"$refid\"* ]] || { echo "checkstatus found no payment: $one"; return 1; }
  timeout 120 h2load ${protocol:+"$protocol"} --requests="$count" --clients=50 --header="Authorization: Basic $(printf %s "$user" | base64)" \
    --data="$work/status.json" --connect-to="127.0.0.1:$port" "https://localhost:$port/" >"$report" || { echo "h2load ended with $?, see $report"; return 1; }
  awk -v count="$count" -v size=${#one} '
    /^Application protocol:/ { protocol = $3 }
    /^finished in/ { rate = $4 }
    /^requests:/ { succeeded = $8; failed = $10; broken = $12; late = $14 }
    /^status codes:/ { good = $3 }
    /^traffic:/ { data = substr($(NF - 1), 2) + 0 }
    END {
      printf "%s: %d succeeded, %d failed, %d errored, %d timed out, %d req/s", protocol, succeeded, failed, broken, late, rate
      if (data != count * size) { printf "; %d bytes of bodies instead of %d", data, count * size; exit 1 }
      exit !(succeeded == count && good == count)
    }' "$report"
}

names_of() { local key; for key in "${!explained[@]}"; do [[ $key != "$1":* ]] || echo "${key#*:}"; done; }

# testssl.sh asks no DNS (--nodns none) and nobody else, because --phone-out is not given.
run_testssl() {
  local report=$reports/testssl.json testssl checks=()
  testssl=$(type -P testssl testssl.sh | head -n 1)
  [ -z "$short" ] || checks=(--protocols --server-defaults --headers)
  rm -f "$report"
  # Its exit code counts what it found; the report says what.
  timeout 420 "$testssl" --quiet --color 0 --warnings off --nodns none --ip 127.0.0.1 --connect-timeout 20 --openssl-timeout 20 \
    --add-ca "$ca" --jsonfile "$report" "${checks[@]}" "https://localhost:$port/__sandbox/" >"$reports/testssl.txt" 2>&1 </dev/null || true
  python3 - "$report" "$work/met" "$(names_of testssl)" <<'PY'
import collections, json, sys
report, met, explained = sys.argv[1], sys.argv[2], sys.argv[3].split()
try:
    findings = json.load(open(report))
except (OSError, ValueError) as error:
    sys.exit(print(f"it did not finish: {error}") or 1)
counts = collections.Counter(one["severity"] for one in findings)
bad = [one for one in findings if one["severity"] in ("FATAL", "CRITICAL", "HIGH", "MEDIUM")]
open(met, "a").writelines(f"testssl:{one['id']}\n" for one in bad if one["id"] in explained)
said = [f"{counts[name]} {name}" for name in ("FATAL", "CRITICAL", "HIGH", "MEDIUM", "LOW", "WARN", "INFO", "OK") if counts[name]]
unexplained = [f"{one['id']} ({one['severity']}): {one['finding']}" for one in bad if one["id"] not in explained]
# The last finding of a whole run.
whole = any(one["id"] == "scanTime" and one["severity"] == "INFO" for one in findings)
print(", ".join(said) + f", {len(bad) - len(unexplained)} explained" + "".join(f"; {one}" for one in unexplained) + ("" if whole else "; it did not finish"))
sys.exit(1 if unexplained or not whole else 0)
PY
}

run_sslyze() {
  local report=$reports/sslyze.txt code=0
  timeout 120 "$python/sslyze" --certinfo_ca_file "$ca" --mozilla_config intermediate --json_out "$reports/sslyze.json" "localhost:$port" >"$report" 2>&1 || code=$?
  python3 - "$report" "$reports/sslyze.json" "$work/met" "$code" "$(names_of sslyze)" <<'PY'
import json, re, sys
report, document, met, code, explained = open(sys.argv[1]).read(), sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5].split()
verdict = re.search(r"localhost:\d+: (OK|FAILED) - (.*)", report.partition("COMPLIANCE AGAINST")[2])
if not verdict:
    sys.exit(print(f"it did not finish, exit code {code}") or 1)
reasons = re.findall(r"^ +\* (\w+): (.*)", report[report.index("COMPLIANCE AGAINST"):], re.M)
open(met, "a").writelines(f"sslyze:{name}\n" for name, _ in reasons if name in explained)
unexplained = [f"{name}: {why}" for name, why in reasons if name not in explained]
[server] = json.load(open(document))["server_scan_results"]
chains = server["scan_result"]["certificate_info"]["result"]["certificate_deployments"]
trusted = all(any(path["trust_store"]["name"].startswith("Supplied") and not path["validation_error"]
                  for path in chain["path_validation_results"]) for chain in chains)
if not trusted:
    unexplained.append("the certificate is not trusted with the CA given")
known = len(reasons) - sum(name not in explained for name, _ in reasons)
print(verdict[2].rstrip(".").lower() + f" with Mozilla's intermediate, explained reasons: {known}" + "".join(f"; {one}" for one in unexplained))
# Not compliant and no reason that could be read: then the format has changed.
sys.exit(1 if unexplained or (verdict[1] == "FAILED" and not reasons) else 0)
PY
}

# run_slow NAME COUNT SECONDS ARGUMENT ...: others are served in every second of the attack.
run_slow() {
  local name=$1 count=$2 seconds=$3 report=$reports/slowhttptest-$1
  shift 3
  timeout $((seconds + 60)) slowhttptest -c "$count" -r 150 -l "$seconds" -p 5 "$@" -g -o "$report" >"$report.txt" 2>&1 || { echo "slowhttptest ended with $?, see $report.txt"; return 1; }
  awk -F, -v count="$count" '
    NR > 1 { seconds++; away += $5 == 0; if ($4 > most) most = $4; closed = $2 }
    END {
      printf "%d connections at once, %d closed during the attack; ", most, closed
      if (away) printf "service not available in %d of %d s", away, seconds; else printf "service available throughout (%d s)", seconds
      exit !(seconds >= 5 && away == 0 && most >= count / 2)
    }' "$report.csv"
}

run_boofuzz() {
  timeout 180 "$python/python" tests/security/boofuzz_http.py "$1" --port "$port" --cases "$2" --findings "$reports/findings"
}

for name in "${chosen[@]}"; do
  case $name in
    h2load)
      count=${short:+5000}; count=${count:-50000}
      check "h2load, HTTP/2" "$count checkstatus on TLS" run_h2load "$count"
      check "h2load, HTTP/1.1" "$count checkstatus on TLS" run_h2load "$count" --h1
      ;;
    testssl)
      asked=${short:+protocols, certificate, headers}
      check testssl.sh "${asked:-everything}" run_testssl
      ;;
    sslyze) check sslyze "certificate, protocols, ciphers" run_sslyze ;;
    slowhttptest)
      count=${short:+200}; count=${count:-500} seconds=${short:+12}; seconds=${seconds:-25}
      check "slowhttptest, headers" "$count connections" run_slow headers "$count" "$seconds" -H -i 2 -u "https://127.0.0.1:$port/"
      check "slowhttptest, body" "$count connections" run_slow body "$count" "$seconds" -B -i 2 -s 8192 -u "https://127.0.0.1:$port/"
      check "slowhttptest, read" "$count connections" run_slow read "$count" "$seconds" -X -k 10 -n 2 -z 32 -u "https://127.0.0.1:$port/__sandbox/api/scenarios"
      ;;
    boofuzz)
      count=${short:+200}; count=${count:-1500}
      for group in request-line headers chunked connect; do check "boofuzz, $group" "$count cases" run_boofuzz $group "$count"; done
      ;;
  esac
done

printf '\n| suite | asked | result | seconds | memory |\n|---|---|---|---|---|\n'
printf '%s\n' "${rows[@]}" | sed 's/|/ | /g; s/^/| /; s/$/ |/'
if [ -s "$work/met" ]; then
  printf '\nExplained:\n'
  sort -u "$work/met" | while read -r key; do echo "- ${key/:/: }: ${explained[$key]}"; done
fi
if [ $failed != 0 ]; then echo "a suite found a fault; its report is in $reports" >&2; fi
exit $failed
