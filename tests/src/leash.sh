# Keeps a folder and the processes in it for as long as standard input is open, which is as long as
# the test process lives: SIGKILL closes it too. $1 the folder, $2 the signal that ends a process.
# A line on standard input is a name and a quoted command; it leaves NAME.pid, .out, .err, .code.
trap '' INT TERM HUP
dir=$1 end=$2
cd "$dir" || exit 1
names=
while IFS= read -r line; do
  eval "set -- $line"
  name=$1
  names="$names $name"
  shift
  (
    # ignored here, but not in what is tested: Python's pools end their processes by SIGTERM
    trap - INT TERM HUP
    "$@" </dev/null >"$name.out" 2>"$name.err" &
    echo $! >"$name.new" && mv "$name.new" "$name.pid"
    wait $!
    echo $? >"$name.new" && mv "$name.new" "$name.code"
  ) &
done
for name in $names; do
  until [ -e "$name.pid" ]; do sleep 0.01; done
  [ -e "$name.code" ] || {
    # a stopped process gets no signal but these two
    kill -"$end" "$(cat "$name.pid")"
    kill -CONT "$(cat "$name.pid")"
  }
done 2>/dev/null
wait
cd / && rm -rf "$dir"
