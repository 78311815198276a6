"""Label Studio Community: the server as a process of its own, and the few API calls that review needs.

The server never shares our environment (it pins libraries that ours cannot live with): it is installed once into the
user's cache, with a migrated empty database beside it as a template, because migrating takes a minute and copying does
not. Each instance has its own data folder outside the workspace, since that database holds accounts and tokens.
Facts about the API that shape this module: the server validates neither tasks nor annotations; importing the same
task twice makes two; local files are served only below a storage's path, which must lie below the document root.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import DataError, UsageError, missing_extra
from curation.ids import sha256_bytes
from curation.types import Json

VERSION = "1.23.2"
ADMIN = "admin@localhost.local"
BATCH = 1000  # tasks per import; the server needs memory for ten times the body
PART = 250  # tasks per export: their ids make an address of 5 KB, and proxies take 8
_QUIET = {
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LATEST_VERSION_CHECK": "false",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
}
# Its own keys take three fingers, and Alt with an arrow leaves the page from a text field. Play is heard in text
# fields, too, so no key that writes will do; hops and ends are heard only while Shift is held.
_KEYS = {
    "annotation:submit": ("ctrl+enter,f4", "Submit annotation"),
    "media:playpause": ("f2", "Play/pause"),
    "media:step-backward": ("left", "One frame back"),
    "media:step-forward": ("right", "One frame forward"),
    "video:hop-backward": ("shift+left", "Ten frames back"),
    "video:hop-forward": ("shift+right", "Ten frames forward"),
    "video:rewind": ("shift+home", "First frame"),
    "video:fastforward": ("shift+end", "Last frame"),
    "region:focus": ("alt+enter", "Focus first focusable region"),  # Enter must close "this is required"
}


# -- the server's own environment ------------------------------------------------------------------------------------
def cache_dir() -> Path:
    """Where the server's environment and template database live."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "vlm-autodrive", f"label-studio-{VERSION}")


def instance_dir(workspace: Path) -> Path:
    """The data folder of the server of one workspace: outside it, because it holds accounts and tokens."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    tag = sha256_bytes(str(workspace.resolve()).encode())[:8]
    return Path(base, "vlm-autodrive", "label-studio", f"{workspace.name}-{tag}")


def install() -> Path:
    """Install the server and make its template database unless that was done; returns the executable.

    Takes minutes (1 GB) the first time. Raises DataError with the log's path when it fails.
    """
    root = cache_dir()
    root.mkdir(parents=True, exist_ok=True)
    program = root / "venv" / "bin" / "label-studio"
    with (root / "lock").open("w") as lock, (root / "install.log").open("a") as log:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second run waits for the first one's installation
        if not (root / "venv" / ".complete").exists():
            shutil.rmtree(root / "venv", ignore_errors=True)
            python = str(root / "venv" / "bin" / "python")
            if uv := shutil.which("uv"):
                steps = [[uv, "venv", "-q", "--python", sys.executable, str(root / "venv")]]
                steps += [[uv, "pip", "install", "-q", "--python", python, f"label-studio=={VERSION}"]]
            else:
                steps = [[sys.executable, "-m", "venv", str(root / "venv")]]
                steps += [[python, "-m", "pip", "install", "-q", f"label-studio=={VERSION}"]]
            for step in steps:
                _checked(step, log.name, log)
            (root / "venv" / ".complete").touch()
        if not (root / "template.sqlite3").exists():
            work = root / "template"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            env = {**os.environ, **_QUIET, "LABEL_STUDIO_BASE_DATA_DIR": str(work)}
            _checked([str(program), "init", "-q"], log.name, log, env)
            os.replace(work / "label_studio.sqlite3", root / "template.sqlite3")
            shutil.rmtree(work)  # it holds a secret key that no instance may share
    return program


def _checked(command: list[str], log_name: str, log: Any, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, check=False)
    if done.returncode:
        raise DataError(f"installing Label Studio {VERSION} failed; see {log_name}, then run the same command again")


# -- a server process ------------------------------------------------------------------------------------------------
@dataclass
class Server:
    """A running server of ours. Its token and password exist only here and, hashed or not, in its own database."""

    url: str
    token: str
    password: str
    process: subprocess.Popen[bytes]
    media: Path

    def stop(self) -> None:
        """End the process; returns when it is gone."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def backup(instance: Path, keep: int = 5) -> Path | None:
    """Copy the database of an instance of ours, running or not, to its folder `backups`; the newest `keep` stay."""
    database = instance / "data" / "label_studio.sqlite3"
    if not database.exists():
        return None
    folder = instance / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.sqlite3"
    with closing(sqlite3.connect(database)) as here, closing(sqlite3.connect(path)) as there:
        here.backup(there)
    path.chmod(0o600)
    for old in sorted(folder.glob("*.sqlite3"))[:-keep]:
        old.unlink()
    return path


@contextmanager
def serve(instance: Path, blobs: Path, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    """Run the server of `instance` with the media folder `blobs` until the block ends.

    Port 0 takes a free one. The admin's token is new each time; the password is LABEL_STUDIO_PASSWORD from the
    environment, else new each time. Raises DataError when it is running already or does not come up.
    """
    program = install()
    media = instance / "media"
    for folder in (instance / "data", media):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    link = media / "clips"
    if link.is_symlink():
        link.unlink()
    link.symlink_to(blobs.resolve(), target_is_directory=True)  # blob names are hashes: they name no source
    token = secrets.token_hex(20)
    password = os.environ.get("LABEL_STUDIO_PASSWORD") or secrets.token_urlsafe(12)
    port = port or _free_port(host)
    with (instance / "lock").open("w") as lock, (instance / "server.log").open("ab") as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(f"{instance}: its Label Studio runs already; stop that one first") from None
        _admin(instance / "data" / "label_studio.sqlite3", token, password)
        env = {
            **os.environ,
            **_QUIET,
            "LABEL_STUDIO_BASE_DATA_DIR": str(instance / "data"),
            "LABEL_STUDIO_EDITOR_KEYMAP": json.dumps({n: {"key": k, "description": d} for n, (k, d) in _KEYS.items()}),
            "LABEL_STUDIO_USERNAME": ADMIN,
            "LABEL_STUDIO_PASSWORD": password,
            "LABEL_STUDIO_USER_TOKEN": token,
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(media),
        }
        command = [str(program), "start", "--no-browser", "--internal-host", host, "--port", str(port)]
        # The child inherits the lock: it stays held while the server lives, even if we are killed.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, pass_fds=[lock.fileno()]
        )
        server = Server(f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}", token, password, process, media)
        try:
            _await(server, instance / "server.log")
            yield server
        finally:
            server.stop()


def _free_port(host: str) -> int:
    with socket.socket() as s:
        s.bind((host, 0))
        return int(s.getsockname()[1])


def _admin(database: Path, token: str, password: str) -> None:
    """A fresh copy of the template, or new credentials for the admin of an existing database.

    Django's password format is `pbkdf2_sha256$<iterations>$<salt>$<base64>` (django.contrib.auth.hashers).
    """
    if not database.exists():
        beside = database.with_suffix(".part")
        shutil.copyfile(cache_dir() / "template.sqlite3", beside)
        os.replace(beside, database)
        return
    salt, rounds = secrets.token_hex(8), 600_000
    digest = base64.b64encode(hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), rounds)).decode()
    with closing(sqlite3.connect(database)) as db, db:
        for (user,) in db.execute("select id from htx_user where email = ?", (ADMIN,)).fetchall():
            stored = f"pbkdf2_sha256${rounds}${salt}${digest}"
            db.execute("update htx_user set password = ? where id = ?", (stored, user))
            db.execute("update authtoken_token set key = ? where user_id = ?", (token, user))


def _await(server: Server, log: Path, timeout_s: float = 240.0) -> None:
    """Until *our* server answers: the token tells it from another one that took the port."""
    end = time.monotonic() + timeout_s
    request = urllib.request.Request(
        f"{server.url}/api/current-user/whoami", headers={"Authorization": f"Token {server.token}"}
    )
    while time.monotonic() < end and server.process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise DataError(f"Label Studio did not come up at {server.url}; see the end of {log}")


# -- API -------------------------------------------------------------------------------------------------------------
def address(given: str | None) -> str:
    """The server to talk to, for connecting and for messages; empty when none is set."""
    return given or os.environ.get("LABEL_STUDIO_URL", "")


@contextmanager
def connect(url: str | None = None, token: str | None = None) -> Iterator[Any]:
    """The SDK's client for a server, while the block runs: `url` and `token`, else LABEL_STUDIO_URL and _API_KEY.

    Raises UsageError when they are not set or the extra is not installed. A refusal or a silence of the server
    anywhere in the block becomes a DataError, one line that says what to do.
    """
    url, token = address(url), token or os.environ.get("LABEL_STUDIO_API_KEY")
    if not url or not token:
        raise UsageError(
            "no Label Studio given: `autodrive review serve` prints LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY to set"
        )
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"Label Studio's address {url!r} begins with neither http:// nor https://; put it in front")
    import httpx

    try:
        from label_studio_sdk import LabelStudio
        from label_studio_sdk.core.api_error import ApiError
    except ImportError:
        raise missing_extra("review", "reviewing in Label Studio") from None
    try:
        with httpx.Client(timeout=300, follow_redirects=True) as http:
            client = LabelStudio(base_url=url, api_key=token, httpx_client=http)
            client.users.whoami()
            yield client
    except ApiError as e:
        detail = " ".join(str(e.body).split())[:300]
        raise DataError(f"Label Studio at {url} answered {e.status_code}: {detail}") from None
    except httpx.TransportError as e:
        again = "when it is up, run the same command again: it goes on where it stopped"
        raise DataError(f"Label Studio at {url} does not answer ({type(e).__name__}); {again}") from None


def projects(client: Any, prefix: str) -> dict[str, int]:
    """Projects whose title begins with `prefix`: title → id (the oldest of equal titles)."""
    listed = client.projects.list(include="id,title", page_size=100)
    found = sorted(((p.title or "", int(p.id)) for p in listed), reverse=True)
    return {title: number for title, number in found if title.startswith(prefix)}


def ensure_project(
    client: Any, title: str, config: str, known: int | None = None, *, raters: int, about: str, media: Path | None
) -> int:
    """The project `known`, else a new one, as it should be. `media`: a folder of ours that its server may show.

    A config is never edited: the title carries its hash, so a changed form is another project.
    """
    if known is None:
        made = client.projects.create(
            title=title, label_config=config, description=about, maximum_annotations=raters, show_skip_button=False,
            sampling="Sequential sampling", show_collab_predictions=True, show_annotation_history=False,
        )  # fmt: skip
        known = int(made.id)
    elif client.projects.get(id=known).maximum_annotations != raters:
        client.projects.update(id=known, maximum_annotations=raters)
    if media is not None:
        path = str(media / "clips")
        if all(s.path != path for s in client.import_storage.local.list(project=known)):
            client.import_storage.local.create(project=known, path=path, title="clips", use_blob_urls=True)
    return known


class Task(NamedTuple):
    """A task at the server. `key` is ours, `overlap` how many ratings it asks for."""

    id: int
    key: str
    annotations: int
    overlap: int


def held(client: Any, project: int) -> tuple[int, int, str]:
    """How many tasks and annotations a project holds, and its config."""
    told = client.projects.get(id=project)
    annotations = int(told.total_annotations_number or 0) + int(told.skipped_annotations_number or 0)
    return int(told.task_number or 0), annotations, str(told.label_config)


def known_tasks(client: Any, project: int, key: str) -> list[Task]:
    """What is in a project already, duplicates included; `key` is where our key lies in a task's data."""
    if not held(client, project)[0]:
        return []
    shown = "id,data,total_annotations,overlap"
    tasks = client.tasks.list(project=project, page_size=BATCH, fields="task_only", include=shown)
    return [
        Task(int(t.id), str((t.data or {}).get(key)), int(t.total_annotations or 0), int(t.overlap or 1)) for t in tasks
    ]


def set_overlap(client: Any, task: int, raters: int, *, closed: bool = False) -> None:
    """Ask for so many ratings of one task; `closed`: it has them, so nobody is offered it again."""
    client.tasks.update(id=str(task), overlap=raters, is_labeled=closed)


def take_out(client: Any, project: int, tasks: list[int]) -> None:
    """Delete tasks, but none that somebody has judged by now: the server looks again as it deletes."""
    none_yet = {"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0}
    for start in range(0, len(tasks), BATCH):
        client.actions.create(
            id="delete_tasks", project=project, filters={"conjunction": "and", "items": [none_yet]},
            selected_items={"all": False, "included": tasks[start : start + BATCH]},
        )  # fmt: skip


def _request(client: Any, method: str, path: str, **more: Any) -> Any:
    """What a call says, past the SDK's models, which walk through every value. Raises DataError when it is refused."""
    answer = client._client_wrapper.httpx_client.request(path, method=method, **more)
    what, said = (
        f"{method} {path.partition('?')[0]}",
        " ".join(answer.content[:1000].decode("utf-8", "replace").split())[:300],
    )
    if answer.status_code >= 400:
        raise DataError(f"Label Studio refused {what}: {answer.status_code} {said}")
    try:
        return answer.json()
    except ValueError:
        raise DataError(f"Label Studio answered {what} with no JSON: {said}; is a proxy in between?") from None


def import_tasks(client: Any, project: int, tasks: bytes, n: int) -> list[int]:
    """Add `n` tasks (at most BATCH), a JSON list; returns the server's ids in their order."""
    body = {"content": tasks, "headers": {"Content-Type": "application/json"}}
    answer = _request(client, "POST", f"api/projects/{project}/import?return_task_ids=true", **body)
    numbers = [int(n) for n in answer.get("task_ids") or []]
    if len(numbers) != n:
        raise DataError(f"Label Studio took {len(numbers)} of {n} tasks; run the same command again")
    return numbers


def touched(client: Any, project: int, since: str) -> tuple[Sequence[int], str]:
    """The tasks that anything was done to after `since`, and when the last was; of a project that has some.

    Without `since` all numbers from the first task's to the last's: the server loads all annotations of what it lists.
    """
    what: Json = {"project": project, "fields": "task_only", "include": "id,updated_at"}

    def first(order: str) -> Any:
        return client.tasks.list(**what, page_size=1, query=json.dumps({"ordering": [order]})).items[0]

    # A little earlier: what is being written now may come to light with an earlier time.
    until = first("-tasks:updated_at").updated_at.astimezone(UTC) - timedelta(seconds=5)
    if since:
        after = {
            "filter": "filter:tasks:updated_at",
            "operator": "greater_or_equal",
            "type": "Datetime",
            "value": since,
        }
        query = json.dumps({"filters": {"conjunction": "and", "items": [after]}})
        tasks: Sequence[int] = sorted(int(t.id) for t in client.tasks.list(**what, page_size=BATCH, query=query))
    else:
        tasks = range(int(first("tasks:id").id), int(first("-tasks:id").id) + 1)
    return tasks, f"{until:%Y-%m-%dT%H:%M:%S.%fZ}"


def export(client: Any, project: int, tasks: Sequence[int] | None) -> Iterator[list[Json]]:
    """Tasks (None: all) with their annotations, in Label Studio's plain JSON export format, part by part."""
    path = f"api/projects/{project}/export?exportType=JSON&download_all_tasks=true"
    if tasks is None:
        yield _request(client, "GET", path)
    for start in range(0, len(tasks or ()), PART):
        yield _request(client, "GET", path + "".join(f"&ids[]={n}" for n in (tasks or ())[start : start + PART]))


def invite_url(client: Any, url: str) -> str:
    """The link by which a rater makes an account."""
    answer = _request(client, "GET", "api/invite")
    return url.rstrip("/") + str(answer["invite_url"])
