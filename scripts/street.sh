# Sourced by demo.sh and demo_live.sh: the town, the store and the static site, until the shell ends.
# What runs is in `programs`, what it says in $work, and PATH finds this checkout's own commands.
PATH="$PWD/.venv/bin:$PATH"
work=$(mktemp -d)
programs=()
trap 'for one in "${programs[@]}"; do kill "$one" 2>/dev/null || true; done; wait; rm -rf "$work"' EXIT

# await FILE WORD: until the word stands in the file, or say what went wrong. A busy machine may take
# ten times as long as an idle one.
await() {
  for _ in $(seq 1200); do
    ! grep -q "$2" "$work/$1" 2>/dev/null || return 0
    sleep 0.1
  done
  cat "$work/$1" "$work/$1.log" >&2
  exit 1
}

# One of those that the system gives to nobody by itself, where it tells them: it is still free when
# its server has started.
free_port() {
  python -c '
import secrets, socket
try:
    first = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
except OSError:
    first = 0
while True:
    port = 10000 + secrets.randbelow(first - 10000) if first > 20000 else 0
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(one.getsockname()[1])
        break'
}

# open_street PORTS STORE_PORT SITE_PORT: `fixed` or `auto` ports for the town.
open_street() {
  shimmy-sandbox town serve --state "$work/town" --plans contracts/plans.json --ports "$1" \
    --store-url "http://127.0.0.1:$2" >"$work/town.out" 2>"$work/town.out.log" &
  programs+=($!)
  await town.out '^ready'
  . "$work/town/store.env"
  mailbox=$(sed -n 's/^mail //p' "$work/town.out")
  shimmy-store serve --port "$2" >"$work/store" 2>"$work/store.log" &
  programs+=($!)
  await store.log 'Application startup complete'
  shimmy-store site build --mode test --store-url "$SHIMMY_STORE_URL" --out "$work/site" \
    >"$work/site.log"
  python -u -m http.server "$3" --bind 127.0.0.1 --directory "$work/site" \
    >"$work/pages" 2>"$work/pages.log" &
  programs+=($!)
  await pages 'Serving HTTP'
  pricing="http://127.0.0.1:$3/pricing.html"
}
