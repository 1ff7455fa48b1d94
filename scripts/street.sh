# Sourced by demo.sh and demo_live.sh: the town, the store and the static site, until the shell ends.
# What runs is in `programs`, what it says in $work, and PATH finds this checkout's own commands.
PATH="$PWD/.venv/bin:$PATH"
work=$(mktemp -d)
programs=()
trap 'for one in "${programs[@]}"; do kill "$one" 2>/dev/null || true; done; wait; rm -rf "$work"' EXIT

# await FILE WORD: until the word stands in the file, or say what went wrong.
await() {
  for _ in $(seq 300); do
    ! grep -q "$2" "$work/$1" 2>/dev/null || return 0
    sleep 0.1
  done
  cat "$work/$1" "$work/$1.log" >&2
  exit 1
}

free_port() {
  python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
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
