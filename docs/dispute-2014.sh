#!/bin/sh
# The dispute of 2014, replayed in Linux network namespaces: one story, three places, judged together.
# Usage: run.sh dispute-carrier|dispute-pix|dispute-policy [path of hoofbeat]
# Needs root (or user namespaces) and Debian's iproute2, nftables, iptables and util-linux.
set -eu
story=${1:?which story: dispute-carrier, dispute-pix or dispute-policy}
hoofbeat=${2:-hoofbeat}
exec "$hoofbeat" lab up "$story" --quiet -- sh -c '
  hoofbeat=$1
  look() { # NODE VANTAGE FILE [OPTION...]: the exit status is the verdict; a verdict is no error here
    node=$1 vantage=$2 file=$3; shift 3
    ip netns exec "$node" "$hoofbeat" check --trace --quiet --vantage "$vantage" "$@" --archive "{folder}/$file" \
      --ca "{ca}" --prefixes "{prefixes}" --control "{control}" --witness "{witness}" "{target}" >/dev/null || [ $? -lt 64 ]
  }
  look client laptop@cafe   cafe.jsonl
  look mobile laptop@mobile mobile.jsonl
  look inside mx@inside     inside.jsonl --inside
  "$hoofbeat" explain "{folder}/cafe.jsonl" "{folder}/mobile.jsonl" "{folder}/inside.jsonl"
' look "$hoofbeat"
