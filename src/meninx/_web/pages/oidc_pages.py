"""Sign in with an OpenID Connect provider: authorization code with PKCE, by Authlib's client."""

import hashlib
import hmac
import re
import secrets
from typing import Annotated, Any

from authlib.integrations.starlette_client import OAuth, OAuthError, StarletteOAuth2App
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from httpx2 import HTTPError
from joserfc.errors import JoseError
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.middleware.sessions import SessionMiddleware

from meninx._errors import OptionError
from meninx._web.auth.accounts import NAME, add_user, open_session
from meninx._web.pages.responses import page, with_cookie
from meninx._web.serving import SessionNeeded, Web, WebNeeded, local_address
from meninx._web.store.audit import record
from meninx._web.store.database import User

COOKIE, COOKIE_PATH = "meninx-oidc", "/oidc"
# Longest time to sign in at the provider, and for an answer of the provider.
MAX_SECONDS, TIMEOUT_SECONDS = 600, 10
# Tolerated difference between the clocks of server and provider, seconds.
_LEEWAY_SECONDS = 60
# Public-key signatures only, even if the provider offers "none", which can be forged.
_ALGORITHMS = ["RS256", "ES256", "PS256"]

oidc_pages = APIRouter(include_in_schema=False)


def add_provider(app: FastAPI, web: Web) -> None:
    """Register the sign-in provider of the settings, if there is one.

    From the login to the callback a signed cookie stores state, nonce and PKCE's verifier. It is no
    session: sessions of people who have signed in are stored on the server.

    Args:
        app: The application, with the routes of `oidc_pages`.
        web: State of the server, with its settings and its key.
    """
    issuer = web.settings.oidc_issuer
    app.state.provider = OAuth().register(
        "oidc",
        client_id=web.settings.oidc_client,
        client_secret=web.settings.oidc_secret,
        server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": "openid profile",
            "code_challenge_method": "S256",
            "timeout": TIMEOUT_SECONDS,
        },
    )
    app.add_middleware(
        SessionMiddleware,
        # Derived from the key of opinions, so that neither signature is valid as the other.
        secret_key=hmac.new(web.key, b"sign-in by a provider", hashlib.sha256).hexdigest(),
        session_cookie=COOKIE,
        max_age=MAX_SECONDS,
        path=COOKIE_PATH,
        # The browser has to send it when the provider redirects back.
        same_site="lax",
        https_only=web.settings.secure_cookies,
    )


async def provider(request: Request, web: WebNeeded) -> StarletteOAuth2App:
    """Return the provider's client, with the provider's metadata loaded and checked.

    Args:
        request: Request of a login.
        web: State of the server, with its settings.

    Returns:
        The client; it caches the provider's addresses and keys.

    Raises:
        HTTPException: 404 where no provider is set.
        OptionError: If the provider does not answer, or names another issuer than the settings.

    References:
        OpenID Connect Discovery 1.0, section 4.
    """
    issuer = web.settings.oidc_issuer
    if not issuer:
        raise HTTPException(404, "no sign-in provider is set; sign in with a password")
    client: StarletteOAuth2App = request.app.state.provider
    try:
        metadata = await client.load_server_metadata()
    except (HTTPError, ValueError) as error:
        raise OptionError("the sign-in provider does not answer; use a password") from error
    name = metadata.get("issuer")
    if name != issuer:
        # So that the next login loads it again, after the settings were corrected.
        metadata.clear()
        raise OptionError(
            f"the sign-in provider names the issuer {name!r}, expected {issuer!r}; set "
            "MENINX_WEB_OIDC_ISSUER to the provider's own name"
        )
    metadata["id_token_signing_alg_values_supported"] = _ALGORITHMS
    return client


ProviderNeeded = Annotated[Any, Depends(provider)]


@oidc_pages.get("/oidc")
async def login(
    request: Request, client: ProviderNeeded, following: Annotated[str, Query(alias="next")] = "/"
) -> Response:
    """Redirect to the provider's sign-in page."""
    request.session["next"] = local_address(following)
    response: Response = await client.authorize_redirect(request, request.url_for("callback"))
    response.status_code = 303
    return response


async def _verified_claims(
    request: Request, web: WebNeeded, client: ProviderNeeded, code: Annotated[str, Query()] = ""
) -> dict[str, Any]:
    """Return the verified claims of an ID token (OpenID Connect Core 1.0, section 3.1.3.7).

    Args:
        request: Request of the browser that the provider redirected back.
        web: State of the server, with its settings.
        client: The provider's client.
        code: Authorization code, exchanged for a token at the provider.

    Returns:
        Claims of a valid ID token.

    Raises:
        HTTPException: 400 if the login did not begin in this browser, began more than
            `MAX_SECONDS` ago, or the token is not valid.
    """
    if not code:
        raise HTTPException(400, "begin to sign in again")
    try:
        token = await client.authorize_access_token(
            request,
            leeway=_LEEWAY_SECONDS,
            claims_options={
                "iss": {"essential": True, "value": web.settings.oidc_issuer},
                "aud": {"essential": True, "value": web.settings.oidc_client},
                "exp": {"essential": True},
                "sub": {"essential": True},
            },
        )
        return dict(token["userinfo"])
    except OAuthError as error:
        # The state is unknown here, or the provider answered with an error instead of a token.
        raise HTTPException(400, "begin to sign in again") from error
    except (JoseError, HTTPError, KeyError, ValueError) as error:
        raise HTTPException(
            400, "the sign-in provider's answer is not valid; begin to sign in again"
        ) from error


@oidc_pages.get("/oidc/back")
def callback(
    request: Request,
    web: WebNeeded,
    # Before the session: no connection to the database is held while the provider answers.
    claims: Annotated[dict[str, Any], Depends(_verified_claims)],
    session: SessionNeeded,
) -> Response:
    """Open a session for a person who was authenticated by the provider."""
    user = _user_of(session, web.settings.oidc_issuer, claims)
    if not user.active:
        raise HTTPException(403, "this account is closed")
    secret, _ = open_session(session, user)
    # A strict cookie is not sent after a redirection from another site: an own page continues.
    goal = request.session.pop("next", "/")
    return with_cookie(page(web, "signed-in.html", following=goal), secret, web)


def _user_of(session: Session, issuer: str, claims: dict[str, Any]) -> User:
    """Return the account of a person of the provider; the first time a reader's account is added.

    Args:
        session: Database session.
        issuer: Address of the provider.
        claims: Claims of the ID token; `sub` identifies the person, names may change.

    Returns:
        The account.
    """
    subject = f"{issuer}#{claims['sub']}"[:400]
    user = session.scalar(select(User).where(User.subject == subject))
    if user is not None:
        return user
    preferred = str(claims.get("preferred_username") or claims.get("email") or claims["sub"])
    base = re.sub(r"[^A-Za-z0-9._@-]", "-", preferred)[:90].lstrip("._@-") or "reader"
    name, number = base, 1
    # A local account of the same name belongs to another person.
    while session.scalar(select(User.id).where(User.name == name)) is not None:
        number += 1
        name = f"{base}-{number}"
    if not NAME.fullmatch(name):
        raise OptionError(f"the provider's name {name!r} can't be an account's")
    user = add_user(session, name, secrets.token_urlsafe(32))
    user.subject = subject
    record(session, name, "account added", detail="by the sign-in provider")
    return user
