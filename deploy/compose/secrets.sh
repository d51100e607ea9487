#!/bin/sh
# Makes the secrets of compose.yaml, those that are not there yet. Run it once.
#
# The files are readable by all, as Compose hands them on with their modes and the containers run as other
# users; the folder that holds them is not.
set -eu
folder=$(dirname "$0")/secrets
mkdir -p "$folder"
chmod 700 "$folder"
for name in admin-token valkey-password grafana-password; do
  if [ ! -s "$folder/$name" ]; then
    head -c 32 /dev/urandom | base64 | tr -d '\n=+/' >"$folder/$name"
    chmod 644 "$folder/$name"
  fi
done
echo "secrets are in $folder"
