#!/usr/bin/env bash
# Installs what the browser tests need on a Debian machine. Safe to run again: what is there stays.
#   tests/browser/setup.sh              everything but geckodriver
#   WHITEWATER_FIREFOX=1 tests/browser/setup.sh    geckodriver as well (built from its crate)
set -euo pipefail
cd "$(dirname "$0")"

packages=(chromium firefox-esr gstreamer1.0-tools gstreamer1.0-nice gstreamer1.0-plugins-base
  gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
  python3-gi python3-venv gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" -eq 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
  else
    echo "as root: apt-get install -y ${missing[*]}" >&2
  fi
fi

# npm writes this file at the end of an install; it is older than a changed lockfile.
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  npm ci --no-audit --no-fund
  touch node_modules/.package-lock.json
fi

if ! cmp -s clients/requirements.txt .venv/requirements.txt; then
  # The system's Python, not another one on PATH: it is the one GStreamer's bindings belong to.
  /usr/bin/python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check -r clients/requirements.txt
  cp clients/requirements.txt .venv/requirements.txt
fi

if [ "${WHITEWATER_FIREFOX:-}" = 1 ] && ! command -v geckodriver >/dev/null; then
  cargo install --locked geckodriver --version 0.37.1
fi
