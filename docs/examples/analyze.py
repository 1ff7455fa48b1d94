"""Shimmy Vision from Python: shimmy serve & python analyze.py shot.png"""

import os
import sys

from shimmy_vision.client import ApiError, Client, Done, Progress

# The key, where the server wants one, is read from SHIMMY_API_KEY.
with Client(os.environ.get("SHIMMY_SERVER", "http://127.0.0.1:8750")) as client:
    try:
        # One answer; its type is known to type checkers.
        result = client.analyze(sys.argv[1], mode="ocr")
        for block in result["text_blocks"]:
            print("text:", block["text"])

        # A question of your own, and a schema that the answer is made to follow.
        asked = client.analyze(
            sys.argv[1],
            prompt="Is this a sign-in page?",
            schema={
                "type": "object",
                "properties": {"sign_in": {"type": "boolean"}},
                "required": ["sign_in"],
                "additionalProperties": False,
            },
        )
        print("answer:", asked["answer"])

        # Events, as they happen. Leaving the loop early stops the analysis.
        for event in client.stream(sys.argv[1], mode="brief"):
            match event:
                case Progress(stage=stage, percent=percent):
                    print("progress:", stage, percent)
                case Done(result=brief) if brief is not None:
                    print("background:", brief["visual"]["background"])
    except ApiError as error:
        sys.exit(f"{error.message} {error.hint} ({error.code})")
