"""Shimmy Vision with OpenAI's client: shimmy serve & python openai_chat.py shot.png"""

import base64
import os
import sys
from pathlib import Path

import openai

server = os.environ.get("SHIMMY_SERVER", "http://127.0.0.1:8750")
# The client insists on a key; the server wants one only where it was started with some.
client = openai.OpenAI(base_url=f"{server}/v1", api_key=os.environ.get("SHIMMY_API_KEY", "none"))
encoded = base64.b64encode(Path(sys.argv[1]).read_bytes()).decode()
messages = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is the title of this page?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}},
        ],
    }
]

reply = client.chat.completions.create(model="default", messages=messages, max_tokens=200)
print("reply:", reply.choices[0].message.content)

# Under a schema, which every reply follows.
schema = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}
strict = client.chat.completions.create(
    model="default",
    messages=messages,
    max_tokens=200,
    response_format={
        "type": "json_schema",
        "json_schema": {"name": "page", "schema": schema, "strict": True},
    },
)
print("json:", strict.choices[0].message.content)

# Word by word.
print("stream: ", end="")
for piece in client.chat.completions.create(model="default", messages=messages, stream=True):
    print(piece.choices[0].delta.content or "", end="", flush=True)
print()
