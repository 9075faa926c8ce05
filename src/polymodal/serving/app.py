"""The application: routes of a served model."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

from polymodal.serving.answers import to_json
from polymodal.serving.batcher import Batcher
from polymodal.serving.bodies import BodyReader, Content
from polymodal.serving.explanation_answers import explain_row
from polymodal.serving.gate import ErrorAnswers, RequestLog
from polymodal.serving.metrics import CONTENT_TYPE, Metrics
from polymodal.serving.model_slot import ModelSlot
from polymodal.serving.openapi import describe_api
from polymodal.serving.page_files import add_page
from polymodal.serving.questions import Question, read_options, read_top
from polymodal.serving.recorder import Recorder
from polymodal.serving.request_error import RequestError
from polymodal.serving.served_model import ServedModel, load_served
from polymodal.serving.settings import ServerSettings
from polymodal.serving.telemetry import Traces, build_tracer_provider, check_telemetry
from polymodal.version import VERSION

T = TypeVar("T")

MOST_HITS = 1000
MODEL_THREADS = 2
"""Batches that are answered at a time: while one runs in the network, the cells of the next one are decoded."""
MAX_QUESTIONS = 8
"""Explanations, embeddings and searches that may wait; they share one thread, which is not the predictions'."""


@dataclass
class Services:
    """What the routes share.

    Attributes:
        settings: The server's settings.
        slot: The model.
        batcher: Joins rows of requests.
        bodies: Reads bodies.
        metrics: Counts.
        questions: The thread of explanations, embeddings and searches.
        recorder: Keeps predictions; None keeps nothing.
        tracer_provider: Makes and sends traces; None makes none.
        num_questions: How many of them wait or run.
    """

    settings: ServerSettings
    slot: ModelSlot
    batcher: Batcher
    bodies: BodyReader
    metrics: Metrics
    questions: ThreadPoolExecutor
    recorder: Recorder | None = None
    tracer_provider: Any = None
    num_questions: int = 0

    async def ask(self, work: Callable[[], T]) -> T:
        """Run work that is not a prediction in a thread of its own.

        Args:
            work: What to run.

        Returns:
            Its result.

        Raises:
            RequestError: With 429 if too many wait, with 504 if it takes too long.
        """
        if self.num_questions >= MAX_QUESTIONS:
            raise RequestError(429, "Too many explanations and searches are waiting. Try again.", retry_after_s=2)
        self.num_questions += 1
        future = asyncio.get_running_loop().run_in_executor(self.questions, work)
        future.add_done_callback(lambda _: setattr(self, "num_questions", self.num_questions - 1))
        return await self.within_timeout(future)

    async def within_timeout(self, answer: Awaitable[T]) -> T:
        """Wait for an answer.

        Args:
            answer: An awaitable.

        Returns:
            Its result.

        Raises:
            RequestError: With 504 if it takes too long.
        """
        try:
            return await asyncio.wait_for(answer, self.settings.timeout_s)
        except TimeoutError:
            raise RequestError(504, f"No answer within {self.settings.timeout_s:g} s, this server's limit.") from None


def build_app(settings: ServerSettings, served: ServedModel) -> FastAPI:
    """Build the application.

    Args:
        settings: The server's settings.
        served: The model.

    Returns:
        The ASGI application.
    """
    metrics = Metrics()

    def load() -> ServedModel:
        return load_served(settings.model, settings.limits, device=settings.device, index=settings.index)

    services = Services(
        settings=settings,
        slot=ModelSlot(served, settings.model, load, metrics.see_reload),
        batcher=Batcher(
            max_batch=settings.max_batch,
            max_wait_s=settings.max_wait_s,
            queue=settings.queue,
            observe=metrics.see_batch,
            threads=MODEL_THREADS,
        ),
        bodies=BodyReader(settings.limits, settings.read_timeout_s),
        metrics=metrics,
        questions=ThreadPoolExecutor(1, thread_name_prefix="questions"),
        recorder=_recorder(settings, served),
        tracer_provider=_tracer_provider(settings),
    )
    app = FastAPI(
        title="polymodal",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # the address would be of the Host that a client names
        lifespan=_lifespan(services),
    )
    app.add_exception_handler(HTTPException, _http_error)
    _add_routes(app, services)
    if settings.has_page:
        add_page(app)
    app.add_middleware(ErrorAnswers, api_keys=settings.api_keys)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )
    if services.tracer_provider is not None:
        app.add_middleware(Traces, provider=services.tracer_provider)
    app.add_middleware(RequestLog, metrics=metrics)
    return app


def _recorder(settings: ServerSettings, served: ServedModel) -> Recorder | None:
    return None if settings.record is None else Recorder(settings.record, settings.record_columns, served.columns)


def _tracer_provider(settings: ServerSettings) -> Any:
    if not settings.otel:
        return None
    check_telemetry()
    return build_tracer_provider()


def _lifespan(services: Services) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.batcher.start()
        services.slot.start()
        if services.recorder is not None:
            services.recorder.start()
        if threading.current_thread() is threading.main_thread():
            with suppress(AttributeError, NotImplementedError):  # Windows has no SIGHUP
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, services.slot.reload)
        yield
        await services.slot.stop()
        await services.batcher.stop()
        services.questions.shutdown(wait=False, cancel_futures=True)
        if services.recorder is not None:
            await services.recorder.stop()
        if services.tracer_provider is not None:
            await asyncio.to_thread(services.tracer_provider.shutdown)

    return lifespan


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    sentences = {404: "There is nothing at this path.", 405: "This path does not take this method."}
    raise RequestError(status, sentences.get(status, "The request cannot be answered."))


def _json(value: Any, status: int = 200) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(to_json(value), status, headers=headers, media_type="application/json")


def _add_routes(app: FastAPI, services: Services) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        return _json({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        served = services.slot.current
        return _json({"status": "ready", "model": served.name, "version": served.version})

    @app.get("/metrics")
    async def metrics() -> Response:
        services.metrics.see_waiting(services.batcher.waiting_rows)
        return Response(services.metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/schema")
    async def schema() -> Response:
        services.slot.look()
        return _json(services.slot.current.schema())

    @app.get("/openapi.json")
    async def openapi() -> Response:
        return _json(describe_api(services.slot.current))

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        return await _predict(request, services)

    @app.post("/explain")
    async def explain(request: Request) -> Response:
        served, question, content = await _one_row(request, services, {"target"})
        if not served.has["explain"]:
            raise RequestError(422, "This model has no target whose answer could be explained.")
        target = content.fields.get("target")
        if target is not None and target not in served.targets:
            names = ", ".join(map(repr, served.targets))
            raise RequestError(422, f"The field 'target' names no target of the model. Expected one of: {names}.")
        answer = await services.ask(lambda: explain_row(served, question, target))
        return _answer(request, served, answer, question)

    @app.post("/embed")
    async def embed(request: Request) -> Response:
        served, question, _ = await _read_question(request, services, set())
        found = await services.ask(lambda: served.embed(question.rows))
        columns = found.to_columns()
        rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
        return _answer(request, served, {"rows": rows}, question)

    @app.post("/search")
    async def search(request: Request) -> Response:
        served, question, content = await _one_row(request, services, {"top", "within"})
        top, within = read_top(content.fields, MOST_HITS), content.fields.get("within", "row")
        if not isinstance(within, str):
            raise RequestError(422, "The field 'within' must be 'row' or the name of a stream.")
        answer = await services.ask(lambda: served.search(question.rows[0], top, within))
        return _answer(request, served, {"hits": answer}, question)


async def _predict(request: Request, services: Services) -> Response:
    with services.batcher.arriving() as arrived:
        services.batcher.check_arrival()
        services.slot.look()
        served, question, _ = await _read_question(request, services, set())
        served.check_options(question.options)
        request.state.rows = len(question.rows)

        def run(rows: list[Any]) -> list[dict[str, Any]]:
            return served.predict(rows, question.options)

        key = (id(served), question.options)
        waiting = asyncio.ensure_future(services.batcher.submit(question.rows, key, run))
        await asyncio.sleep(0)  # it is in the queue now
        arrived()
        answers = await services.within_timeout(waiting)
    _check_strict(question, answers)
    services.metrics.see_rows(question.rows, {name: column.stream for name, column in served.columns.items()})
    services.metrics.see_answers(answers)
    if services.recorder is not None:
        services.recorder.see(question.rows, answers, served.version)
    return _answer(request, served, {"rows": answers}, question)


def _check_strict(question: Question, answers: Sequence[dict[str, Any]]) -> None:
    if not question.is_strict:
        return
    for number, answer in enumerate(answers, 1):
        for cell in answer["broken"]:
            raise RequestError(422, f"Row {number}, column {cell['column']!r}: {cell['reason']}.")


async def _read_question(
    request: Request, services: Services, known: set[str]
) -> tuple[ServedModel, Question, Content]:
    served = services.slot.current
    with await services.bodies.read(request) as body:
        request.state.bytes = len(body.content)
        content = await body.parse()
        options, is_strict = read_options(content.fields, frozenset(known))
        if request.state.bytes > LARGE_BYTES:
            rows, notices = await asyncio.to_thread(served.reader.read, content.rows)
        else:
            rows, notices = served.reader.read(content.rows)
    return served, Question(rows, options, is_strict, notices), content


LARGE_BYTES = 32_768
"""Rows of larger requests are checked in a thread."""


async def _one_row(request: Request, services: Services, known: set[str]) -> tuple[ServedModel, Question, Content]:
    served, question, content = await _read_question(request, services, known)
    if len(question.rows) != 1:
        raise RequestError(422, f"The request has {len(question.rows):,} rows. Expected one here.")
    return served, question, content


def _answer(request: Request, served: ServedModel, answer: dict[str, Any], question: Question) -> Response:
    head = {"request_id": request.state.request_id, "model": served.name, "version": served.version}
    notices = [*question.notices, *answer.pop("notices", ())]
    return _json({**head, **answer, "notices": [*notices, *_unseen_notices(question)]})


def _unseen_notices(question: Question) -> list[str]:
    unseen: dict[str, list[int]] = {}
    for number, row in enumerate(question.rows, 1):
        for column in row.unseen:
            unseen.setdefault(column, []).append(number)
    return [
        f"The value of the column {column!r} was not seen in training in {len(numbers):,} of {len(question.rows):,} "
        f"rows, first in row {numbers[0]}. The model knows nothing of it."
        for column, numbers in unseen.items()
    ]
