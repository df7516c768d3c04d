#!/bin/sh
# Process 1 of a node, started by rack.sh in the node's own namespaces: an overlay over the rack's root file system,
# devices, routes and rules, pods. usage: node.sh NAME. Prints NAME when all is there, or `failed`.
set -eu
node=$1
trap 'echo failed' EXIT
build=/run/lab/build

mount -t tmpfs -o mode=755 node /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -a -T "$build/node.fstab"
# Only what belongs to the node's own network may be set: for root, the rest of /proc/sys is the machine's.
mount -o remount,bind,ro /mnt/root/proc/sys
cd /mnt/root
mkdir run/lock run/netns
pivot_root . .old
umount -l /.old
hostname "$node"
echo "$node" >/etc/hostname
cp -r "$build/$node.etc/." /etc/
# The kernel's log is the machine's, not a node's: nothing of it is shown here.
: >/run/kmsg
mount --bind /run/kmsg /dev/kmsg
[ ! -e "$build/$node.run" ] || cp -r "$build/$node.run/." /run/
# How busy the machine is, and with whom it shares its processors, is nothing that a node is to be blamed for.
cp /proc/stat /run/stat
mount --bind /run/stat /proc/stat

for file in /proc/sys/net/ipv6/conf/all/disable_ipv6 /proc/sys/net/ipv6/conf/default/disable_ipv6 \
  /proc/sys/net/ipv4/ip_forward /proc/sys/net/bridge/bridge-nf-call-iptables; do
  echo 1 >"$file"
done
for dev in all default eth0; do echo 0 >"/proc/sys/net/ipv4/conf/$dev/rp_filter"; done
ip -batch "$build/$node.ip"
bridge -batch "$build/$node.fdb"
iptables-nft-restore --noflush <"$build/$node.rules"
while read -r netns role; do ip netns exec "$netns" sh "$build/pod.sh" up "$netns" "$role"; done <"$build/$node.pods" >/run/pods
mount -a -T /run/pods
kubelet infinity </dev/null >/dev/null 2>&1 &
containerd infinity </dev/null >/dev/null 2>&1 &
. "$build/listens.sh"
all_listen /run/pods
echo "$node"
trap - EXIT
exec tini -- pause infinity >/dev/null
