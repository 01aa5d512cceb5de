#!/bin/sh
# Builds every fuzz target and runs each for a while: fuzz/smoke.sh [seconds, default 10] [target...]
# With 0 seconds they are only built.
#
# Needs cargo (stable), a C and a C++ compiler, and crates.io; not cargo-fuzz. The flags are the
# ones cargo-fuzz passes for coverage feedback; RUSTC_BOOTSTRAP lets the stable compiler take them.
# No address sanitizer: the code under test forbids unsafe. New inputs are kept in fuzz/corpus,
# crashing ones in fuzz/artifacts; both are ignored by git. Exit code 1 if any target failed.
set -eu

cd "$(dirname "$0")"
seconds=${1:-10}
[ $# -gt 0 ] && shift

host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-target}

# --target keeps the flags away from build scripts and procedural macros.
RUSTC_BOOTSTRAP=1 \
RUSTFLAGS="-Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares \
  -Ccodegen-units=1 --cfg fuzzing" \
  cargo build --release --locked --target "$host" --target-dir "$target_dir" --bins
[ "$seconds" -ne 0 ] || exit 0

failed=
for source in fuzz_targets/*.rs; do
  name=$(basename "$source" .rs)
  if [ $# -gt 0 ] && ! printf '%s\n' "$@" | grep -qx "$name"; then
    continue
  fi
  mkdir -p "corpus/$name" "artifacts/$name"
  log="$target_dir/$name.log"
  if "$target_dir/$host/release/$name" "corpus/$name" "seeds/$name" \
      -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=2048 \
      -artifact_prefix="artifacts/$name/" -print_final_stats=1 >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "ok      $name: $runs runs"
  else
    failed="$failed $name"
    echo "FAILED  $name: see below and fuzz/artifacts/$name"
    tail -n 40 "$log"
  fi
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
