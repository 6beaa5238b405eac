#!/usr/bin/env bash
# The program beside bare servers in one interleaved run: benches/yardstick.sh [load|start|memory|hook|growth|all] [FOLDER]
#
# Needs the yardstick (a bare hyper server and a load generator) in ../shared/limits; it is built once into FOLDER, a
# scratch folder. Rates are ratios of neighbours in time. Server on core 0, generator on core 1.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
case $what in load | start | memory | hook | growth | all) ;; *) echo "there is no $what: write load, start, memory, hook, growth or all" >&2; exit 2 ;; esac
# shellcheck source=benches/common.sh
. benches/common.sh "${2:-}"
cd "$folder"
# The program with one payment in it, whose tid its seed tells: what checkstatus asks for.
status='{"action":"checkstatus","tid":"E6970011735689601","refid":"FIRST"}'
cat >with-payment <<SH
#!/usr/bin/env bash
(for _ in {1..50}; do
  bin/kload once url=https://127.0.0.1:19443/ '$auth' 'body=${body/REFID/FIRST}' timeout=3 | grep -q '"retcode":0' && break
  sleep 0.1
done) &
exec $serve --seed 1
SH
chmod +x with-payment

load() {
  python3 bench.py load --cells k1,k16,k64 --secs 1.5 --refsecs 1.5 --rounds 5 --pair --ref limit-store --only limit-store,pay --add "$(own pay "$body")"
  python3 bench.py load --cells k1,k16,k64 --secs 1.5 --refsecs 1.5 --rounds 5 --pair --ref limit-json --only limit-json,checkstatus --add "$(own checkstatus "$status" "$folder/with-payment")"
  python3 bench.py load --cells n1,n16,r1,r16 --secs 1.5 --refsecs 1.5 --rounds 5 --pair --ref limit-awslc --only limit-awslc,pay --add "$(own pay "$body")"
}
# What a bare server's webhooks make of 10,000 payments; the program's postbacks at one instant are `cargo bench --bench postbacks`.
hook() { python3 bench.py hook --n 10000 --conns 64 --rounds 5 --only limit-hook; }
start() { python3 bench.py start --runs 20 --only limit-awslc,pay --add "$(own pay "$body")"; }
declare -A pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true' EXIT
# begin PORT: starts the program there; returns when it answers.
begin() {
  local port=$1
  # shellcheck disable=SC2086
  taskset -c 0 ${serve/19443/$port} --quiet >"serve-$port.log" 2>&1 & pids[$port]=$!
  until [[ $(bin/kload once "url=https://127.0.0.1:$port/" "$auth" "body=$body" timeout=1) == 'HTTP/1.1 200'* ]]; do
    kill -0 "${pids[$port]}" 2>/dev/null || { cat "serve-$port.log" >&2; exit 1; }
  done
  # What answers is this one, and not one that another run has left.
  kill -0 "${pids[$port]}" 2>/dev/null || { cat "serve-$port.log" >&2; exit 1; }
}
# Memory idle, and for each of 100,000 payments, first of those that stay pending and then, one after the other, of those that are settled and posted.
memory() {
  python3 bench.py rss --only limit-store,pay --add "$(own pay "$body")"
  begin 19443
  pss() { awk '/^Pss:/ { print $2 }' "/proc/${pids[19443]}/smaps_rollup"; }
  local before settled
  before=$(pss)
  settled=${body/0780000005/0783300000}
  bin/kload hook url=https://127.0.0.1:19443/ "$auth" "body=${settled/127.0.0.1:9\/cb/127.0.0.1:19999\/}" n=100000 conns=1 timeout=120 |
    python3 -c 'import json, sys; r = json.load(sys.stdin); print("%d payments, %d posted, %d lost" % (r["n"], r["delivered"], r["lost"]))'
  # What the last ones took for a moment is given back first, as in bench.py.
  sleep 1
  echo "settled and posted: $((($(pss) - before) * 1024 / 100000)) bytes a payment"
  kill "${pids[19443]}"
  wait "${pids[19443]}" || true
}
# Memory and the longest wait while five million payments come, then the rate beside one that has few, by turns.
growth() {
  begin 19443
  begin 19444
  resident() { awk '/VmRSS|RssAnon/ { printf "%s %.1f MiB  ", $1, $2 / 1024 }' "/proc/${pids[19443]}/status"; echo; }
  run() {
    local port=$1
    shift
    taskset -c 1 bin/kload run "url=https://127.0.0.1:$port/" "$auth" "body=$body" conns=16 mode=keep hard=300 "$@" |
      python3 -c 'import json, sys; r = json.load(sys.stdin); print("%d payments, %.0f a second, longest wait %.1f ms" % (r["n"], r["rps"], r["max"] / 1000))'
  }
  resident
  run 19443 count=1000000; resident
  run 19443 count=4000000; resident
  for _ in 1 2 3 4 5; do
    echo "few:  $(run 19444 secs=1.5 warm=0.2)"
    echo "many: $(run 19443 secs=1.5 warm=0.2)"
  done
}
if [ "$what" = all ]; then load; start; memory; hook; growth; else "$what"; fi
