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
touch "$work/services" "$work/measured"
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
    said=$(load "${services[$(((place + round) % ${#services[@]}))]}" "$seconds")
    printf '%s\t%s\n' "$round" "$said" >>"$work/measured"
  done
done

printf '%s rounds of %s s each, 8 connections, %s processors\n\n' "$rounds" "$seconds" "$(nproc)"
echo "| service | requests/s | p50 µs | p99 µs | processor µs a request | more than bare |"
echo "|---|---|---|---|---|---|"
# A service's values in a column, in the order of the rounds; what is more than bare, round by round.
column() { awk -F'\t' -v name="$1" -v column="$2" '$2 == name {print $column}' "$work/measured"; }
more() { paste <(column "$1" 6) <(column bare 6) | awk '{print $1 - $2}'; }
# Of the numbers on standard input the middle one, or the mean of two, then the lowest and highest.
spread() {
  sort -g | awk -v form="$1" '
    {value[NR] = $1}
    END {
      middle = (value[int((NR + 1) / 2)] + value[int((NR + 2) / 2)]) / 2
      printf form " (" form " to " form ")", middle, value[1], value[NR]
    }'
}
for service in "${services[@]}"; do
  name=${service#*$'\t'}
  above=
  [ "$name" = bare ] || above=$(more "$name" | spread %+.2f)
  echo "| $name | $(column "$name" 3 | spread %.0f) | $(column "$name" 4 | spread %.0f) |" \
    "$(column "$name" 5 | spread %.0f) | $(column "$name" 6 | spread %.2f) | $above |"
done
