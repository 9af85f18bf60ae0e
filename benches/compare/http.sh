#!/usr/bin/env bash
# What a layer costs per request, beside the same service without it and beside `tower_governor`:
# one process that serves all of them, loaded over loopback by `wrk`, which is installed if it is
# missing and can be.
#
#   bash benches/compare/http.sh [SECONDS] [ROUNDS]
#
# Each round loads every service for so many seconds, in an order that moves on by one from round to
# round. Prints the medians over the rounds as Markdown, and their lowest and highest values. The
# processor's time is that of the serving process, from /proc: it is the same on a busy machine.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-10} rounds=${2:-5}
for number in "$seconds" "$rounds"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || { echo "usage: http.sh [SECONDS] [ROUNDS]" >&2; exit 2; }
done
if ! command -v wrk >/dev/null; then
  apt-get install --yes --quiet wrk >/dev/null 2>&1 || true
  command -v wrk >/dev/null || { echo "SKIPPED load test: wrk cannot be installed"; exit 0; }
fi
cargo build --quiet --release --example http
target=${CARGO_TARGET_DIR:-target}

work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
"$target/release/examples/http" >"$work/services" &
server=$!
# The last line is the server's word that all listen.
until grep -q '^listening$' "$work/services"; do
  kill -0 "$server" 2>/dev/null || { echo "the server has ended" >&2; exit 1; }
  sleep 0.1
done
sed -i '/^listening$/d' "$work/services"
mapfile -t services <"$work/services"

ticks=$(getconf CLK_TCK)
# Milliseconds of processor time that the server has used.
used() { awk -v ticks="$ticks" '{printf "%.0f", ($14 + $15) * 1000 / ticks}' "/proc/$server/stat"; }

# Loads one service for so many seconds; says its name, requests a second, both percentiles and the
# processor's time for a request in microseconds.
load() {
  local address=${1%%$'\t'*} name=${1#*$'\t'} before said
  before=$(used)
  said=$(wrk -t1 -c8 -d"$2s" --latency "http://$address/items/1")
  awk -v name="$name" -v spent="$(($(used) - before))" '
    function micros(text) {
      if (text ~ /us$/) return text + 0
      if (text ~ /ms$/) return text * 1000
      return text * 1000000
    }
    $1 == "50%" {half = micros($2)}
    $1 == "99%" {most = micros($2)}
    / requests in / {count = $1}
    /Requests\/sec/ {rate = $2}
    /Non-2xx|Socket errors/ {wrong = $0}
    END {
      if (wrong != "" || !count) {
        print name ": " (wrong == "" ? "no request was answered" : wrong) > "/dev/stderr"
        exit 1
      }
      printf "%s\t%.0f\t%.0f\t%.0f\t%.2f\n", name, rate, half, most, spent * 1000 / count
    }' <<<"$said"
}

# Once without counting, so that nobody is the first.
for service in "${services[@]}"; do load "$service" 1 >/dev/null; done
for round in $(seq "$rounds"); do
  for place in "${!services[@]}"; do
    load "${services[$(((place + round) % ${#services[@]}))]}" "$seconds" >>"$work/measured"
  done
done

printf '%s rounds of %s s each, 8 connections, %s processors\n\n' "$rounds" "$seconds" "$(nproc)"
echo "| service | requests/s | lowest to highest | p50 µs | p99 µs | processor µs a request | more than bare |"
echo "|---|---|---|---|---|---|---|"
# The middle one of a service's values in a column; of two, their mean.
column() { awk -F'\t' -v name="$1" -v column="$2" '$1 == name {print $column}' "$work/measured" | sort -g; }
median() {
  column "$1" "$2" | awk '{value[NR] = $1}
    END {print (value[int((NR + 1) / 2)] + value[int((NR + 2) / 2)]) / 2}'
}
bare=$(median bare 5)
for service in "${services[@]}"; do
  name=${service#*$'\t'}
  awk -v name="$name" -v rate="$(median "$name" 2)" -v half="$(median "$name" 3)" \
    -v most="$(median "$name" 4)" -v cost="$(median "$name" 5)" -v bare="$bare" \
    -v low="$(column "$name" 2 | head -n 1)" -v high="$(column "$name" 2 | tail -n 1)" '
    BEGIN {
      more = name == "bare" ? "" : sprintf("%+.2f µs", cost - bare)
      printf "| %s | %.0f | %.0f to %.0f | %.0f | %.0f | %.2f | %s |\n",
        name, rate, low, high, half, most, cost, more
    }'
done
