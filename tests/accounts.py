"""Accounts at a Label Studio server, made as raters make them."""

from __future__ import annotations

import httpx


def sign_up(url: str, invite: str, email: str, password: str) -> str:
    """Make a rater's account through the invite link, as a browser would; returns its personal access token.

    `users.create` of the API makes accounts that cannot log in.
    """
    with httpx.Client(base_url=url, follow_redirects=False, timeout=60) as http:
        http.get(invite)
        form = {"email": email, "password": password, "csrfmiddlewaretoken": http.cookies.get("csrftoken") or ""}
        assert http.post(invite, data=form, headers={"Referer": invite}).status_code == 302
        made = http.post("/api/token/", headers={"X-CSRFToken": http.cookies.get("csrftoken") or "", "Referer": url})
        assert made.status_code == 201
        return str(made.json()["token"])
