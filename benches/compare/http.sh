#!/usr/bin/env bash
# Requests a second over loopback, bare and behind each limiter, in turns: what a layer costs beside
# the same service without it. Needs `wrk`.
#
#   bash benches/compare/http.sh [SECONDS] [TURNS]
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-10} turns=${2:-3}
command -v wrk >/dev/null || { echo "SKIPPED load test: wrk is not installed"; exit 0; }
cargo build --quiet --release --example http
target=${CARGO_TARGET_DIR:-target}
list=$(mktemp)
"$target/release/examples/http" >"$list" &
server=$!
trap 'kill "$server"; rm -f "$list"' EXIT
until [ "$(wc -l <"$list")" -eq 4 ]; do sleep 0.1; done
for turn in $(seq "$turns"); do
  while IFS=$'\t' read -r address name; do
    said=$(wrk -t1 -c8 -d"${seconds}s" --latency "http://$address/items/1")
    awk -v name="$name" -v turn="$turn" '
      /Requests\/sec/ {rate = $2} $1 == "50%" {half = $2} $1 == "99%" {most = $2}
      /Non-2xx/ {wrong = $0}
      END {printf "%s  %-26s %9.0f requests/s  p50 %s  p99 %s  %s\n", turn, name, rate, half, most, wrong}
    ' <<<"$said"
  done <"$list"
done
