#!/usr/bin/env bash
# Drives HTTP clients under `exec` against the hard-coded https://pay.esicia.com, in three ways and in hostile environments, and
# prints what became of each: reached, refused, escaped. README has this table; `run.sh --write` writes it there.
#
# Nothing leaves the machine: all of it runs in a network namespace without a network, in which KPay's names lead to a trap.
# Needs root, and what tests/all.sh installs. KEEP=FOLDER keeps what clients and `exec` said.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! unshare --net --mount true 2>/dev/null || [ "$(id -u)" != 0 ]; then
  echo "SKIPPED: tests/escape needs root, and a system that lets root make network namespaces" >&2
  [ -z "${CI:-}" ]
  exit
fi

if [ "${1:-}" != inside ]; then
  npm install --prefix tests/escape --no-package-lock --no-audit --no-fund --silent
  packages=$PWD/target/escape/python
  [ -d "$packages/urllib3" ] ||
    /usr/bin/python3 -m pip install --quiet --root-user-action=ignore --target "$packages" --requirement tests/escape/requirements.txt
  cargo build --locked --quiet
  # A user without privileges reads what is here, and may not read where the sources are.
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  cp -r tests/escape/clients "$packages" "$work/"
  cp -r tests/escape/node_modules "$work/clients/"
  cp "$(readlink -f tests/escape/node_modules/.bin/bun)" "$work/bun"
  cp tests/escape/clients.sh tests/escape/trap.py "$work/"
  cp "${CARGO_TARGET_DIR:-target}/debug/kpay-sandbox" "$work/"
  (cd tests/escape/clients && GO111MODULE=off CGO_ENABLED=0 go build -o "$work/go-client" client.go)
  javac -d "$work/clients" tests/escape/clients/Client.java
  unshare --net --mount --propagation private "$0" inside "$work" "${1:-}"
  exit
fi

work=$2
ip link set lo up
# No loopback address: Ruby would not ask its proxy for a host there.
ip address add 10.1.1.1/32 dev lo
{
  echo '127.0.0.1 localhost'
  echo '10.1.1.1 pay.esicia.com pay.esicia.rw pay.esicia.com. pay.esicia.rw.'
} >"$work/hosts"
mount --bind "$work/hosts" /etc/hosts
: >"$work/trap.log"
mkfifo "$work/stop" "$work/ready"
/usr/bin/python3 "$work/trap.py" "$work/trap.log" <"$work/stop" >"$work/ready" &
exec 9>"$work/stop"
read -r _ <"$work/ready"

# The three ways: a user with privileges, one without, and one on a machine that forbids private views.
root() { "$@"; }
user() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
forbidden() {
  # shellcheck disable=SC2016 # it is for the inner shell
  unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set -all "$@"' sh "$@"
}
openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -out "$work/corporate.pem" -days 30 -subj '/CN=Corporate CA' 2>/dev/null
chmod 644 "$work/corporate.pem"

for way in root user forbidden; do
  for surroundings in plain no-proxy corporate home; do
    home=$work/home-$way
    settings=()
    case $surroundings in
      no-proxy) settings=(NO_PROXY='*' no_proxy='.com,.rw') ;;
      corporate)
        proxy=http://127.1.1.2:3128
        settings=()
        for name in HTTPS_PROXY https_proxy HTTP_PROXY http_proxy ALL_PROXY; do settings+=("$name=$proxy"); done
        for name in NODE_EXTRA_CA_CERTS SSL_CERT_FILE CURL_CA_BUNDLE REQUESTS_CA_BUNDLE; do
          settings+=("$name=$work/corporate.pem")
        done
        ;;
      home) home="$home/a blank and a back\\slash" ;;
    esac
    mkdir -p "$home"
    results=$work/$way-$surroundings
    : >"$results"
    : >"$results.log"
    [ $way != user ] || chown -R 65534:65534 "$work/home-$way" "$results" "$results.log"
    "$way" env -i PATH="$PATH" LANG=C.UTF-8 HOME="$home" GODEBUG=netdns=go "${settings[@]}" \
      "$work/kpay-sandbox" exec -- bash "$work/clients.sh" "$work" "$results" >"$results.out" 2>&1 || true
  done
done
exec 9>&-
[ -z "${KEEP:-}" ] || cp "$work"/*.log "$work"/*.out "$KEEP"

# No request escapes without a warning. In the table, each client and way has the worst outcome of all surroundings.
/usr/bin/python3 - "$work" "${3:-}" <<'PYTHON'
import collections, pathlib, sys

work, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
ways = ["root", "user", "forbidden"]
rank = ["reached", "refused", "escaped"]
table, where = collections.OrderedDict(), collections.defaultdict(list)
for way in ways:
    for place in ["plain", "no-proxy", "corporate", "home"]:
        lines = (work / f"{way}-{place}").read_text().splitlines()
        said = (work / f"{way}-{place}.out").read_text()
        assert lines, f"{way}, {place}: no client ran: {said[:2000]}"
        for line in lines:
            client, outcome = line.split("\t")
            row = table.setdefault(client, {})
            where[client, way].append(f"{place} {outcome}")
            warned = "proxies that the client names itself" if "own proxy" in client else "They reach the real KPay"
            assert outcome != "escaped" or warned in said, f"{way}, {place}: {client} escaped, and nobody said so"
            row[way] = max(row.get(way, "reached"), outcome, key=rank.index)
lines = ["| client | full | closed | none |", "|---|---|---|---|"]
lines += [f"| {client} | " + " | ".join(row[way] for way in ways) + " |" for client, row in table.items()]
text = "\n".join(lines) + "\n"
print(text)
for (client, way), outcomes in where.items():
    if len({outcome.split()[1] for outcome in outcomes}) > 1:
        print(f"{client}, {way}: " + ", ".join(outcomes))
readme = pathlib.Path("README.md").read_text()
start, end = "<!-- tests/escape/run.sh writes this table -->\n\n", "\n<!-- end -->"
before, rest = readme.split(start)
old, after = rest.split(end)
if mode == "--write":
    pathlib.Path("README.md").write_text(before + start + text + end + after)
elif old != text:
    sys.exit("README has another table: fix what is worse, or write the table with tests/escape/run.sh --write")
PYTHON
