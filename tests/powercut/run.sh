#!/usr/bin/env bash
# Power cuts, killed processes and failing drives, under the worker `examples/powercut`, on the rig
# in `../shared/powercut` (its README says what each rig does).
#
#   bash tests/powercut/run.sh gate       about two minutes
#   bash tests/powercut/run.sh campaign   STATES=1000 disk states a file system, KILLS=1000 and
#                                         GUESTS=50 guest kernels; FS="ext4 xfs btrfs"; hours
#   bash tests/powercut/run.sh planted    plants a bug in each promise, in a copy; the rig must find
#                                         it; BUG=name for one of them
#
# Needs root, FUSE, loop devices and python3, else it says SKIPPED. SEED repeats a run's choices.
# What failed is kept below target/powercut/failed.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
rig=$target/powercut
seed=${SEED:-$(date +%s)}
states=0
failed=0
mended=0
# What befalls a drive that fails.
faults=('FAILFLUSHES 0' 'FAILFLUSHES 0 drop' 'FAILWRITES 0')

# Says why the rig cannot run here, or nothing.
obstacle() {
  [ -f "$root/../shared/powercut/powercut.py" ] || { echo "no rig in ../shared/powercut"; return; }
  [ "$(id -u)" = 0 ] || { echo "not root"; return; }
  [ -w /dev/fuse ] || { echo "no /dev/fuse"; return; }
  for tool in python3 losetup mount unshare mkfs.ext4; do
    command -v "$tool" >/dev/null || { echo "no $tool"; return; }
  done
  losetup -f >/dev/null 2>&1 || { echo "no loop devices"; return; }
  unshare -m true 2>/dev/null || echo "no mount namespaces"
}

# Builds the rig in a copy, and the worker from the folder given.
build_rig() {
  mkdir -p "$rig"
  cp -rpu "$root/../shared/powercut/." "$rig/"
  chmod -R u+w "$rig"
  (cd "$rig" && env -u CARGO_TARGET_DIR cargo build --quiet --release --features disk --bin faultdisk)
}

build_worker() {
  (cd "$1" && cargo build --quiet --release --example powercut --target-dir "$2")
  cp "$2/release/examples/powercut" "$3.new"
  mv "$3.new" "$3"
}

# Runs the rig on a worker and adds up what it says. Fails only if the rig did not run.
cut() {
  local name=$1 worker=$2 log kept states_now failed_now mended_now
  shift 2
  log=$rig/logs/$name.log
  mkdir -p "$rig/logs"
  seed=$((seed + 1))
  kept="$rig/failed/$name, seed $seed"
  python3 "$rig/powercut.py" "$@" --out "$kept" --seed "$seed" "$worker" >"$log" 2>&1 || true
  read -r states_now failed_now < <(sed -nE \
    's/^([0-9]+) crash states, [0-9]+ passed, ([0-9]+) failed.*/\1 \2/p' "$log") || true
  if [ -z "${states_now:-}" ] || [ "$states_now" = 0 ]; then
    tail -n 5 "$log"
    echo "$name: no state was checked" >&2
    exit 1
  fi
  mended_now=$(mended "$kept" "$worker" "$@")
  failed_now=$((failed_now - mended_now))
  states=$((states + states_now))
  failed=$((failed + failed_now))
  mended=$((mended + mended_now))
  printf '%-28s seed %s: %4d states, %d failed\n' "$name" "$seed" "$states_now" "$failed_now"
  [ "$mended_now" = 0 ] || echo "  $mended_now of them after fsck: no file system was left to mount"
  grep -F '"pass": false' "$log" | cut_columns | head -n 3 || true
}

# A drive that fails may take the file system with it, as a superblock torn in two. Then its
# checker repairs it, and the worker judges what there is: prints how many passed so.
mended() (
  local kept=$1 worker=$2 fs=ext4 settings=() state passed=0
  shift 2
  [[ " $* " = *" --fail "* ]] || { echo 0; return; }
  while [ $# -gt 0 ]; do
    case $1 in
      --fs) fs=$2 ;;
      --env) settings+=("$2") ;;
    esac
    shift
  done
  for state in "$kept"/*/; do
    grep -qs '^FAIL mount ' "$state/verify" && [ "$fs" = ext4 ] || continue
    judged_after_fsck "$state" "$worker" "${settings[@]}" >"$state/verify-after-fsck" 2>&1 || continue
    passed=$((passed + 1))
  done
  echo "$passed"
)

judged_after_fsck() {
  local state=$1 worker=$2 root_now=$1/mounted
  shift 2
  cp --sparse=always "$state/disk.img" "$state/mended.img"
  # One: errors were corrected.
  e2fsck -fy "$state/mended.img" || [ $? = 1 ] || return 1
  mkdir -p "$root_now"
  # In namespaces of their own, with another boot's number: nothing stays mounted.
  cat /proc/sys/kernel/random/uuid >"$state/boot_id"
  # shellcheck disable=SC2016 # expanded inside
  unshare -m bash -c 'mount --bind "$1/boot_id" /proc/sys/kernel/random/boot_id &&
    mount -o loop "$1/mended.img" "$1/mounted" && shift &&
    exec "$@"' - "$state" env POWERCUT_ACKS="$state/acks" POWERCUT_SEEN="$state/seen" "$@" \
    timeout 300 "$worker" verify "$root_now/d"
}

cut_columns() { command cut -c 1-600; }

file_systems() {
  for fs in ${FS:-ext4 xfs btrfs}; do
    if command -v "mkfs.$fs" >/dev/null; then echo "$fs"; else echo "SKIPPED $fs: no mkfs.$fs" >&2; fi
  done
}

verdict() {
  echo "$states states checked, $failed failed, $mended of the others judged after fsck"
  [ "$states" -gt 0 ] && [ "$failed" = 0 ]
}

gate() {
  local worker=$rig/worker fs plan fault
  cut kill "$worker" kill --cuts 4 --rounds 10 --early --min-ms 0 --max-ms 150
  cut "kill, table in turns" "$worker" kill --cuts 4 --rounds 10 --early --min-ms 0 --max-ms 150 \
    --env "$turns"
  for fs in $(file_systems); do
    cut "disk $fs" "$worker" disk --fs "$fs" --cuts 3 --max-ms 600
  done
  for plan in run close kill; do
    cut "disk, table on it, $plan" "$worker" disk --cuts 2 --max-ms 500 --fsck \
      --env POWERCUT_PLAN=$plan --env POWERCUT_TABLE=data
  done
  cut "disk, no strict limits" "$worker" disk --cuts 2 --max-ms 500 --env POWERCUT_STRICT=none
  cut "disk, cut while recovering" "$worker" disk --cuts 2 --rounds 5 --images 2 --early --min-ms 0 \
    --max-ms 200 --env "$turns"
  cut "disk, same kernel" "$worker" disk --cuts 2 --images 4 --same-boot --max-ms 300 \
    --env POWERCUT_TABLE=data
  for fault in "${faults[@]}"; do
    cut "disk, ${fault,,}" "$worker" disk --cuts 2 --images 2 --max-ms 800 --fail "$fault" \
      --env POWERCUT_DRIVE=fails
  done
  verdict
}

# One slice of the campaign, of about sixty states; slices differ in what is done when.
slice() {
  local fs=$1 number=$2 worker=$rig/worker
  local options=(--fs "$fs" --fsck) tables=() plans=()
  tables=("" --env\ POWERCUT_TABLE=data "--env $turns")
  case $((number % 7)) in
    0) plans=(run --cuts 10 --max-ms 800) ;;
    1) plans=(rounds --cuts 4 --rounds 8 --images 2 --early --min-ms 0 --max-ms 300) ;;
    2) plans=(closes --cuts 10 --max-ms 400 --env POWERCUT_PLAN=close) ;;
    3) plans=(kills --cuts 10 --max-ms 800 --env POWERCUT_PLAN=kill) ;;
    4) plans=(creation --cuts 10 --early --min-ms 0 --max-ms 60) ;;
    5) plans=(logged --cuts 10 --max-ms 800 --env POWERCUT_STRICT=none) ;;
    6) plans=(failing --cuts 10 --max-ms 800 --fail "${faults[$((number / 7 % 3))]}"
      --env POWERCUT_DRIVE=fails) ;;
  esac
  # shellcheck disable=SC2086 # two words, or none
  cut "$fs, slice $number, ${plans[0]}" "$worker" disk "${plans[@]:1}" \
    ${tables[$((number % 3))]} "${options[@]}"
}

campaign() {
  local fs number before
  number=0
  before=$states
  while [ $((states - before)) -lt "${KILLS:-1000}" ]; do
    # shellcheck disable=SC2046 # two words, or none
    cut "kill, slice $number" "$rig/worker" kill --cuts 10 --rounds 10 --early --min-ms 0 \
      --max-ms 200 $([ $((number % 2)) = 0 ] || echo "--env $turns")
    number=$((number + 1))
  done
  for fs in $(file_systems); do
    before=$states
    number=0
    while [ $((states - before)) -lt "${STATES:-1000}" ]; do
      slice "$fs" "$number"
      number=$((number + 1))
    done
    echo "$fs: $((states - before)) states"
  done
  if [ "${GUESTS:-50}" -gt 0 ]; then
    ls "$rig"/cache/vmlinuz* >/dev/null 2>&1 || (cd "$rig" && env -u CARGO_TARGET_DIR ./setup.sh)
    before=$states
    number=0
    while [ $((states - before)) -lt "${GUESTS:-50}" ]; do
      cut "guest kernels, slice $number" "$rig/worker" vm --cuts 5 --policy \
        "$([ $((number % 2)) = 0 ] && echo all || echo mix)" --min-ms 1500 --max-ms 6000 \
        --timeout 300
      number=$((number + 1))
    done
  fi
  verdict
}

# Puts NEW in the place of OLD in a file of the copy, where OLD must stand exactly once.
plant() {
  python3 - "$@" <<'PYTHON'
import sys
path, old, new = sys.argv[1:]
text = open(path).read()
if text.count(old) != 1:
    sys.exit(f"{path}: {text.count(old)} times, not once: {old}")
open(path, "w").write(text.replace(old, new))
PYTHON
}

# A bug of this name: what it breaks in a copy of the sources, and the rig that must find it.
bug() {
  local name=$1
  shift
  [ "${BUG:-$name}" = "$name" ] || return 0
  "plant_$name"
  build_worker "$copy" "$copy/target" "$rig/planted"
  local failed_before=$failed
  cut "planted: $name" "$rig/planted" "$@"
  if [ "$failed" = "$failed_before" ]; then
    echo "planted: $name: NOT FOUND"
    missed=$((missed + 1))
  fi
  rm -rf "$copy/src"
  cp -r "$copy/sound" "$copy/src"
}

plant_engine_unsynced() {
  plant "$copy/src/journal/ledger.rs" 'self.file.sync_all()?;' ''
}
plant_loss_untold() {
  plant_engine_unsynced
  plant "$copy/src/journal/generation.rs" 'if found < acknowledged {' 'if false {'
}
plant_stale_table_believed() {
  plant "$copy/src/limiter/shards.rs" 'elsewhere.or(is_other.then_some("another time'"'"'s table"))' \
    '{ let _ = (elsewhere, is_other); None }'
}
plant_flush_does_not_wait() {
  plant "$copy/src/writer.rs" 'while state.done < mine && !state.gone' \
    'state.done = state.done.max(mine); while false'
}
plant_durable_too_early() {
  plant "$copy/src/writer.rs" 'state.durable_at = began;' 'state.durable_at = Instant::now();'
}
plant_no_sweep_after_a_kill() {
  plant "$copy/src/limiter/open.rs" 'inbox.ask_for_sweep();' ''
}
plant_clean_unsynced() {
  plant "$copy/src/limiter/store.rs" 'self.table.sync().and_then(|()| self.shared.sync())' \
    'Ok::<(), std::io::Error>(())'
}
plant_strict_not_asked() {
  plant "$copy/src/counter/strict.rs" 'self.reserve.is_none() || self.store.ceilings.covers(tag, word)' \
    'let _ = (tag, word); true'
  plant "$copy/src/counter/strict.rs" 'fence(Ordering::SeqCst);
        self.store.ceilings.covers(tag, word)' 'true'
}
plant_ceiling_unsynced() {
  plant "$copy/src/ceiling/medium.rs" 'file.write_all_at(bytes, offset)?;
            file.sync_data()' 'file.write_all_at(bytes, offset)'
}
plant_ceilings_not_lifted() {
  plant "$copy/src/limiter/reserving.rs" 'if worth == Worth::Lost {' 'if false {'
}
plant_lowering_given_up() {
  plant "$copy/src/ceiling/desk.rs" 'let mut ceiling = self.later_of(*tag, target);' \
    'let mut ceiling = target;
            if self.later_of(*tag, ceiling) != ceiling {
                return None;
            }'
}
plant_raised_after_a_refund() {
  plant "$copy/src/ceiling/desk.rs" \
    '!demand.from.is_within(word)' \
    'word.bits() == 1'
}
plant_ceilings_of_the_killed_stay() {
  plant "$copy/src/limiter/reserving.rs" 'Opened::Kept => Worth::Left' \
    'Opened::Kept => Worth::Kept'
}
plant_private_memory() {
  plant "$copy/src/table/region.rs" 'let map = MmapOptions::new().len(whole_len(lines)?).map_raw(file)?;' \
    'let _ = file;
            let map: MmapRaw = MmapOptions::new().len(whole_len(lines)?).map_anon()?.into();'
}

planted() {
  copy=$target/powercut-planted
  missed=0
  mkdir -p "$copy"
  # Not what was built before.
  rm -rf "$copy"/{src,sound,tests,examples,benches}
  cp -r Cargo.toml Cargo.lock README.md src tests examples benches "$copy/"
  cp -r src "$copy/sound"
  local cuts=(disk --cuts 8 --max-ms 600 --env POWERCUT_TABLE=data)
  # Strict limits left alone: what they write would take the engine's pages along.
  local alone=("${cuts[@]}" --env POWERCUT_STRICT=none)
  bug engine_unsynced "${alone[@]}"
  bug loss_untold "${alone[@]}" --env POWERCUT_LOSS=reported
  bug stale_table_believed "${cuts[@]}"
  bug flush_does_not_wait "${cuts[@]}"
  bug durable_too_early "${cuts[@]}"
  bug no_sweep_after_a_kill "${cuts[@]}" --env POWERCUT_PLAN=kill
  # Seldom: the stamps of shards that were not written whole tell of it, unless they were.
  bug clean_unsynced "${cuts[@]}" --cuts 30 --env POWERCUT_PLAN=close
  bug strict_not_asked "${cuts[@]}"
  bug ceiling_unsynced "${cuts[@]}"
  bug ceilings_not_lifted "${cuts[@]}"
  bug lowering_given_up "${cuts[@]}" --env POWERCUT_PLAN=run
  bug raised_after_a_refund "${cuts[@]}" --env POWERCUT_PLAN=run
  # Seldom: a key must not be raced on again before the cut.
  bug ceilings_of_the_killed_stay "${cuts[@]}" --cuts 40 --images 2 --env POWERCUT_PLAN=kill
  bug private_memory kill --cuts 3 --rounds 3 --max-ms 100
  # The other way round: a loss in the engine, which the bugs above bring about, is always told.
  failed=0
  plant_engine_unsynced
  build_worker "$copy" "$copy/target" "$rig/planted"
  cut "planted: loss told" "$rig/planted" "${alone[@]}" --env POWERCUT_LOSS=reported
  [ "$missed" = 0 ] && [ "$failed" = 0 ]
}

# A directory in memory for tables, beside the data directory in turns.
memory=$(mktemp -d -p /dev/shm tollgate-power.XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$memory"' EXIT
turns=POWERCUT_TABLE=data,$memory

why=$(obstacle)
if [ -n "$why" ]; then
  echo "SKIPPED power cuts: $why"
  exit 0
fi
build_rig
build_worker "$root" "$target" "$rig/worker"
"${1:-gate}"; exit
