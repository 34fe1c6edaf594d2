#!/usr/bin/env bash
# Tests of the page in a real browser, against the real binary with small models that it trains itself (a minute, the first time).
#   tests/browser/run.sh [path to gareum]     default: $GAREUM, else the newest of target/release and target/debug
# Needs Node 20 and Chromium ($CHROMIUM, else the usual names); without them it says so and ends with 0. `unit` as first word: only the
# tests of the modules, which need neither browser nor binary.
set -euo pipefail
cd "$(dirname "$0")"

skip() { echo "skipped: $1"; exit 0; }

command -v node > /dev/null || skip "there is no Node"
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || skip "Node $major is older than 20"

node --test unit/
if [ "${1:-}" = unit ]; then exit 0; fi

chromium=${CHROMIUM:-}
if [ -z "$chromium" ]; then
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" > /dev/null; then chromium=$(command -v "$name"); break; fi
  done
fi
[ -n "$chromium" ] || skip "there is no Chromium (the modules were tested)"

binary=${1:-${GAREUM:-}}
if [ -z "$binary" ]; then
  binary=$(ls -t ../../target/release/gareum ../../target/debug/gareum 2> /dev/null | head -n 1 || true)
fi
if [ -z "$binary" ] || [ ! -x "$binary" ]; then
  echo "error: there is no gareum binary: build it (cargo build) or name it" >&2
  exit 2
fi
case $binary in */*) binary=$(cd "$(dirname "$binary")" && pwd)/$(basename "$binary") ;; esac

if [ ! -d node_modules/playwright-core ] || [ ! -d node_modules/axe-core ]; then
  npm ci --no-audit --no-fund --silent || skip "the test's packages could not be installed (the modules were tested)"
fi

GAREUM=$binary CHROMIUM=$chromium exec node --test --test-concurrency=1 page.test.js
