"""OpenAI's Batch API: the same questions at half the price, within a day. A batch fills the store of answers; drafting
then finds them there, so the drafts are those of a live run.

What is sent is written down before it is sent (under a name of ours that travels as metadata), so a run that is killed
at any moment finds its batch again. See https://platform.openai.com/docs/guides/batch.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from contextlib import suppress
from typing import Any

import httpx2
import openai

from curation.models.answers import Answer, Answers, Question
from curation.models.endpoint import Model
from curation.models.frames import Fill
from curation.models.money import OVER_BUDGET, Bill, Budget, cost, estimate
from curation.models.reply import Denied, Halt, Left, Turned, denial, envelope, tokens
from curation.models.wire import failure
from curation.store import now

MOST = 50_000, 150 << 20  # requests and bytes of one batch; the endpoint takes 200 MB
PENDING = "pending:"


class Batches:
    """Asks one model by batches: stands in for an Asker. `waiting` says how far those are that have not ended."""

    def __init__(self, model: Model, answers: Answers, fill: Fill, bill: Bill, budget: Budget) -> None:
        self.model, self.answers, self.fill, self.bill, self.budget = model, answers, fill, bill, budget
        self.waiting: list[str] = []
        self.taken: set[str] = set()  # keys that this run collected
        self.due: dict[str, Question] = {}  # written to `file`, not sent yet
        self.dear = 0.0  # USD that these may cost
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with us
        http = openai.DefaultHttpxClient(follow_redirects=False, trust_env=model.third_party)
        self.api = openai.OpenAI(api_key=model.key(), base_url=model.base_url, http_client=http)

    def close(self) -> None:
        self.api.close()
        self.file.close()

    # -- asking ------------------------------------------------------------------------------------------------------
    async def ask(self, q: Question) -> Answer:
        """The answer to `q` if it is in the store. Else it goes into the next batch, or is in one: raises Left."""
        if (known := self.answers.get(q.key)) is not None:
            self.bill.add(q, known, stored=q.key not in self.taken)
            return known
        if q.key not in self.due and not self.answers.batched(q.key):
            body = await self.fill(q.raw)
            if q.key in self.due:  # of another clip that asks the same
                raise Left
            dear = cost(self.model, estimate(self.model, q.raw), self.model.max_tokens, batch=True) or 0.0
            if self.budget.room() < dear:
                raise Left(OVER_BUDGET)
            if len(self.due) >= MOST[0] or self.file.tell() >= MOST[1]:
                self.submit()
            line = b'{"custom_id": "%s", "method": "POST", "url": "/v1/chat/completions", "body": ' % q.key.encode()
            self.file.write(line + body + b"}\n")
            self.due[q.key] = q
            self.dear += dear
            self.budget.owed += dear
        raise Left

    def submit(self) -> None:
        """Send what is due as one batch. Raises Left or Halt."""
        name, questions, dear = PENDING + uuid.uuid4().hex, list(self.due.values()), self.dear
        if not questions:
            return
        self.due, self.dear = {}, 0.0
        self.file.seek(0)
        try:
            sent = self.api.files.create(file=("batch.jsonl", self.file), purpose="batch")
            self.answers.add_batch(name, self.model.base_url, questions, dear, now())
            batch = self.api.with_options(max_retries=0).batches.create(
                input_file_id=sent.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"autodrive": name},
            )
        except openai.APIError as e:
            if isinstance(e, openai.APIStatusError) and e.status_code < 500:  # else it may have been made all the same
                self.answers.end_batch(name, now())
            raise self._meant(e) from None
        finally:
            self.file.seek(0)
            self.file.truncate()
            self.budget.spent, self.budget.owed = self.answers.spent()
        self.answers.rename_batch(name, batch.id)
        self.waiting.append(f"{batch.id} was sent with {len(questions)} questions")

    def _meant(self, e: openai.APIError) -> Exception:
        if not isinstance(e, openai.APIStatusError):
            return Left(f"{self.model.base_url}: {e.__cause__ or e}")
        why = failure(e.status_code, e.response.headers, e.response.text, self.model)
        return Left(str(why)) if isinstance(why, Turned) else Halt(str(why))

    # -- collecting --------------------------------------------------------------------------------------------------
    def collect(self) -> None:
        """Store what ended batches answered; questions of theirs without an answer are free to be asked again."""
        try:
            self._adopt()
            for name, payer in self.answers.open_batches(self.model.base_url, self.model.model):
                if name.startswith(PENDING):
                    self.waiting.append(f"{payer} was sending one; if it was stopped, run its recipe again")
                else:
                    self._collect(name, payer)
        except openai.APIError as e:
            raise self._meant(e) from None
        except httpx2.HTTPError as e:  # a file that breaks off, which the package does not translate
            raise Left(f"{self.model.base_url}: {e}") from None
        finally:
            self.budget.spent, self.budget.owed = self.answers.spent()

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
            batch = self.api.batches.retrieve(name)
            if batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
                counts = batch.request_counts
                done = f", {counts.completed + counts.failed} of {counts.total} done" if counts and counts.total else ""
                self.waiting.append(f"{name} is {batch.status.replace('_', ' ')}{done}")
                return
            questions = self.answers.batch_questions(name)
            for file in filter(None, (batch.output_file_id, batch.error_file_id)):
                with self.api.files.with_streaming_response.content(file) as reply:
                    for line in reply.iter_lines():
                        with suppress(ValueError):  # a line that is not JSON answers nothing: it is asked again
                            self._take(questions, json.loads(line), name, payer)
        except openai.NotFoundError:  # or its files: they are kept for a while only
            self.api.batches.list(limit=1)  # raises where it is the endpoint that is not found
            if payer != self.answers.payer:
                self.waiting.append(f"{name} is of {payer}, by another account")
                return
            batch = None
        self.answers.end_batch(name, now())
        if batch and batch.status == "failed":
            why = batch.errors.data[0].message if batch.errors and batch.errors.data else "no reason given"
            raise Halt(f"{self.model.base_url}: batch {name} failed: {why}")

    def _take(self, questions: dict[str, Question], row: Any, name: str, payer: str) -> None:
        question = questions.get(str(row.get("custom_id"))) if isinstance(row, dict) else None
        response = row.get("response") if question else None
        if question is None or not isinstance(response, dict) or not response.get("status_code"):
            return
        raw, status = json.dumps(response.get("body")).encode(), int(response["status_code"])
        if status == 200 and (found := envelope(raw)) is not None:
            asked, said, cached = tokens(found)
            usd = cost(self.model, asked, said, cached, batch=True)
            answer = Answer(question.key, raw, asked, said, usd, answered_at=now())
        elif isinstance(why := failure(status, {}, raw.decode(), self.model), Denied):
            answer = Answer(question.key, denial(str(why)), cost_usd=0.0, answered_at=now())
        else:
            return
        self.answers.put(question, answer, name, payer)
        self.taken.add(question.key)
