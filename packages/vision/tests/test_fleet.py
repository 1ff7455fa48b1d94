"""Two real hosts behind a real nginx: nothing is lost, and each page counts once."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
from fleet import Host, Nginx, configure, free_port, need_nginx, nginx_command, proxying
from licence_world import Customer, Shop, Sold
from pdf_writer import text_page, write_pdf
from PIL import Image
from websockets.sync.client import connect

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.use_cases.activate_licence import activate_licence

BRIEF = {"mode": "brief", "max_tokens": 8}
_numbers = itertools.count(1)


def order(**more: Any) -> dict[str, Any]:
    """A request about a picture that nobody has asked about before."""
    number = next(_numbers)
    data = io.BytesIO()
    Image.new("RGB", (90, 60), (number % 256, number // 256, 200)).save(data, "PNG")
    return {"image": base64.b64encode(data.getvalue()).decode(), **BRIEF, **more}


@dataclass
class Fleet:
    a: Host
    b: Host
    nginx: Nginx
    shop: Shop
    sold: Sold

    def uses(self) -> int:
        """Pages at the licence server once everything is settled."""
        for host in (self.a, self.b):
            host.report()
        return self.shop.uses(self.sold)


@pytest.fixture(scope="module")
def fleet(
    synthetic_46: SyntheticPair, session_shop: Shop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    need_nginx()
    folder = tmp_path_factory.mktemp("fleet")
    shared = folder / "shared"
    shared.mkdir()
    sold = session_shop.sell("startup")
    with ExitStack() as opened:
        # Of five machines three are elsewhere.
        for name in ("x", "y", "z"):
            other = Customer(session_shop, folder / name, name, opened=opened)
            activate_licence(sold.key, other.licensing())

        def host(tag: str) -> Host:
            variables = {
                "SHIMMY_LICENSE_URL": session_shop.server.url,
                "SHIMMY_LICENSE_KEY": sold.key,
                "SHIMMY_MACHINE_ID": f"host-{tag}",
                "SHIMMY_FLEET_DIR": str(shared),
                "SHIMMY_MODEL": f"{synthetic_46.main.parent}/",
            }
            made = Host(tag, free_port(), folder / f"host-{tag}", variables, ("--preload",))
            opened.callback(made.end)
            return made

        a, b = host("a"), host("b")
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(Host.start, (a, b)))
        ports = {"a": a.port, "b": b.port}
        nginx = opened.enter_context(proxying(folder / "nginx", ports))
        yield Fleet(a, b, nginx, session_shop, sold)


@pytest.fixture
def client(fleet: Fleet) -> Iterator[httpx.Client]:
    with fleet.nginx.client() as opened:
        yield opened


def ask(client: httpx.Client, body: dict[str, Any], key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/api/vision", json=body, headers=headers)


def ask_at(host: Host, body: dict[str, Any], key: str) -> int:
    with httpx.Client(base_url=host.url, timeout=60) as direct:
        return ask(direct, body, key).status_code


def await_work(host: Host) -> None:
    """Until nginx has noticed that it is there: at the latest three seconds after."""
    until = time.monotonic() + 30
    while host.done() == 0:
        assert time.monotonic() < until, "it is there and gets nothing"
        time.sleep(0.05)


def await_job(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + 20
    while (found := client.get(job["url"]).json())["finished"] is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    return dict(found)


def ask_until_answered(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """As a client does that takes no loss: the same again, under the same key."""
    key = uuid.uuid4().hex
    for _ in range(20):
        try:
            response = ask(client, body, key)
        except httpx.TransportError:
            continue
        if response.status_code == 200:
            result: dict[str, Any] = response.json()
            return result
        assert response.json()["error"]["retryable"], response.text
        time.sleep(0.2)
    raise AssertionError("no answer")


def test_nginx_takes_the_configuration(tmp_path: Path) -> None:
    whole = configure(tmp_path, {"a": 8751, "b": 8752}, 8753)
    done = subprocess.run(
        [*nginx_command(tmp_path, whole), "-t"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_both_hosts_work_and_every_page_counts_once(fleet: Fleet) -> None:
    before, worked = fleet.uses(), (fleet.a.done(), fleet.b.done())
    with fleet.nginx.client() as client, ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(lambda body: ask(client, body), [order() for _ in range(40)]))
    assert {one.status_code for one in answers} == {200}
    assert len({one.headers["x-request-id"] for one in answers}) == 40
    shares = (fleet.a.done() - worked[0], fleet.b.done() - worked[1])
    assert sum(shares) == 40
    assert min(shares) >= 8, "who has less to do gets the next one"
    assert fleet.uses() == before + 40


def test_events_come_through_as_they_happen(fleet: Fleet, client: httpx.Client) -> None:
    pages = [text_page(f"page {number} {uuid.uuid4()}") for number in range(12)]
    document = base64.b64encode(write_pdf(*pages)).decode()
    asked = {"image": document, "mode": "ocr", "dpi": 40, "max_tokens": 24}
    done, names, early = fleet.a.done() + fleet.b.done(), [], False
    with client.stream(
        "POST", "/api/vision", json=asked, headers={"Accept": "text/event-stream"}
    ) as response:
        for line in response.iter_lines():
            if line.startswith("event: "):
                names.append(line.removeprefix("event: "))
            # Any one will do: on a busy machine the first may be read late.
            if line == "event: page" and not early:
                early = fleet.a.done() + fleet.b.done() == done
    assert early, "no page came before the last was done"
    assert (names.count("page"), names[-1]) == (12, "done")


def test_chats_come_through_piece_by_piece(client: httpx.Client) -> None:
    url = f"data:image/png;base64,{order()['image']}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What?"}]
    body = {
        "model": "default",
        "stream": True,
        "max_tokens": 12,
        "messages": [{"role": "user", "content": content}],
    }
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        pieces = [line for line in response.iter_lines() if line]
    assert response.status_code == 200
    assert pieces[-1] == "data: [DONE]"
    assert len(pieces) > 3


def test_a_websocket_is_one_host_from_its_beginning_to_its_end(fleet: Fleet) -> None:
    address = fleet.nginx.url.replace("https", "wss") + "/ws/vision"
    with connect(address, ssl=fleet.nginx.trust, proxy=None) as line:
        for name in ("one", "two"):
            line.send(json.dumps({"id": name, "idempotency_key": name, **order()}))
        ended: set[str] = set()
        while len(ended) < 2:
            told = json.loads(line.recv(timeout=20))
            assert told["event"] != "error", told
            if told["event"] == "result":
                ended.add(told["id"])


def test_jobs_are_found_at_their_host_whoever_is_asked(fleet: Fleet, client: httpx.Client) -> None:
    ordered = [client.post("/api/vision/jobs", json=order()).json() for _ in range(6)]
    assert {one["id"].partition(".")[0] for one in ordered} <= {"a", "b"}
    for one in ordered:
        assert await_job(client, one)["status"] == "done"
        host, other = (fleet.a, fleet.b) if one["id"][0] == "a" else (fleet.b, fleet.a)
        assert httpx.get(host.url + one["url"]).status_code == 200
        lost = httpx.get(other.url + one["url"])
        assert lost.json()["error"]["code"] == "job-unknown"
        assert repr(host.tag) in lost.json()["error"]["hint"]


def test_what_is_not_for_clients_is_not_there(client: httpx.Client) -> None:
    assert client.get("/health").json()["status"] == "ok"
    assert client.get("/ready").status_code == 200
    refused = client.get("/metrics")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "path-unknown")


def test_a_body_too_large_is_refused_before_it_is_sent(fleet: Fleet) -> None:
    line = HTTPSConnection("127.0.0.1", fleet.nginx.port, timeout=20, context=fleet.nginx.trust)
    with closing(line):
        line.putrequest("POST", "/api/vision")
        line.putheader("Content-Length", "300000000")
        line.endheaders()
        response = line.getresponse()
        assert response.status == 413
        assert json.loads(response.read())["error"]["code"] == "body-too-large"


def test_a_machine_too_many_is_refused_with_the_reason(fleet: Fleet, tmp_path: Path) -> None:
    third = Host(
        "c",
        free_port(),
        tmp_path / "host-c",
        {**fleet.a.variables, "SHIMMY_MACHINE_ID": "host-c"},
    )
    third.start()
    try:
        ready = httpx.get(f"{third.url}/ready", timeout=20)
        assert ready.status_code == 503
        (reason,) = ready.json()["reasons"]
        assert reason["code"] == "machine-limit-reached"
        assert "deactivate" in reason["hint"]
    finally:
        third.kill()


def test_a_host_killed_under_load_loses_no_answer_and_doubles_no_page(fleet: Fleet) -> None:
    """Nor does a page that was counted there, while its answer was lost."""
    before, bodies = fleet.uses(), [order(max_tokens=24) for _ in range(24)]
    answered = threading.Semaphore(0)
    lost, key = order(), uuid.uuid4().hex

    def work(body: dict[str, Any]) -> dict[str, Any]:
        result = ask_until_answered(proxied, body)
        answered.release()
        return result

    with fleet.nginx.client() as proxied, ThreadPoolExecutor(10) as threads:
        assert ask_at(fleet.a, lost, key) == 200
        under_way = [threads.submit(work, body) for body in bodies]
        for _ in range(6):
            assert answered.acquire(timeout=30)
        job = httpx.post(f"{fleet.a.url}/api/vision/jobs", json=order(), timeout=20).json()
        assert await_job(proxied, job)["status"] == "done"
        fleet.a.kill()
        gone = proxied.get(job["url"])
        assert (gone.status_code, gone.headers["retry-after"]) == (502, "1")
        assert gone.json()["error"]["code"] == "host-unreachable"
        assert ask_at(fleet.b, lost, key) == 200
        assert ask_at(fleet.b, {**lost, "mode": "layout"}, key) == 200
        assert all(one.result(60)["meta"] for one in under_way)
    fleet.a.start()
    # What it was about to count when it was killed it counts when its engine comes up.
    fleet.a.now().until("shimmy_model_loaded", 1)
    # Another question is another page, whatever its key; and the job was done.
    assert fleet.uses() == before + len(bodies) + 3
    with fleet.nginx.client() as client:
        assert client.get(job["url"]).json()["error"]["code"] == "job-unknown"


def test_a_rolling_restart_loses_no_request(fleet: Fleet) -> None:
    before, over = fleet.uses(), threading.Event()
    answers: list[httpx.Response] = []

    def load() -> None:
        with fleet.nginx.client() as client:
            while not over.is_set():
                answers.append(ask(client, order()))
                time.sleep(0.1)

    with ThreadPoolExecutor(3) as threads:
        loads = [threads.submit(load) for _ in range(3)]
        try:
            for host in (fleet.a, fleet.b):
                await_work(host)
                assert host.stop() == 0
                host.start()
                assert httpx.get(f"{host.url}/ready", timeout=20).status_code == 200
                await_work(host)
            # However fast they came back.
            until = time.monotonic() + 60
            while len(answers) <= 20 and time.monotonic() < until:
                time.sleep(0.05)
        finally:
            over.set()
        for one in loads:
            one.result(60)
    refused = [one.text for one in answers if one.status_code != 200]
    assert not refused
    assert len(answers) > 20
    assert fleet.uses() == before + len(answers)


def test_every_tag_in_the_map_has_its_host() -> None:
    from fleet import SHIPPED

    text = SHIPPED.read_text(encoding="utf-8")
    mapped = re.findall(r"~\^/api/vision/jobs/([a-z]+)\\\. (\w+);", text)
    assert mapped == [("a", "vision_a"), ("b", "vision_b")]
    assert re.findall(r"upstream (\w+) {", text) == ["vision", "vision_a", "vision_b"]
