#!/bin/sh
# The part of systemctl(1) that netcheck uses, for units that a fault has written: /run/units/NAME is sourced and defines
# `load`, what the unit's process does when it starts, and `unload`, what when it stops. The process bears the unit's name.
# usage: systemctl show --property=ActiveState NAME | start NAME | stop NAME
set -eu
for name in "$@"; do :; done
unit=/run/units/$name
is_active() { [ -e "$unit.pid" ] && kill -0 "$(cat "$unit.pid")" 2>/dev/null; }
case $1 in
  show)
    if is_active; then echo ActiveState=active; else echo ActiveState=inactive; fi
    ;;
  start)
    . "$unit"
    is_active && exit
    load
    setsid "$name" infinity </dev/null >/dev/null 2>&1 &
    echo $! >"$unit.pid"
    ;;
  stop)
    . "$unit"
    is_active || exit 0
    unload
    pid=$(cat "$unit.pid")
    rm "$unit.pid"
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
    ;;
esac
