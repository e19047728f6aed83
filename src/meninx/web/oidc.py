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

from meninx.errors import OptionError
from meninx.web.accounts import NAME, add_user, open_session
from meninx.web.audit import record
from meninx.web.database import User
from meninx.web.pages import page, with_cookie
from meninx.web.serving import SessionNeeded, Web, WebNeeded, local_address

COOKIE, COOKIE_PATH = "meninx-oidc", "/oidc"
# How long somebody may take to sign in over there, and how long the provider may take to answer.
MAX_SECONDS, TIMEOUT_SECONDS = 600, 10
# How far clocks may differ, seconds.
LEEWAY_SECONDS = 60
# Whatever the provider offers: with "none", or a secret that both know, anybody could sign.
ALGORITHMS = ["RS256", "ES256", "PS256"]

oidc = APIRouter(include_in_schema=False)


def add_provider(app: FastAPI, web: Web) -> None:
    """Let people sign in with the provider of the settings, if there is one.

    Between leaving for the provider and coming back a signed cookie keeps state, nonce and PKCE's
    verifier. It is no session: that of somebody who signed in stays on the server.

    Args:
        app: The application, with the routes of `oidc`.
        web: Its settings and its key.
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
        # The server's key signs opinions too: what is signed for one end is of no use for another.
        secret_key=hmac.new(web.key, b"sign-in by a provider", hashlib.sha256).hexdigest(),
        session_cookie=COOKIE,
        max_age=MAX_SECONDS,
        path=COOKIE_PATH,
        # It has to come along when the provider sends somebody back.
        same_site="lax",
        https_only=web.settings.secure_cookies,
    )


async def provider(request: Request, web: WebNeeded) -> StarletteOAuth2App:
    """Return the provider's client, once it is known what the provider says of itself.

    Args:
        request: That of somebody who signs in.
        web: The server's settings.

    Returns:
        The client; it keeps the provider's addresses and keys.

    Raises:
        HTTPException: 404 where no provider is set.
        OptionError: If it does not answer, or calls itself otherwise.

    References:
        OpenID Connect Discovery 1.0, section 4.
    """
    issuer = web.settings.oidc_issuer
    if not issuer:
        raise HTTPException(404, "no provider is set")
    client: StarletteOAuth2App = request.app.state.provider
    try:
        known = await client.load_server_metadata()
    except (HTTPError, ValueError) as error:
        raise OptionError("the sign-in provider does not answer; use a password") from error
    name = known.get("issuer")
    if name != issuer:
        # Asked again next time: a provider that was set wrong may have been set right.
        known.clear()
        raise OptionError(f"the provider calls itself {name!r}, not {issuer!r}")
    known["id_token_signing_alg_values_supported"] = ALGORITHMS
    return client


ProviderNeeded = Annotated[Any, Depends(provider)]


@oidc.get("/oidc")
async def login(
    request: Request, client: ProviderNeeded, following: Annotated[str, Query(alias="next")] = "/"
) -> Response:
    """Send somebody to the provider."""
    request.session["next"] = local_address(following)
    answer: Response = await client.authorize_redirect(request, request.url_for("callback"))
    answer.status_code = 303
    return answer


async def vouched_claims(
    request: Request, web: WebNeeded, client: ProviderNeeded, code: Annotated[str, Query()] = ""
) -> dict[str, Any]:
    """Return what the provider says of somebody (OpenID Connect Core 1.0, section 3.1.3.7).

    Args:
        request: The one that the provider sends back.
        web: The server's settings.
        client: The provider's client.
        code: What the provider gives a token for.

    Returns:
        Claims of an ID token that holds.

    Raises:
        HTTPException: 400 if nobody of this browser went there, that was long ago, or the token
            does not hold.
    """
    if not code:
        raise HTTPException(400, "begin to sign in again")
    try:
        token = await client.authorize_access_token(
            request,
            leeway=LEEWAY_SECONDS,
            claims_options={
                "iss": {"essential": True, "value": web.settings.oidc_issuer},
                "aud": {"essential": True, "value": web.settings.oidc_client},
                "exp": {"essential": True},
                "sub": {"essential": True},
            },
        )
        return dict(token["userinfo"])
    except OAuthError as error:
        # Of a state that is unknown here, or what the provider answers instead of a token.
        raise HTTPException(400, "begin to sign in again") from error
    except (JoseError, HTTPError, KeyError, ValueError) as error:
        raise HTTPException(400, "the provider's answer does not hold; try again") from error


@oidc.get("/oidc/back")
def callback(
    request: Request,
    web: WebNeeded,
    # First: while the provider is asked, nothing of the database is held.
    claims: Annotated[dict[str, Any], Depends(vouched_claims)],
    session: SessionNeeded,
) -> Response:
    """Open a session for whom the provider vouches."""
    user = user_of(session, web.settings.oidc_issuer, claims)
    if not user.active:
        raise HTTPException(403, "this account is closed")
    secret, _ = open_session(session, user)
    # A strict cookie does not travel along a redirection that began elsewhere: a page goes on.
    goal = request.session.pop("next", "/")
    return with_cookie(page(web, "signed-in.html", following=goal), secret, web)


def user_of(session: Session, issuer: str, claims: dict[str, Any]) -> User:
    """Return the account of somebody whom the provider knows, a reader's, made the first time.

    Args:
        session: Of the database.
        issuer: The provider.
        claims: What it says; `sub` tells people apart, names may change.

    Returns:
        The account.
    """
    subject = f"{issuer}#{claims['sub']}"[:400]
    user = session.scalar(select(User).where(User.subject == subject))
    if user is not None:
        return user
    wanted = str(claims.get("preferred_username") or claims.get("email") or claims["sub"])
    base = re.sub(r"[^A-Za-z0-9._@-]", "-", wanted)[:90].lstrip("._@-") or "reader"
    name, number = base, 1
    # A local account of that name is somebody else's.
    while session.scalar(select(User.id).where(User.name == name)) is not None:
        number += 1
        name = f"{base}-{number}"
    if not NAME.fullmatch(name):
        raise OptionError(f"the provider's name {name!r} can't be an account's")
    user = add_user(session, name, secrets.token_urlsafe(32))
    user.subject = subject
    record(session, name, "account added", detail="by the sign-in provider")
    return user
