#!/usr/bin/env bash
# Makes sure that what the tests of sync and embed need is there: an SSH server, the OpenSSH client, a Redis server and
# its client, and openssl for its certificates. The tests start the servers themselves, on loopback or on a socket.
# Installs what is missing with apt-get on Debian and its kin (as root, or with sudo); elsewhere says what to install. A
# second call costs milliseconds. No server is left running by this.
set -euo pipefail

# Servers lie where ordinary users do not look.
PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin

has_sftp_server() {
  local folder
  for folder in /usr/lib/openssh /usr/libexec/openssh /usr/libexec /usr/lib/ssh /usr/local/libexec; do
    [ ! -x "$folder/sftp-server" ] || return 0
  done
  return 1
}

missing=()
command -v sshd >/dev/null || missing+=(openssh-server)
has_sftp_server || missing+=(openssh-sftp-server)
command -v ssh >/dev/null && command -v ssh-keygen >/dev/null && command -v ssh-agent >/dev/null ||
  missing+=(openssh-client)
command -v redis-server >/dev/null && command -v redis-cli >/dev/null || missing+=(redis-server)
command -v openssl >/dev/null || missing+=(openssl)
[ ${#missing[@]} -gt 0 ] || exit 0

cannot() {
  echo "✗ missing: ${missing[*]} (Debian's names): $1" >&2
  exit 1
}

command -v apt-get >/dev/null || cannot "install them with the system's package manager"
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || cannot "as root, apt-get install ${missing[*]}"
  sudo=(sudo)
fi
echo "installing ${missing[*]}" >&2
"${sudo[@]}" apt-get update -qq
# What is installed here for tests must not begin to serve: the package would start its service.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
  "${sudo[@]}" chmod 755 "$policy"
  trap '"${sudo[@]}" rm -f "$policy"' EXIT
fi
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
