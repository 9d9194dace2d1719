#!/usr/bin/env bash
# Makes .venv from requirements-test.txt, or leaves it alone where it is up to date.
# A stamp inside it holds what it was made from, so the second call costs milliseconds.
# The interpreter is $PYTHON, or python3.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
command -v "$python" >/dev/null || {
  echo "✗ no $python on the PATH: install Python 3.9 or later, or set PYTHON" >&2
  exit 1
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' || {
  echo "✗ $("$python" --version) is too old: Python 3.9 or later is needed; set PYTHON to one" >&2
  exit 1
}

wanted="$("$python" -c 'import sys; print(sys.version)') $(cksum <requirements-test.txt)"
stamp=.venv/made-from
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi

echo "making .venv with $("$python" --version)" >&2
if ! "$python" -m venv --clear .venv; then
  echo "✗ $python cannot make virtual environments: on Debian, apt install python3-venv" >&2
  exit 1
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -r requirements-test.txt
printf '%s' "$wanted" >"$stamp"
