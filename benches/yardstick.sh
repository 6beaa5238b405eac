#!/usr/bin/env bash
# The program beside bare servers in one interleaved run: benches/yardstick.sh [load|start|hook|growth|all] [FOLDER]
#
# Needs the yardstick (a bare hyper server and a load generator) in ../shared/limits; it is built once into FOLDER, a
# scratch folder. Rates are ratios of neighbours in time. Server on core 0, generator on core 1.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
case $what in load | start | hook | growth | all) ;; *) echo "there is no $what: write load, start, hook, growth or all" >&2; exit 2 ;; esac
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
# Rate, longest wait and memory with few payments and with five million.
growth() {
  # shellcheck disable=SC2086
  taskset -c 0 $serve --quiet >growth.log 2>&1 & local pid=$!
  # shellcheck disable=SC2064
  trap "kill $pid 2>/dev/null || true" EXIT
  until bin/kload once url=https://127.0.0.1:19443/ "$auth" "body=$body" timeout=1 | grep -q '^HTTP/1.1 200'; do
    kill -0 "$pid" 2>/dev/null || { cat growth.log >&2; exit 1; }
  done
  # What answers is this one, and not one that another run has left.
  kill -0 "$pid" 2>/dev/null || { cat growth.log >&2; exit 1; }
  resident() { awk '/VmRSS/ { printf "resident %.1f MiB\n", $2 / 1024 }' "/proc/$pid/status"; }
  run() {
    taskset -c 1 bin/kload run url=https://127.0.0.1:19443/ "$auth" "body=$body" conns=16 mode=keep hard=300 "$@" |
      python3 -c 'import json, sys; r = json.load(sys.stdin); print("%d payments, %.0f a second, longest wait %.1f ms" % (r["n"], r["rps"], r["max"] / 1000))'
  }
  resident
  for _ in 1 2 3 4 5; do run count=10000; done
  run count=1000000; resident
  run count=4000000; resident
  for _ in 1 2 3 4 5; do run count=10000; done
}
if [ "$what" = all ]; then load; start; hook; growth; else "$what"; fi
