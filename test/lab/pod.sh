#!/bin/sh
# Starts a pod's processes; run in its network namespace, on its node. usage: pod.sh up|start NETNS web|client|probe|coredns
# `up` first gives the pod its addresses and routes. Prints an fstab line for each process, which mounts the cgroup that
# the process would have in a cluster over its /proc/PID/cgroup; and, for each port that it is to listen on, a comment:
# `#listens PID udp|tcp PORT`.
set -eu
action=$1 netns=$2 role=$3
build=/run/lab/build

start() { # start CGROUP CMD ARG...
  cgroup=$1
  shift
  "$@" </dev/null >/dev/null 2>&1 &
  echo "$build/$netns.$cgroup /proc/$!/cgroup none bind 0 0"
}

if [ "$action" = up ]; then
  echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
  ip -batch "$build/$netns.ip"
  [ "$role" = probe ] || start sandbox pause infinity
fi
case $role in
  web | client)
    start container "$role" TCP-LISTEN:8080,fork,reuseaddr,backlog=128 UNIX-CONNECT:/run/lab/web.sock
    echo "#listens $! tcp 8080"
    ;;
  probe)
    # Something that listens and does not fork: a sweep of a large lab connects from every node at once.
    start container probe --port 7410 --protected-mode no --save '' --dir /
    echo "#listens $! tcp 7410"
    ;;
  coredns)
    start container coredns -d -c "$build/coredns.conf"
    echo "#listens $! udp 53"
    start container coredns-metrics TCP-LISTEN:9153,fork,reuseaddr,backlog=128 UNIX-CONNECT:/run/lab/metrics.sock
    echo "#listens $! tcp 9153"
    ;;
esac
