"""What goes wrong in each rehearsal, and when: acts between the runbook's own steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import runbook_disk as disk
from runbook_stage import RehearsalError, Stage, until

_WRONG_SECRET = "whsec_" + "0" * 32


@dataclass(frozen=True, slots=True)
class Act:
    """Something that the rehearsal does itself, in words."""

    said: str
    do: Callable[[Stage], object]


def _buyer(name: str) -> Act:
    return Act(f"{name} pays", lambda stage: stage.buy(f"{name}@shimmy.example"))


def _delivered(name: str) -> Act:
    def do(stage: Stage) -> None:
        until(lambda: stage.letters(f"{name}@shimmy.example"), f"{name} has the mail")

    return Act(f"{name} has the licence", do)


def _api_down(stage: Stage, *, stripe: bool) -> None:
    server = stage.stripe if stripe else stage.keygen
    stage.fault(server, {"kind": "status", "status": 503, "path": "/v1/", "times": -1})


def _api_back(stage: Stage, *, stripe: bool) -> None:
    stage.heal(stage.stripe if stripe else stage.keygen)


def _deliveries(stage: Stage, order: Mapping[str, object]) -> None:
    stage.web.post(f"{stage.stripe}/_sim/deliveries", json=dict(order)).raise_for_status()


def _stripe_call(stage: Stage, method: str, path: str, **fields: str) -> dict[str, object]:
    key = stage.environment["SHIMMY_OPS_SANDBOX_STRIPE_KEY"]
    reply = stage.web.request(
        method, f"{stage.stripe}/v1/{path}", data=fields, headers={"Authorization": f"Bearer {key}"}
    )
    reply.raise_for_status()
    found: dict[str, object] = reply.json()
    return found


def _disable_endpoint(stage: Stage) -> None:
    (endpoint,) = json.loads(json.dumps(_stripe_call(stage, "GET", "webhook_endpoints")))["data"]
    _stripe_call(stage, "POST", f"webhook_endpoints/{endpoint['id']}", disabled="true")


def _break_secret(stage: Stage) -> None:
    path = stage.do('printf %s "$SHIMMY_STORE_WEBHOOK_SECRETS_FILE"')
    (stage.folder / path).write_text(_WRONG_SECRET)
    stage.restart()


def _mail(stage: Stage, *, down: bool) -> None:
    address = f"{stage.mail}/_sim/smtp"
    if down:
        fault = {"stage": "mail", "kind": "temporary", "times": -1}
        stage.web.post(address, json=fault).raise_for_status()
    else:
        stage.web.delete(address).raise_for_status()


def _refuse_address(stage: Stage) -> None:
    fault = {"stage": "rcpt", "kind": "permanent", "times": 1}
    stage.web.post(f"{stage.mail}/_sim/smtp", json=fault).raise_for_status()


def _leak(stage: Stage) -> None:
    token = stage.do('cat "$SHIMMY_STORE_KEYGEN_TOKEN_FILE"').strip()
    (stage.folder / "leaked.txt").write_text(f"SHIMMY_STORE_KEYGEN_TOKEN={token}\n")
    stage.environment |= {"LEAKED": "leaked.txt", "OLD_TOKEN": token}


def _token_is_dead(stage: Stage) -> None:
    reply = stage.web.get(
        f"{stage.keygen}/v1/accounts/shimmy-sandbox/licenses",
        headers={"Authorization": f"Bearer {stage.environment['OLD_TOKEN']}"},
    )
    if reply.status_code != 401:
        raise RehearsalError(f"the leaked token still opens Keygen: {reply.status_code}")


def _lose_ledger(stage: Stage) -> None:
    stage.forgotten.add("ray@shimmy.example")
    stage.end_store()
    (stage.folder / "ledger.sqlite").write_bytes(b"no database" * 4096)
    for end in ("-wal", "-shm"):
        (stage.folder / f"ledger.sqlite{end}").unlink(missing_ok=True)


def _bad_release(stage: Stage) -> None:
    """It passes its smoke test, and sends no mail: a typing mistake in the mail server's port."""
    wrong = stage.folder / "store-mail-wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("smtp://127.0.0.1:1")
    lines = (stage.folder / "store.env").read_text().splitlines()
    kept = [one for one in lines if "_MAIL_FILE=" not in one]
    changed = [*kept, f"export SHIMMY_STORE_MAIL_FILE={wrong}"]
    (stage.folder / "bad.env").write_text("\n".join(changed) + "\n")
    stage.do("shimmy-ops release record --profile live --version 1.1 --env bad.env --activate")


FAULTS: Mapping[str, tuple[Act | str, ...]] = {
    "keygen-down": (
        Act("Keygen answers 503", partial(_api_down, stripe=False)),
        _buyer("kay"), "look",
        Act("Keygen is back", partial(_api_back, stripe=False)),
        "mend", "verify",
    ),
    "stripe-down": (
        Act("webhooks are held", partial(_deliveries, order={"hold": True})),
        _buyer("stan"),
        Act("Stripe's API answers 503", partial(_api_down, stripe=True)),
        Act("the webhook comes", partial(_deliveries, order={"release": "in-order"})),
        "look",
        Act("Stripe is back", partial(_api_back, stripe=True)),
        "mend", "verify",
    ),
    "mail-down": (
        Act("the mail server refuses for now", partial(_mail, down=True)),
        _buyer("mae"), "look",
        Act("the mail server is back", partial(_mail, down=False)),
        "verify-sent", _delivered("mae"),
        Act("one mail is refused for good", _refuse_address),
        _buyer("may"), "look-parked", "mend-parked", "verify",
    ),
    "webhooks-failing": (
        Act("Stripe switched our endpoint off", _disable_endpoint),
        _buyer("wim"), "look", "mend",
        Act("the store was told another secret", _break_secret),
        _buyer("wes"), "look-secret", "mend-secret", "verify",
    ),
    "key-leaked": (
        Act("a token is found in a file", _leak),
        "look", "mend", Act("the leaked token opens nothing", _token_is_dead), "verify",
        _buyer("lee"), _delivered("lee"),
    ),
    "restore": (
        _buyer("rae"), _delivered("rae"), "before", _buyer("ray"), _delivered("ray"),
        Act("the ledger's file is damaged", _lose_ledger),
        "look", "mend", "verify",
    ),
    "disk-full": (
        _buyer("dan"), _delivered("dan"),
        Act("the ledger lies on a small disk", disk.prepare_ledger),
        Act("the disk is full while dee pays",
            partial(disk.fill_while_somebody_pays, email="dee@shimmy.example")),
        "look",
        Act("there is room, where that was a limit", disk.free_for_store),
        "mend", "verify", _delivered("dee"),
        Act("a machine's disk is full", partial(disk.prepare_machine, email="dan@shimmy.example")),
        "look-machine",
        Act("there is room elsewhere", disk.free_for_machine),
        "go-on-machine", "mend-machine",
        Act("the ledger is put back", disk.take_down),
    ),
    "rollback": (
        Act("a release that sends no mail is put in place", _bad_release),
        _buyer("rob"), "look", "mend", "verify",
    ),
}  # fmt: skip
