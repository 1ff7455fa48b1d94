#!/bin/sh
# Shimmy Vision with curl:  shimmy serve &  ./analyze.sh shot.png
set -eu
server=${SHIMMY_SERVER:-http://127.0.0.1:8750}

# A key is wanted only by a server that has some; another one ignores it.
ask() {
  curl --silent --show-error --fail-with-body \
    --header "Authorization: Bearer ${SHIMMY_API_KEY:-none}" "$@"
}

# The file itself as the body, options in the address.
ask "$server/api/vision?mode=ocr" --header 'Content-Type: image/png' --data-binary "@$1"
echo

# A form, with a question of your own and a schema that the answer is made to follow.
ask "$server/api/vision" --form "file=@$1" --form 'prompt=Is this a sign-in page?' \
  --form 'schema={"type": "object", "properties": {"sign_in": {"type": "boolean"}},
    "required": ["sign_in"], "additionalProperties": false}'
echo

# The same as events, as they happen.
ask "$server/api/vision" --no-buffer --header 'Accept: text/event-stream' \
  --form "file=@$1" --form mode=brief
