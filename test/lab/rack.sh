#!/bin/sh
# Process 1 of a lab's rack. Runs in fresh namespaces of every kind; makes a root file system in which nothing that is
# written reaches the machine, the network between the nodes, and the nodes, then waits for its standard input to end.
# usage: rack.sh LAB_DIR TCPDUMP_UID VISIBLE_DIR...   (directories that keep their path, read-only)
# Prints `rack` when the rack is there, the name of each node that is ready, and `resolver` when names are answered.
set -eu
echo started
lab=$1 tcpdump_uid=$2
shift 2

mount -t tmpfs -o mode=755 rack "$lab/root"
cd "$lab/root"
mkdir -p dev etc home mnt opt proc root run/lab run/netns srv sys tmp usr var/cache var/lib var/log var/tmp .old .sys
chmod 1777 tmp var/tmp
ln -s ../run var/run
for name in bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$name" ]; then
    cp -P "/$name" .
  elif [ -d "/$name" ]; then
    mkdir "$name"
    mount --rbind "/$name" "$name"
  fi
done
mount --rbind /usr usr
for dir in "$@"; do
  mkdir -p ".$dir"
  mount --rbind "$dir" ".$dir"
done
# A space in a path is written \040 there.
while read -r _ _ _ _ target _; do
  target=$(printf %b "$target")
  case $target in "$lab/root"/?*) mount -o remount,bind,ro "$target" ;; esac
done </proc/self/mountinfo

mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
# Each node puts a log of its own here.
: >dev/kmsg
for name in null zero full random urandom tty; do
  : >"dev/$name"
  mount --bind "/dev/$name" "dev/$name"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t proc proc proc
# The second stays hidden: `ip netns exec` takes /sys away and mounts its own, which a user namespace may only do
# beside another.
mount -t sysfs sysfs sys
mount -t sysfs sysfs .sys
mount --bind "$lab/run" run/lab

# The machine's /etc, but for what would make its own settings look like a node's. Unreadable files stay out.
cp -a /etc/. etc/ 2>/dev/null || :
rm -rf etc/sysctl.d etc/sysctl.conf etc/resolv.conf etc/hosts etc/hostname etc/netns etc/nftables.conf
cp -r "$lab/run/build/etc/." etc/
chmod 755 etc
grep -q '^tcpdump:' etc/passwd || echo "tcpdump:x:$tcpdump_uid:$tcpdump_uid::/nonexistent:/usr/sbin/nologin" >>etc/passwd
grep -q '^tcpdump:' etc/group || echo "tcpdump:x:$tcpdump_uid:" >>etc/group

pivot_root . .old
umount -l /.old
hostname rack
build=/run/lab/build
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
# Off here: with it, what nodes say to each other would go through the rack's own packet filter.
[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables
ip -batch "$build/rack.ip"
for name in gw cp; do
  ip netns exec "$name" sh -ec "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; ip -batch $build/$name.ip"
done
ip netns exec gw sh -e "$build/gw.sysctl"
ip netns exec gw unbound -d -c "$build/resolver.conf" </dev/null >/dev/null &
resolver=$!
ip netns exec gw unbound -d -c "$build/resolver-2.conf" </dev/null >/dev/null &
resolver2=$!
haproxy -D -f "$build/kubelets.cfg" </dev/null >/dev/null
echo rack

while read -r node; do
  nsenter "--net=/run/netns/$node" unshare --mount --pid --uts --ipc --cgroup --fork --kill-child \
    sh "$build/node.sh" "$node" </dev/null &
done <"$build/nodes"
. "$build/listens.sh"
listens "$resolver" udp 53
# 10.28.0.53, as the kernel prints it
until grep -q ' 35001C0A:0035 ' "/proc/$resolver2/net/udp"; do
  kill -0 "$resolver2"
  sleep 0.01
done
echo resolver
exec tini -- cat >/dev/null
