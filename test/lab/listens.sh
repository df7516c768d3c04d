# Sourced. listens PID udp|tcp PORT: waits until a process's network namespace has a listener on a port. Fails when the
# process ends before.
listens() {
  hex=$(printf %04X "$3")
  until grep -q "^ *[0-9]*: [0-9A-F]*:$hex 00000000:0000 0[7A] " "/proc/$1/net/$2" 2>/dev/null; do
    if ! kill -0 "$1" 2>/dev/null; then
      echo "process $1 ended before it listened on $2 port $3" >&2
      return 1
    fi
    sleep 0.01
  done
}

# all_listen FILE: the same for every line `#listens PID udp|tcp PORT` of what pod.sh printed.
all_listen() {
  while read -r word pid protocol port; do [ "$word" != '#listens' ] || listens "$pid" "$protocol" "$port"; done <"$1"
}
