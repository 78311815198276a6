"""OpenAI's Batch API: the same questions at half the price, within a day. A batch fills the store of answers; drafting
then finds them there, so the drafts are those of a live run.

What is sent is written down before it is sent (under a name of ours that travels as metadata), so a run that is killed
at any moment finds its batch again. See https://platform.openai.com/docs/guides/batch.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

import openai
from openai.types import Batch

from curation.models.answers import Answer, Answers, Question
from curation.models.ask import cost, dumps
from curation.models.endpoint import Model
from curation.models.frames import Pictures, fill
from curation.models.outcome import Denied, Halt, Left, Turned
from curation.models.reply import denial, envelope, tokens
from curation.models.wire import failure
from curation.store import now
from curation.types import Json

MOST = 50_000, 150 << 20  # requests and bytes of one batch; the endpoint takes 200 MB
PENDING = "pending:"


class Batches:
    """The batches of one model's endpoint. `waiting` says how far those are that have not ended."""

    def __init__(self, model: Model, answers: Answers, pictures: Pictures) -> None:
        self.model, self.answers, self.pictures = model, answers, pictures
        self.waiting: list[str] = []
        self.taken: set[str] = set()  # keys that this run collected
        http = openai.DefaultHttpxClient(follow_redirects=False, trust_env=model.third_party)
        self.api = openai.OpenAI(api_key=model.key(), base_url=model.base_url, http_client=http)

    def close(self) -> None:
        self.api.close()

    def collect(self) -> None:
        """Store what ended batches answered; questions of theirs without an answer are free to be asked again."""
        try:
            self._adopt()
            for name, payer in self.answers.open_batches(self.model.base_url, self.model.model):
                if name.startswith(PENDING):
                    self.waiting.append(f"{payer} was sending one; if it was stopped, run its recipe again")
                else:
                    self._collect(name, payer)
        except openai.APIStatusError as e:
            raise _meant(failure(e.status_code, e.response.headers, e.response.text, self.model)) from None
        except openai.APIConnectionError as e:
            raise Left(f"{self.model.base_url}: {e.__cause__ or e}") from None

    def _adopt(self) -> None:
        """Batches that we wrote down and perhaps sent: find them by our name, or forget them. Those of others may be on
        their way."""
        known, payer = self.answers.open_batches(self.model.base_url, self.model.model), self.answers.payer
        open_ = [b for b, who in known if b.startswith(PENDING) and who == payer]
        sent = {(b.metadata or {}).get("autodrive"): b.id for b in self.api.batches.list(limit=100)} if open_ else {}
        for name in open_:
            if name in sent:
                self.answers.rename_batch(name, sent[name])
            else:
                self.answers.end_batch(name, now())

    def _collect(self, name: str, payer: str) -> None:
        try:
            self._take_all(self.api.batches.retrieve(name), name, payer)
        except openai.NotFoundError:  # or its files: they are kept for a while only
            self.api.batches.list(limit=1)  # raises where it is the endpoint that is not found
            if payer == self.answers.payer:
                self.answers.end_batch(name, now())
            else:
                self.waiting.append(f"{name} is of {payer}, by another account")

    def _take_all(self, batch: Batch, name: str, payer: str) -> None:
        counts = batch.request_counts
        if batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
            done = f", {counts.completed + counts.failed} of {counts.total} done" if counts and counts.total else ""
            self.waiting.append(f"{name} is {batch.status.replace('_', ' ')}{done}")
            return
        if batch.status == "failed":
            self.answers.end_batch(name, now())
            errors = (batch.errors.data if batch.errors else None) or []
            raise Halt(
                f"{self.model.base_url}: batch {name} failed: {errors[0].message if errors else 'no reason given'}"
            )
        questions = self.answers.batch_questions(name)
        for file in (batch.output_file_id, batch.error_file_id):
            for row in self._lines(file) if file else ():
                question, response = questions.get(str(row.get("custom_id"))), row.get("response")
                if question is not None and isinstance(response, dict):
                    self._take(question, response, name, payer)
        self.answers.end_batch(name, now())

    def _lines(self, file: str) -> Iterator[Json]:
        with self.api.files.with_streaming_response.content(file) as reply:
            for line in reply.iter_lines():
                with suppress(ValueError):  # a line that is not JSON answers nothing: it is asked again
                    if isinstance(row := json.loads(line), dict):
                        yield row

    def _take(self, question: Question, response: Json, name: str, payer: str) -> None:
        status, body = response.get("status_code"), response.get("body")
        raw = json.dumps(body).encode()
        found = envelope(raw)
        if status == 200 and found is not None:
            asked, said, cached = tokens(found)
            usd = cost(self.model, asked, said, cached, batch=True)
            answer = Answer(question.key, raw, asked, said, usd, answered_at=now())
        elif status and isinstance(why := failure(int(status), {}, raw.decode(), self.model), Denied):
            answer = Answer(question.key, denial(str(why)), cost_usd=0.0, answered_at=now())
        else:
            return
        self.answers.put(question, answer, name, payer)
        self.taken.add(question.key)

    def submit(self, questions: list[Question], dear_usd: float) -> None:
        """Send questions as one batch or several. Raises Left or Halt."""
        each = dear_usd / len(questions)
        while questions:
            with tempfile.TemporaryFile() as out:
                taken = self._write(questions, out)
                out.seek(0)
                self._send(questions[:taken], out, each * taken)
            questions = questions[taken:]

    def _write(self, questions: list[Question], out: IO[bytes]) -> int:
        for n, q in enumerate(questions):
            if n >= MOST[0] or out.tell() >= MOST[1]:
                return n
            line = {"custom_id": q.key, "method": "POST", "url": "/v1/chat/completions", "body": q.body}
            out.write(fill(dumps(line), self.pictures) + b"\n")
        return len(questions)

    def _send(self, questions: list[Question], file: IO[bytes], dear_usd: float) -> None:
        name = PENDING + uuid.uuid4().hex
        try:
            sent = self.api.files.create(file=("batch.jsonl", file), purpose="batch")
            self.answers.add_batch(name, self.model.base_url, questions, dear_usd, now())
            batch = self.api.with_options(max_retries=0).batches.create(
                input_file_id=sent.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"autodrive": name},
            )
        except openai.APIStatusError as e:
            if e.status_code < 500:  # else it may have been made all the same
                self.answers.end_batch(name, now())
            raise _meant(failure(e.status_code, e.response.headers, e.response.text, self.model)) from None
        except openai.APIConnectionError as e:  # it may have been made all the same: the next run looks for it
            raise Left(f"{self.model.base_url}: {e.__cause__ or e}") from None
        self.answers.rename_batch(name, batch.id)
        self.waiting.append(f"{batch.id} was sent with {len(questions)} questions")


def _meant(why: Exception) -> Exception:
    return Left(str(why)) if isinstance(why, Turned) else Halt(str(why))
