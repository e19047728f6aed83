"""Sign in with an OpenID Connect provider: authorization code with PKCE."""

import hashlib
import hmac
import json
import re
import secrets
import time
from functools import lru_cache
from typing import Annotated, Any

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy import select
from sqlalchemy.orm import Session

from meninx.errors import OptionError
from meninx.web.accounts import NAME, add_user, open_session
from meninx.web.audit import record
from meninx.web.database import User
from meninx.web.pages import page, with_cookie
from meninx.web.serving import SessionNeeded, Web, WebNeeded

COOKIE = "meninx-oidc"
# How long somebody may take to sign in over there, and how long the provider may take to answer.
MAX_SECONDS, PATIENCE_SECONDS = 600, 10
ALGORITHMS = ["RS256", "ES256", "PS256"]

oidc = APIRouter(include_in_schema=False)


@lru_cache(maxsize=4)
def provider(issuer: str) -> dict[str, Any]:
    """Return what a provider says of itself (OpenID Connect Discovery 1.0, section 4).

    Args:
        issuer: Its address.

    Returns:
        Addresses by name.

    Raises:
        OptionError: If it does not answer, or calls itself otherwise.
    """
    told = _asked(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if told.get("issuer") != issuer:
        raise OptionError(f"the provider calls itself {told.get('issuer')!r}, not {issuer!r}")
    return told


def _asked(address: str) -> dict[str, Any]:
    try:
        answer = requests.get(address, timeout=PATIENCE_SECONDS)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise OptionError("the sign-in provider does not answer; use a password") from error
    return told


def _client(web: Web, request: Request) -> OAuth2Session:
    return OAuth2Session(
        web.settings.oidc_client,
        web.settings.oidc_secret,
        scope="openid profile",
        redirect_uri=str(request.url_for("came_back")),
        code_challenge_method="S256",
    )


def sealed(values: dict[str, Any], key: bytes) -> str:
    """Return values as a text that only this server can have written."""
    text = json.dumps(values | {"at": int(time.time())}).encode().hex()
    return f"{text}.{hmac.new(key, text.encode(), hashlib.sha256).hexdigest()}"


def opened(text: str, key: bytes) -> dict[str, Any]:
    """Return what was sealed.

    Args:
        text: As `sealed` returned it.
        key: The same.

    Returns:
        The values.

    Raises:
        HTTPException: If it was changed or is too old.
    """
    sealed_text, _, mark = text.partition(".")
    right = hmac.new(key, sealed_text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mark.encode(), right.encode()):
        raise HTTPException(400, "begin to sign in again")
    values: dict[str, Any] = json.loads(bytes.fromhex(sealed_text))
    if time.time() - values["at"] > MAX_SECONDS:
        raise HTTPException(400, "that took too long; begin to sign in again")
    return values


@oidc.get("/oidc")
def go_there(request: Request, web: WebNeeded) -> Response:
    """Send somebody to the provider."""
    if not web.settings.oidc_issuer:
        raise HTTPException(404, "no provider is set")
    verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    address, state = _client(web, request).create_authorization_url(
        provider(web.settings.oidc_issuer)["authorization_endpoint"],
        code_verifier=verifier,
        nonce=nonce,
    )
    answer = RedirectResponse(address, 303)
    kept = sealed({"state": state, "verifier": verifier, "nonce": nonce}, web.key)
    # Lax: it has to come along when the provider sends them back.
    answer.set_cookie(
        COOKIE, kept, httponly=True, samesite="lax", secure=web.settings.secure_cookies,
        max_age=MAX_SECONDS, path="/oidc",
    )  # fmt: skip
    return answer


@oidc.get("/oidc/back")
def came_back(
    request: Request, web: WebNeeded, session: SessionNeeded,
    state: Annotated[str, Query()] = "", code: Annotated[str, Query()] = "",
) -> Response:  # fmt: skip
    """Open a session for whom the provider vouches."""
    if not web.settings.oidc_issuer:
        raise HTTPException(404, "no provider is set")
    kept = opened(request.cookies.get(COOKIE, ""), web.key)
    if not code or not hmac.compare_digest(state.encode(), kept["state"].encode()):
        raise HTTPException(400, "begin to sign in again")
    claims = _claims(web, request, code, kept)
    user = user_of(session, web.settings.oidc_issuer, claims)
    if not user.active:
        raise HTTPException(403, "this account is closed")
    secret, _ = open_session(session, user)
    # A strict cookie does not travel along a redirection that began elsewhere: a page goes on.
    answer = with_cookie(page(web, "signed-in.html"), secret, web)
    answer.delete_cookie(COOKIE, path="/oidc")
    return answer


def _claims(web: Web, request: Request, code: str, kept: dict[str, Any]) -> dict[str, Any]:
    """Return what the provider says of somebody (OpenID Connect Core 1.0, section 3.1.3.7)."""
    there = provider(web.settings.oidc_issuer)
    try:
        token = _client(web, request).fetch_token(
            there["token_endpoint"], code=code, code_verifier=kept["verifier"],
            timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        keys = KeySet.import_key_set(_asked(there["jwks_uri"]))  # type: ignore[arg-type]
        told = jwt.decode(token["id_token"], keys, algorithms=ALGORITHMS)
        jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": web.settings.oidc_issuer},
            aud={"essential": True, "value": web.settings.oidc_client},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": kept["nonce"]},
        ).validate(told.claims)
    except (OAuthError, JoseError, KeyError, requests.RequestException) as error:
        raise HTTPException(400, "the provider's answer does not hold; try again") from error
    return dict(told.claims)


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
