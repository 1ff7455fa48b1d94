"""An operated town that sells what a sandbox build of ``shimmy`` accepts, and ways through it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import operated_town
import provisioning_town
import pytest
from operated_town import OperatedTown, open_operated_town
from provisioning_town import NO_TLS, ProvisioningTown, open_provisioning_town

from shimmy_ops.adapters.transaction.http_storefront import HttpStorefront
from shimmy_ops.domain.transaction.choosing import choose_terms
from shimmy_ops.domain.transaction.receipt import Receipt, StepRecord
from shimmy_ops.errors import TransactionError
from shimmy_ops.ports.transaction import Journey, Receipts
from shimmy_ops.wiring.accounts import desired_state
from shimmy_ops.wiring.transaction import Choices, open_journey
from shimmy_sandbox.cli.buy import pay_page
from shimmy_sandbox.cli.serving import CommandError
from shimmy_sandbox.keygen.identity import PRODUCT_ID
from shimmy_sandbox.keygen.shop import stock_shop

_VISITORS = itertools.count(2)
MAILBOX = "operator@shimmy.example"
GOOD, DECLINED = "4242424242424242", "4000000000000002"


@contextmanager
def open_transaction_town(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperatedTown]:
    """As ``open_operated_town``, with the product that sandbox builds are made for."""

    @contextmanager
    def stocked(place: Path, patch: pytest.MonkeyPatch) -> Iterator[ProvisioningTown]:
        with open_provisioning_town(place, patch) as town:
            stock_shop(town.keygen, [])
            yield town

    table: Any = vars(ProvisioningTown)["table"]

    def with_product(town: ProvisioningTown) -> dict[str, Any]:
        more = {"keygen_product": PRODUCT_ID, "operator_mail": MAILBOX, "state_folder": "state"}
        return {**table.fget(town), **more}

    monkeypatch.setattr(operated_town, "open_provisioning_town", stocked)
    monkeypatch.setattr(provisioning_town.ProvisioningTown, "table", property(with_product))
    with open_operated_town(folder, monkeypatch) as town:
        yield town


class Cut(BaseException):
    """The process ends here."""


@dataclass
class FusedReceipts:
    """Keeps receipts as ``within`` does, until ``blows`` says that the process ends first."""

    within: Receipts
    blows: Callable[[Receipt], bool]

    def alone(self) -> Any:
        return self.within.alone()

    def listed(self) -> Any:
        return self.within.listed()

    def save(self, receipt: Receipt) -> None:
        if self.blows(receipt):
            raise Cut
        self.within.save(receipt)


@dataclass
class InProcessPayer:
    """Pays as the command does, in this process."""

    email: str
    card: str = GOOD
    paid: list[str] = field(default_factory=list)

    def ask(self, session: Any) -> None:
        with httpx.Client(trust_env=False, verify=NO_TLS, timeout=30) as browser:
            try:
                pay_page(browser, session.url, self.email, self.card)
            except CommandError as problem:
                raise TransactionError("payment-refused", "Declined.") from problem
        self.paid.append(session.id)


@dataclass
class StandInMachine:
    """What ``shimmy`` asks of Keygen, without its process, its proofs and a model."""

    url: str
    name: str
    folder: set[str] = field(default_factory=set)
    broken: str = ""

    def _ask(self, method: str, path: str, key: str, body: Any = None) -> httpx.Response:
        headers = {
            **({"Authorization": f"License {key}"} if key else {}),
            "Accept": "application/vnd.api+json",
            "Content-Type": "application/vnd.api+json",
        }
        with httpx.Client(base_url=self.url, trust_env=False, verify=NO_TLS) as client:
            return client.request(method, path, json=body, headers=headers)

    def _fail(self, act: str) -> None:
        if self.broken == act:
            raise TransactionError("machine-refused", f"shimmy does not {act}.")

    def check(self, *, analysis: bool) -> None:
        self._fail("check")

    def activate(self, key: str) -> None:
        self._fail("activate")
        self.folder.add("key")
        licence = self._ask("GET", "me", key).json()["data"]["id"]
        owner = {"license": {"data": {"type": "licenses", "id": licence}}}
        data = {
            "type": "machines",
            "attributes": {"fingerprint": self.name},
            "relationships": owner,
        }
        made = self._ask("POST", "machines", key, {"data": data})
        codes = [one.get("code") for one in made.json().get("errors", [])]
        assert made.status_code == 201 or "FINGERPRINT_TAKEN" in codes, made.text

    def analyse(self) -> Mapping[str, Any]:
        self._fail("analyse")
        whole = dict.fromkeys(("text_blocks", "layout", "visual", "interaction"), ())
        model = {"family": "4.6", "synthetic": True}
        return {**whole, "meta": {"model": model, "duration_ms": 12.5}}

    def deactivate(self, key: str) -> None:
        self._fail("deactivate")
        assert self._ask("DELETE", f"machines/{self.name}", key).status_code == 204

    def confirm(self, key: str) -> str:
        said = self._ask("POST", "licenses/actions/validate-key", "", {"meta": {"key": key}})
        code = said.json()["meta"]["code"]
        return {"SUSPENDED": "licence-suspended", "EXPIRED": "licence-expired"}.get(code, "")

    def remove(self) -> None:
        self.folder.clear()


@contextmanager
def journey(
    town: OperatedTown,
    identity: str,
    told: Callable[[StepRecord], None] | None = None,
    **changes: Any,
) -> Iterator[Journey]:
    """The real one but for payer and machine, which need no process; ``changes`` go above all."""
    profile = town.profile()
    terms = choose_terms(desired_state(profile).offer, livemode=False)
    keygen = town.town.keygen
    place = f"{keygen.url}/v1/accounts/{keygen.account}/"
    quick = {
        "payer": InProcessPayer(f"{identity}@shimmy.example"),
        "machine": StandInMachine(place, f"shimmy-ops-{identity}"),
    }
    choices = Choices(wait_minutes=1, wait_seconds=60)
    heard = told or (lambda _: None)
    # Somebody else each time: the store counts how often one visitor begins to buy.
    own = httpx.HTTPTransport(local_address=f"127.0.0.{next(_VISITORS)}", verify=NO_TLS)
    with (
        httpx.Client(base_url=profile.store_url, transport=own) as front,
        open_journey(
            profile, town.folder, terms, identity, choices, lambda _: None, heard
        ) as opened,
    ):
        yield dataclasses.replace(opened, **{"front": HttpStorefront(front), **quick, **changes})
