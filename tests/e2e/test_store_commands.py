"""The store as its operator starts it: processes, a purchase, a mail, a clean end."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from looking import need_chromium
from street import Street, eventually, run

from shimmy_sandbox.shopper.pages import DECLINED_CARD, SECURE_CARD


def test_a_plan_is_bought_and_its_key_mailed(street: Street) -> None:
    email = "grace@example.com"
    bought = run(
        street.env, "shimmy-sandbox", "buy", "startup", "--store", street.url, "--email", email
    )
    assert bought.returncode == 0, bought.stderr
    assert "the store shows the licence" in bought.stdout
    read = run(
        street.env,
        *("shimmy-sandbox", "mail", "read", "--url", street.mailbox),
        *("--to", email, "--match", "licence", "--wait", "30"),
    )
    assert re.search(r"shimmy license activate \S+-V3", read.stdout)
    street.steer("STRIPE", "deliveries/idle", {"timeout_seconds": 60})
    assert run(street.env, "shimmy-store", "sweep").returncode == 0

    def reconciled() -> bool:
        """The store that runs may have the customer in hand itself."""
        done = run(street.env, "shimmy-store", "reconcile", "--all")
        assert done.stdout.startswith("customers 1: "), done.stderr
        return (done.returncode, done.stdout) == (0, "customers 1: settled 1\n")

    assert eventually(reconciled)
    assert run(street.env, "shimmy-store", "alarms").stdout == ""
    assert httpx.get(f"{street.url}/health", trust_env=False).json()["status"] == "ok"


def test_a_plan_is_bought_in_a_browser_with_pictures_of_the_way(
    street: Street, site: str, tmp_path: Path
) -> None:
    need_chromium()
    command = ("shimmy-sandbox", "buy", "professional", "--store", street.url, "--browser")
    where = ("--site", f"{site}/pricing.html", "--screenshots", str(tmp_path / "pictures"))
    email = ("--email", "tab@example.com", "--card", SECURE_CARD, "--show-steps")
    bought = run(street.env, *command, *where, *email)
    assert bought.returncode == 0, bought.stderr
    steps = re.findall(r"^ *([0-9.]+) s  (.+)$", bought.stdout, re.M)
    assert [float(seconds) for seconds, _ in steps] == sorted(float(one) for one, _ in steps)
    told = [words for _, words in steps]
    assert f"reads the prices at {site}/pricing.html" in told
    assert "the bank asks whether it is her; it is" in told
    key = told[-1].removeprefix("copied with the page's button: ")
    assert key in street.mail("tab@example.com", "is ready")
    pages = ("pricing", "checkout", "challenge", "success")
    assert {one.name for one in (tmp_path / "pictures").iterdir()} == {
        f"{page}-{width}.png" for page in pages for width in (375, 1280)
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("developer", "--card", DECLINED_CARD), "the page to pay on says: Your card was declined"),
        (("free",), "sells no plan 'free'"),
        (("developer", "--site", "http://shop.example/"), "is not on this machine"),
        (("developer", "--site", "http://127.0.0.1:9/"), "the browser cannot go on at"),
    ],
)
def test_a_browser_that_cannot_go_on_says_where(
    street: Street, words: tuple[str, ...], said: str
) -> None:
    need_chromium()
    failed = run(street.env, "shimmy-sandbox", "buy", *words, "--store", street.url, "--browser")
    assert failed.returncode == 1
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_log_tells_nothing_of_the_customer(street: Street) -> None:
    run(street.env, "shimmy-sandbox", "buy", "developer", "--store", street.url)
    told = street.store_log.read_text()
    assert '"endpoint": "success"' in told
    for secret in ("@example.com", "cs_test", "cus_", "token=", "-V3", "/view-license", "whsec"):
        assert secret not in told, secret


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("buy", "free"), "the store says 404"),
        (("buy", "developer", "--card", "4000000000000002"), "the page to pay on says 402"),
        (("buy", "developer", "--store", "http://127.0.0.1:9"), "does not answer"),
    ],
)
def test_a_purchase_that_fails_says_where(
    street: Street, words: tuple[str, ...], said: str
) -> None:
    where = () if "--store" in words else ("--store", street.url)
    failed = run(street.env, "shimmy-sandbox", *words, *where)
    assert failed.returncode == 1
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_store_that_is_not_set_up_lists_what_is_missing(street: Street) -> None:
    env = {name: value for name, value in street.env.items() if "STORE" not in name}
    failed = run(env, "shimmy-store", "serve")
    assert failed.returncode == 2
    for name in ("MODE", "URL", "STRIPE_KEY", "WEBHOOK_SECRETS", "KEYGEN_TOKEN", "LEDGER"):
        assert f"SHIMMY_STORE_{name} " in failed.stderr
    assert "docs/store.md" in failed.stderr


def test_a_port_in_use_is_said_in_words(street: Street) -> None:
    port = street.url.rpartition(":")[2]
    failed = run(street.env, "shimmy-store", "serve", "--port", port)
    assert failed.returncode == 2
    assert "cannot listen" in failed.stderr
    assert "Traceback" not in failed.stderr
