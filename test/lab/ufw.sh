#!/bin/sh
# What ufw 0.36 does to the packet filter of IPv4 on a node whose configuration a fault has written: `ufw status`,
# `ufw disable` and `ufw --force enable`. All rules are in /etc/ufw/before.rules here. Source: ufw's ufw-init-functions.
set -eu
case $* in
  status)
    if iptables-nft -S ufw-user-input >/dev/null 2>&1; then echo 'Status: active'; else echo 'Status: inactive'; fi
    ;;
  disable)
    sed -i 's/^ENABLED=.*/ENABLED=no/' /etc/ufw/ufw.conf
    # The chains that the built-in ones jump to stay, empty, so that the jumps keep their places.
    iptables-nft -S | awk '
      $1 == "-N" && $2 ~ /^ufw-/ { flush = flush "-F " $2 "\n" }
      $1 == "-N" && $2 ~ /^ufw-(logging|not-local|user|skip)/ { drop = drop "-X " $2 "\n" }
      END { printf "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n%s%sCOMMIT\n", flush, drop }
    ' | iptables-nft-restore --noflush
    echo 'Firewall stopped and disabled on system startup'
    ;;
  '--force enable')
    sed -i 's/^ENABLED=.*/ENABLED=yes/' /etc/ufw/ufw.conf
    iptables-nft-restore --noflush </etc/ufw/before.rules
    . /etc/default/ufw
    printf '*filter\n:INPUT %s [0:0]\n:OUTPUT %s [0:0]\n:FORWARD %s [0:0]\nCOMMIT\n' \
      "$DEFAULT_INPUT_POLICY" "$DEFAULT_OUTPUT_POLICY" "$DEFAULT_FORWARD_POLICY" | sed s/REJECT/DROP/ |
      iptables-nft-restore --noflush
    echo 'Firewall is active and enabled on system startup'
    ;;
  *)
    echo "ERROR: Invalid syntax" >&2
    exit 1
    ;;
esac
