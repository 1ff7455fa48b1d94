"""The store as an ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from shimmy_store.errors import StoreError
from shimmy_store.server import (
    health,
    licence_pages,
    operator_copies,
    operator_desk,
    selling,
    webhook,
)
from shimmy_store.server.guard import Guard
from shimmy_store.server.health import HealthDesk
from shimmy_store.server.meters import Meters
from shimmy_store.server.operator_gate import OperatorHandler, operated
from shimmy_store.server.pages import show_asset
from shimmy_store.server.problems import answer_error, answer_unknown
from shimmy_store.server.visit import Handler, page
from shimmy_store.server.workroom import Workroom
from shimmy_store.settings import Settings
from shimmy_store.wiring import Shop


def create_app(
    settings: Settings,
    open_shop: Callable[[Settings], AbstractAsyncContextManager[Shop]],
    *,
    works: bool = True,
    shared_meters: str = "",
) -> Starlette:
    """``works``: looks at events and sends mail beside answering.

    ``shared_meters``: the folder in which this worker and its siblings count.
    """
    meters = Meters(shared_meters)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_shop(settings) as shop:
            furnish_app(app, shop, meters)
            if works:
                app.state.workroom.start()
            try:
                yield
            finally:
                await app.state.workroom.stop()

    return bare_app(settings, meters, lifespan)


def furnish_app(app: Starlette, shop: Shop, meters: Meters) -> None:
    """What the handlers work with."""
    app.state.shop = shop
    app.state.meters = meters
    app.state.tracer = shop.tracer
    app.state.started = shop.now()
    app.state.health = HealthDesk(shop)
    app.state.workroom = Workroom(shop, meters)


def bare_app(
    settings: Settings,
    meters: Meters,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """Addresses and what holds for all of them; it answers once it is furnished."""
    app = Starlette(
        # Without a token there is no such address.
        routes=[*_routes(), *(_operator_routes() if settings.operator_tokens else ())],
        middleware=[Middleware(Guard, settings=settings, meters=meters)],
        exception_handlers={
            StoreError: answer_error,
            HTTPException: answer_unknown,
        },
        lifespan=lifespan,
    )
    # It would lead to the host that the request names, which may be anybody's.
    app.router.redirect_slashes = False
    return app


def _routes() -> list[Route]:
    def at(path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(path, page(handler), methods=[method])

    return [
        at("/", selling.pricing),
        at("/pricing", selling.pricing),
        at("/buy", selling.buy),
        at("/create-checkout-session", selling.create_checkout_session, "POST"),
        at("/success", selling.success),
        at("/cancel", selling.cancel),
        at("/view-license", licence_pages.view_license),
        at("/view-license", licence_pages.prove_licence, "POST"),
        at("/sign-in", licence_pages.sign_in),
        at("/sign-out", licence_pages.sign_out, "POST"),
        at("/create-portal-session", licence_pages.create_portal_session, "POST"),
        at("/free-machine", licence_pages.free_machine, "POST"),
        at("/merge", licence_pages.ask_to_merge),
        at("/merge", licence_pages.merge, "POST"),
        Route("/stripe-webhook", webhook.stripe_webhook, methods=["POST"]),
        Route("/alive", health.alive),
        Route("/ready", health.ready),
        Route("/health", health.health),
        Route("/metrics", health.metrics),
        Route("/assets/{digest}/{name}", show_asset),
    ]


def _operator_routes() -> list[Route]:
    def at(path: str, handler: OperatorHandler, method: str = "POST") -> Route:
        return Route(f"/operator/{path}", operated(handler), methods=[method])

    return [
        at("figures", operator_desk.operator_figures, "GET"),
        at("customers", operator_desk.operator_customers),
        at("look", operator_desk.operator_look),
        at("export", operator_desk.operator_export),
        at("erase", operator_desk.operator_erase),
        at("alarms", operator_desk.operator_alarms, "GET"),
        at("alarms/done", operator_desk.operator_alarm_done),
        at("mail-probe", operator_desk.operator_mail_probe),
        at("dump", operator_copies.operator_dump, "GET"),
        at("restore", operator_copies.operator_restore),
    ]
