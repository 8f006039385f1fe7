"""A fake Dataflow service on loopback, which records submitted jobs but runs none."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

from google.cloud.dataflow_v1beta3 import types
from google.protobuf import struct_pb2
from google.protobuf.json_format import ParseError

from tools.serving import on_loopback

_JOBS = re.compile(
    r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/jobs(/(?P<id>[^/]+)(?P<part>/\w+)?)?"
)


class Course(NamedTuple):
    """The course of a job.

    Attributes:
      states: of the job, one per request; the last one stays.
      errors: error messages in the job's log.
    """

    states: tuple[types.JobState, ...]
    errors: tuple[str, ...] = ()


def done() -> Course:
    """Return the course of a job that succeeds."""
    return Course((types.JobState.JOB_STATE_RUNNING, types.JobState.JOB_STATE_DONE))


def failed(*errors: str) -> Course:
    """Return the course of a job that fails with these errors."""
    return Course((types.JobState.JOB_STATE_RUNNING, types.JobState.JOB_STATE_FAILED), errors)


def running() -> Course:
    """Return the course of a job that runs until it is cancelled."""
    return Course((types.JobState.JOB_STATE_RUNNING,))


class Refusal(NamedTuple):
    """An error response.

    Attributes:
      status: HTTP status code.
      message: human-readable.
    """

    status: HTTPStatus
    message: str


class Submitted(NamedTuple):
    """A submitted job.

    Attributes:
      job: the request, with the assigned ID.
      project: to which it was submitted.
      region: in which it is to run.
    """

    job: types.Job
    project: str
    region: str


class JobService:
    """The submitted jobs and their courses.

    Attributes:
      endpoint: for `--dataflow_endpoint`.
      submitted: the jobs, in order.
      course: of jobs submitted from now on.
      refusal: response to requests to create a job; None to accept them.
      keeps_running: response to requests to cancel a job; None to accept them.
      is_slow: whether a job that is cancelled runs on.
      counters: of our steps, by step and name.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.submitted: list[Submitted] = []
        self.course = done()
        self.refusal: Refusal | None = None
        self.keeps_running: Refusal | None = None
        self.is_slow = False
        self.counters: dict[tuple[str, str], int] = {}
        self._courses: dict[str, Course] = {}

    @property
    def job(self) -> types.Job:
        """The only submitted job."""
        (submitted,) = self.submitted
        return submitted.job

    def answer(self, method: str, path: str, body: bytes) -> object:
        """Return the response message to a request.

        Raises:
          RefusedError: the request is refused or unknown.
        """
        found = _JOBS.fullmatch(path)
        match (method, found and found["id"], found and found["part"]):
            case ("POST", None, None) if found:
                return self._create(_parse(body), found["project"], found["region"])
            case ("GET", str(job_id), None):
                return self._ask(job_id)
            case ("PUT", str(job_id), None):
                return self._update(job_id, _parse(body))
            case ("GET", str(job_id), "/messages"):
                return self._messages(job_id)
            case ("GET", str(), "/metrics"):
                return types.JobMetrics(metric_time=datetime.now(UTC), metrics=list(self._metrics()))
        raise RefusedError(Refusal(HTTPStatus.NOT_FOUND, f"the fake service does not support {method} {path}"))

    def _create(self, job: types.Job, project: str, region: str) -> types.Job:
        if self.refusal:
            raise RefusedError(self.refusal)
        for earlier in self.submitted:
            if earlier.job.name == job.name and not _is_terminal(self._courses[earlier.job.id].states[0]):
                return earlier.job
        job.id = f"job-{len(self.submitted) + 1}"
        job.project_id, job.location = project, region
        job.current_state = types.JobState.JOB_STATE_PENDING
        job.create_time = datetime.now(UTC)
        self.submitted.append(Submitted(job, project, region))
        self._courses[job.id] = self.course
        return job

    def _ask(self, job_id: str) -> types.Job:
        job = self._find(job_id)
        course = self._courses[job_id]
        job.current_state = course.states[0]
        self._courses[job_id] = course._replace(states=course.states[1:] or course.states)
        return job

    def _update(self, job_id: str, wanted: types.Job) -> types.Job:
        job = self._find(job_id)
        if self.keeps_running:
            raise RefusedError(self.keeps_running)
        if _is_terminal(job.current_state):
            raise RefusedError(Refusal(HTTPStatus.BAD_REQUEST, f"({job_id}): the job has ended"))
        if not self.is_slow:
            self._courses[job_id] = self._courses[job_id]._replace(states=(wanted.requested_state,))
        return job

    def _messages(self, job_id: str) -> types.ListJobMessagesResponse:
        begun = self._find(job_id).create_time
        return types.ListJobMessagesResponse(
            job_messages=[
                types.JobMessage(
                    id=str(number),
                    time=begun + timedelta(seconds=number),
                    message_text=text,
                    message_importance=types.JobMessageImportance.JOB_MESSAGE_ERROR,
                )
                for number, text in enumerate(self._courses[job_id].errors)
            ]
        )

    def _metrics(self) -> Iterator[types.MetricUpdate]:
        for (step, name), count in self.counters.items():
            # Dataflow reports each counter twice: of finished bundles only, and including those in progress.
            for standing in ({}, {"tentative": "true"}):
                context = {"namespace": "scenetags", "step": step, **standing}
                full_name = types.MetricStructuredName(origin="user", name=name, context=context)
                yield types.MetricUpdate(name=full_name, scalar=struct_pb2.Value(number_value=count))

    def _find(self, job_id: str) -> types.Job:
        for submitted in self.submitted:
            if submitted.job.id == job_id:
                return submitted.job
        raise RefusedError(Refusal(HTTPStatus.NOT_FOUND, f"({job_id}): no such job"))


class RefusedError(Exception):
    """A refused request."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@contextlib.contextmanager
def serve() -> Iterator[JobService]:
    """Run a service that accepts jobs submitted with `--dataflow_endpoint`.

    Its address is `localhost`: Beam uses REST for that name, and gRPC with TLS for any other.
    """
    service = JobService()
    one_at_a_time = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                with one_at_a_time:
                    message = service.answer(self.command, urlsplit(self.path).path, body)
                self._send(HTTPStatus.OK, type(message).to_json(message))  # type: ignore[attr-defined]
            except RefusedError as error:
                status, text = error.refusal
                details = {"code": status.value, "message": text, "status": _STATUS.get(status, status.name)}
                self._send(status, json.dumps({"error": details}))

        do_GET = do_POST = do_PUT = answer  # noqa: N815

        def _send(self, status: HTTPStatus, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with on_loopback(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        service.endpoint = f"http://localhost:{port}"
        yield service


_STATUS = {HTTPStatus.FORBIDDEN: "PERMISSION_DENIED", HTTPStatus.BAD_REQUEST: "INVALID_ARGUMENT"}
"""Google's names of status codes, where they differ from HTTP's."""


def _parse(body: bytes) -> types.Job:
    """Parse a job as strictly as Google does: an unknown field is an error."""
    try:
        return types.Job.from_json(body, ignore_unknown_fields=False)
    except ParseError as error:
        raise RefusedError(Refusal(HTTPStatus.BAD_REQUEST, f"Invalid JSON payload received. {error}")) from error


def _is_terminal(state: types.JobState) -> bool:
    return state in (
        types.JobState.JOB_STATE_DONE,
        types.JobState.JOB_STATE_FAILED,
        types.JobState.JOB_STATE_CANCELLED,
    )
