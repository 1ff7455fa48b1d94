"""On which hosts each module of the store's tests runs, beside CPython with SQLite, where all do.

On Pyodide: ``inside`` it, as the Worker's own Python, or as visitors of the deployed bundle, which
answers there (``worker``). On D1: CPython against wrangler's local D1, by whichever fixture the
module's ledger comes from: ``place``; ``memory``, where the one in memory is exchanged; ``store``,
the whole store; ``own``, a way of its own.

What is long runs on all of them with ``SHIMMY_TEST_PYODIDE=all`` and ``SHIMMY_TEST_D1=all``; else a
part stands for it. Where a module does not run, the reason stands instead.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Runs:
    """``how`` it runs there; ``few``: the tests that stand for the others, None for all of them."""

    how: Literal["inside", "worker", "place", "memory", "store", "own"]
    few: Collection[str] | None = None

    def takes(self, test: str, variable: str) -> bool:
        """Whether this test is to run there now."""
        return self.few is None or test in self.few or os.environ.get(variable) == "all"


PYODIDE, D1 = "SHIMMY_TEST_PYODIDE", "SHIMMY_TEST_D1"

INSIDE, WORKER = Runs("inside"), Runs("worker")
WORKER_WHEN_ASKED, INSIDE_WHEN_ASKED = Runs("worker", ()), Runs("inside", ())
PLACE, OWN = Runs("place"), Runs("own")
STORE_WHEN_ASKED = Runs("store", ())

NO_LEDGER = "no ledger: it is the same Python as with SQLite"
SOCKETS = "asks the sandbox over sockets: what it shows is in the Worker's journey"
SECOND_APP = "opens apps of its own in this process, or reads the ledger's file"
COMMAND = "a command or a program of a machine's; no Worker has one"
MACHINE = "files, threads, processes or PostgreSQL of a machine; a Worker has none"
SITE = "the static site: it is built and looked at on a machine, and no Worker has a ledger for it"
SQLITE = "about SQLite and PostgreSQL themselves"
ABOUT_TESTS = "about the tests themselves"
BINDING = "the Worker has a binding of its own there; test_d1_ledger tries it on workerd's D1"
SLOW_TOWN = "a town of two simulators an example; its power cuts on D1 are in test_d1_ledger"


def _few(*tests: str) -> Runs:
    return Runs("memory", frozenset(tests))


# Module, then how it runs on Pyodide, then on D1.
TABLE: dict[str, tuple[Runs | str, Runs | str]] = {
    "test_admission": (SECOND_APP, NO_LEDGER),
    "test_buying": (INSIDE, NO_LEDGER),
    "test_bypass_browser": (SECOND_APP, SECOND_APP),
    "test_bypass_requests": (SECOND_APP, SECOND_APP),
    "test_bypass_signatures": (SECOND_APP, SECOND_APP),
    "test_bypass_wire": (SECOND_APP, SECOND_APP),
    "test_catalog": (INSIDE, NO_LEDGER),
    "test_chaos": (COMMAND, MACHINE),
    "test_client_addresses": (SECOND_APP, NO_LEDGER),
    "test_confirm_checkout": (
        INSIDE,
        _few("test_webhook_and_browser_at_once_make_one_licence"),
    ),
    "test_converge_licence": (SOCKETS, NO_LEDGER),
    "test_d1_ledger": (OWN, OWN),
    "test_deploy_files": (COMMAND, NO_LEDGER),
    "test_deploy_proxy": (COMMAND, NO_LEDGER),
    "test_ed25519": (INSIDE, NO_LEDGER),
    "test_erased_customers": (
        INSIDE,
        _few("test_a_worker_who_makes_the_licence_meanwhile_is_followed_by_one_who_ends_it"),
    ),
    "test_figures": (INSIDE, NO_LEDGER),
    "test_flatness": (ABOUT_TESTS, NO_LEDGER),
    "test_fulfil_customer": (
        INSIDE,
        _few("test_an_older_payment_that_succeeds_late_makes_no_second_licence"),
    ),
    "test_fulfilment": (INSIDE, NO_LEDGER),
    "test_fulfilment_journey": (SOCKETS, OWN),
    "test_fulfilment_workers": (MACHINE, SQLITE),
    "test_gone_workers": (MACHINE, MACHINE),
    "test_hosts_of_tests": (ABOUT_TESTS, ABOUT_TESTS),
    "test_js_fetch_transport": (OWN, NO_LEDGER),
    "test_json_text": (INSIDE, NO_LEDGER),
    "test_keygen_signature": (INSIDE, NO_LEDGER),
    "test_ledger_command": (COMMAND, COMMAND),
    "test_ledger_contract": (INSIDE, PLACE),
    "test_ledger_copies": (INSIDE, PLACE),
    "test_ledger_desk": (INSIDE, PLACE),
    "test_ledger_dump": (INSIDE, NO_LEDGER),
    "test_ledger_machine": (INSIDE, OWN),
    "test_ledger_merges": (INSIDE, PLACE),
    "test_ledger_migration": (INSIDE, PLACE),
    "test_ledger_races": (INSIDE, PLACE),
    "test_ledger_upgrades": (MACHINE, SQLITE),
    "test_ledger_work": (INSIDE, PLACE),
    "test_letters": (INSIDE, NO_LEDGER),
    "test_log_ids": (SECOND_APP, SECOND_APP),
    "test_lost_events": (SOCKETS, _few("test_what_no_webhook_told_of_is_settled")),
    "test_mailboxes": (INSIDE, NO_LEDGER),
    "test_mailers": (SOCKETS, NO_LEDGER),
    "test_merge_customers": (INSIDE, _few("test_two_customers_of_the_mailbox_become_one")),
    "test_merging": (INSIDE, NO_LEDGER),
    "test_notices": (
        INSIDE,
        _few("test_a_plan_that_never_gave_access_is_not_told_as_the_one_before"),
    ),
    "test_operator_copies": (SECOND_APP, STORE_WHEN_ASKED),
    "test_operator_desk": (SECOND_APP, STORE_WHEN_ASKED),
    "test_operator_gate": (SECOND_APP, STORE_WHEN_ASKED),
    "test_postgres_ledger": (MACHINE, SQLITE),
    "test_postgres_outages": (MACHINE, SQLITE),
    "test_private_words": (INSIDE, NO_LEDGER),
    "test_receive_event": (
        INSIDE,
        _few("test_an_event_that_is_too_long_to_be_kept_whole_is_heard_all_the_same"),
    ),
    "test_reconcile": (
        INSIDE,
        _few("test_it_goes_on_where_it_ended_and_begins_anew_after_the_last"),
    ),
    "test_redeem_link": (INSIDE, _few("test_of_many_at_once_one_gets_in")),
    "test_retry": (INSIDE, NO_LEDGER),
    "test_send_messages": (INSIDE, _few("test_two_workers_do_not_send_one_message_twice")),
    "test_send_sign_in": (INSIDE, _few("test_one_mail_a_mailbox_and_each_opens_only_its_own")),
    "test_settings": (INSIDE, NO_LEDGER),
    "test_show_licences": (INSIDE, _few("test_merged_customers_are_shown_once")),
    "test_signed_links": (INSIDE, NO_LEDGER),
    "test_site_browser": (SITE, SITE),
    "test_site_build": (SITE, SITE),
    "test_site_check": (INSIDE_WHEN_ASKED, SITE),
    "test_smtp_encryption": (MACHINE, NO_LEDGER),
    "test_sqlite_ledger": (SQLITE, SQLITE),
    "test_start_checkout": (
        INSIDE,
        _few("test_lifetime_that_came_with_a_merge_is_not_sold_again"),
    ),
    "test_store_bodies": (WORKER_WHEN_ASKED, STORE_WHEN_ASKED),
    "test_store_buyers": (WORKER_WHEN_ASKED, STORE_WHEN_ASKED),
    "test_store_command": (COMMAND, COMMAND),
    "test_store_fleet": (MACHINE, MACHINE),
    "test_store_forms": (WORKER_WHEN_ASKED, STORE_WHEN_ASKED),
    "test_store_health": (SECOND_APP, SECOND_APP),
    "test_store_journey": (WORKER, Runs("store", None)),
    "test_store_limits": (SECOND_APP, STORE_WHEN_ASKED),
    "test_store_links": (WORKER_WHEN_ASKED, STORE_WHEN_ASKED),
    "test_store_load": (COMMAND, COMMAND),
    "test_store_logs": (SECOND_APP, STORE_WHEN_ASKED),
    "test_store_machine": (SOCKETS, SLOW_TOWN),
    "test_store_on_pyodide": (OWN, BINDING),
    "test_store_on_workerd": (OWN, BINDING),
    "test_store_refusals": (INSIDE, NO_LEDGER),
    "test_store_security": (WORKER_WHEN_ASKED, STORE_WHEN_ASKED),
    "test_store_sessions": (WORKER_WHEN_ASKED, STORE_WHEN_ASKED),
    "test_store_start": (COMMAND, COMMAND),
    "test_store_strangers": (WORKER_WHEN_ASKED, STORE_WHEN_ASKED),
    "test_store_traces": (SECOND_APP, SECOND_APP),
    "test_store_visitors": (WORKER_WHEN_ASKED, STORE_WHEN_ASKED),
    "test_store_webhook": (SECOND_APP, SECOND_APP),
    "test_stripe_changes": (SOCKETS, NO_LEDGER),
    "test_stripe_purchases": (SOCKETS, NO_LEDGER),
    "test_sweep_events": (
        INSIDE,
        _few("test_a_sweeper_that_is_stopped_leaves_nobody_at_work"),
    ),
    "test_webhook_signature": (INSIDE, NO_LEDGER),
    "test_worker_host": (INSIDE, STORE_WHEN_ASKED),
    "test_workroom": (
        INSIDE,
        _few("test_a_mail_that_is_just_being_handed_over_is_noted_before_it_stops"),
    ),
}


_PROCESS = "looks into this process, or opens another app in it"
_NODE = "Node's own server answers first, as Cloudflare's edge does"
# Tests of modules that visit the Worker which do not.
NOT_AT_WORKER: dict[str, str] = {
    "test_a_body_without_a_length_is_counted_as_it_comes": _NODE,
    "test_a_bug_of_ours_is_told_without_what_it_was": _PROCESS,
    "test_a_host_that_the_request_names_appears_nowhere": _NODE,
    "test_a_known_address_and_an_unknown_one_are_the_same_work": _PROCESS,
    "test_a_known_address_and_an_unknown_one_take_the_same_time": _PROCESS,
    "test_a_method_that_an_address_does_not_have": _NODE,
    "test_a_visitor_who_leaves_in_the_middle_of_a_form_is_no_error": _PROCESS,
    "test_every_form_of_the_store_is_tried_here": "that store has an operator's desk besides",
    "test_https_stays_https": _PROCESS,
    "test_on_https_cookies_are_bound_to_the_host": _PROCESS,
    "test_only_the_stores_secret_writes_a_session": "that store has another secret",
    "test_secrets_are_changed_while_people_are_signed_in": _PROCESS,
    "test_what_others_say_when_they_fail_is_not_repeated": "an unsigned reply is another fault",
}


_FILE = "writes into SQLite's file behind the store's back"
# Tests of modules that run on D1 which do not.
NOT_ON_D1: dict[str, str] = {
    "test_who_is_merged_away_or_unknown_is_not_erased": _FILE,
    "test_a_half_restored_ledger_is_unwell_until_it_is_restored": _FILE,
    "test_a_store_with_a_half_restored_ledger_starts": _FILE,
}


def inside_pyodide() -> list[str]:
    """The files whose tests run in the Worker's Python."""
    return [
        f"{module}.py"
        for module, (pyodide, _) in TABLE.items()
        if isinstance(pyodide, Runs) and pyodide.how == "inside" and pyodide.takes("", PYODIDE)
    ]


def runs_on_d1(module: str, how: str, test: str) -> bool:
    """Whether a test also runs with its ledger on D1, got from that fixture."""
    row = TABLE.get(module, ("", ""))[1]
    if test in NOT_ON_D1 or not isinstance(row, Runs):
        return False
    return row.how == how and row.takes(test, D1)


def runs_on_worker(module: str, test: str) -> bool:
    """Whether a test also visits the deployed bundle."""
    row = TABLE.get(module, ("", ""))[0]
    if test in NOT_AT_WORKER or not isinstance(row, Runs):
        return False
    return row.how == "worker" and row.takes(test, PYODIDE)
