"""Laws of the errors: their tree, their texts, and copies of them."""

import copy
import pickle
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foxapi_async import errors
from foxapi_async._protocol.status_errors import STATUS_ERRORS, UNPROCESSABLE_ERRORS
from foxapi_async._wire.completion import ChatCompletion, Choice, CompletionMessage, Usage
from foxapi_async._wire.error_body import ErrorBody
from foxapi_async._wire.request import GenerationRequest, Message
from foxapi_async._wire.task import Task
from foxapi_async._wire.violation import Violation

PROMPT = "a secret prompt"
KEY = "sk-0123456789abcdef"

TASK = Task(
    id="task-llm-1776874565-yq3szvcu",
    status="failed",
    error=ErrorBody(code="generation_failed", message="no"),
)
REQUEST = GenerationRequest(model="gpt-5.5", messages=(Message(role="user", content=PROMPT),))
FAULT = errors.InternalServerError("500: no", status=500, request_id="r", body="<html>")
STATUS: dict[str, Any] = {
    "status": 418,
    "code": "c",
    "type": "t",
    "param": "p",
    "request_id": "r",
    "body": "head",
    "retry_after": 1.5,
    "enveloped": True,
}
STREAM: dict[str, Any] = {
    "task_id": TASK.id,
    "offset": 7,
    "partial": "one two",
    "cursor": "c7",
    "task": TASK,
    "fault": FAULT,
}
OUTPUT: dict[str, Any] = {
    "completion": ChatCompletion(choices=(Choice(message=CompletionMessage(content=PROMPT)),)),
    "text": PROMPT,
    "usage": Usage(total_tokens=7),
    "attempts": 2,
}

SAMPLES: dict[type[BaseException], dict[str, Any]] = {
    errors.RequestValidationError: {
        "violations": (
            Violation(code="invalid_param", param="max_tokens", message="at least 16"),
            Violation(code="model_not_supported", param="model", message="unknown"),
        )
    },
    errors.BudgetExceededError: {"unit": "credits", "limit": 5.0, "used": 4.5, "needed": 0.75},
    errors.APIConnectionError: {"sent": False},
    errors.SubmitOutcomeUnknownError: {
        "fault": FAULT,
        "request": REQUEST,
        "key": "row-17",
        "fingerprint": "0f" * 16,
        "sent_at": 1_776_874_565.25,
    },
    errors.APIStatusError: STATUS,
    errors.InvalidResponseError: {"status": 200, "body": "<html>"},
    errors.TaskFailedError: {"task_id": TASK.id, "task": TASK, "code": "generation_failed"},
    errors.TaskLostError: {"task_id": TASK.id, "task": TASK, "fault": FAULT},
    errors.TaskError: {"task_id": TASK.id, "task": TASK},
    errors.StreamError: STREAM,
    errors.OutputValidationError: OUTPUT | {"path": "pets[0].age", "reason": "is not valid"},
    errors.OutputRefusedError: OUTPUT | {"refusal": PROMPT},
    errors.OutputError: OUTPUT,
}


def tree(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    """Yield a class and all its subclasses."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def classes() -> list[type[BaseException]]:
    """List every exception class that the module defines."""
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type)
        and issubclass(value, BaseException)
        and value.__module__ == errors.__name__
    ]


def sample(kind: type[BaseException]) -> BaseException:
    """Build an error with a value in every attribute."""
    members = next((SAMPLES[base] for base in kind.__mro__ if base in SAMPLES), {})
    if kind is errors.RequestValidationError:
        return kind(**members)
    return kind("what went wrong", **members)


def drawn() -> Iterator[tuple[str, str]]:
    """Yield (class, parent) of each line of the tree in the docstring."""
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.fullmatch(r"    ( *)([A-Z]\w*(?:Error|Warning))\b.*", line):
            depth, name = len(found[1]), found[2]
            path = [step for step in path if step[0] < depth]
            yield name, path[-1][1] if path else ""
            path.append((depth, name))


def test_the_docstring_shows_the_tree() -> None:
    """The tree in the docstring has every class below its first base, and no other."""
    real: list[tuple[str, str]] = []
    for kind in classes():
        # A 422 is listed below the other mistakes in a request.
        names = [base.__name__ for base in kind.__mro__[1:] if base in classes()]
        if kind is errors.UnprocessableEntityError:
            names = ["InvalidRequestError"]
        real.append((kind.__name__, names[0] if names else ""))
    programmers = {"SessionClosedError", "StreamConsumedError", "UnboundHandleError"}
    expected = {(name, "RuntimeError" if name in programmers else parent) for name, parent in real}
    assert set(drawn()) - {("RuntimeError", "")} == expected
    assert len(list(drawn())) == len(set(drawn()))


def test_the_exports_are_the_classes() -> None:
    """Every class is exported, and nothing else is."""
    assert sorted(kind.__name__ for kind in classes()) == sorted(errors.__all__)


def test_errors_have_one_root() -> None:
    """All errors have one root class, except misuse, which is a ``RuntimeError``."""
    rooted = set(tree(errors.FoxAPIError))
    for kind in classes():
        assert (kind in rooted) is not issubclass(kind, RuntimeError)


def test_classes_with_two_bases() -> None:
    """A class with two bases can be caught by either."""
    assert issubclass(errors.TaskTimeoutError, TimeoutError)
    assert issubclass(errors.UnprocessableEntityError, errors.APIStatusError)
    assert issubclass(errors.UnprocessableEntityError, errors.InvalidRequestError)


def test_statuses_have_one_class_each() -> None:
    """Statuses map to classes of the tree, and the codes of a 422 to its subclasses."""
    rooted = set(tree(errors.FoxAPIError))
    assert set(STATUS_ERRORS.values()) <= rooted
    for kind in UNPROCESSABLE_ERRORS.values():
        assert issubclass(kind, errors.UnprocessableEntityError)


def test_every_class_has_a_docstring() -> None:
    """Every class has a docstring of its own."""
    for kind in classes():
        assert kind.__doc__
        assert kind.__doc__ != (kind.__base__ and kind.__base__.__doc__)


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "travel",
    [
        *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in range(2, 6)),
        copy.copy,
        copy.deepcopy,
    ],
    ids=["pickle2", "pickle3", "pickle4", "pickle5", "copy", "deepcopy"],
)
def test_a_copy_has_every_attribute(kind: type[BaseException], travel: Any) -> None:
    """Pickling and copying keep the class, the text and every attribute."""
    error = sample(kind)
    arrived = travel(error)
    assert type(arrived) is kind
    assert arrived is not error
    assert str(arrived) == str(error)
    assert repr(arrived) == repr(error)
    assert arrived.args == error.args
    assert known(arrived) == known(error)


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_pickling_keeps_notes(kind: type[BaseException]) -> None:
    """Pickling keeps the notes of ``add_note``."""
    error = sample(kind)
    error.add_note("while submitting row 17")
    assert pickle.loads(pickle.dumps(error)).__notes__[-1] == "while submitting row 17"


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_every_class_has_advice(kind: type[BaseException]) -> None:
    """Every class has its own advice, which tracebacks of errors and of copies print."""
    advice: str = vars(kind)["advice"]
    assert advice.endswith(".")
    if issubclass(kind, errors.FoxAPIError):
        for error in (sample(kind), copy.copy(sample(kind))):
            assert "".join(traceback.format_exception(error)).endswith(f"\n{advice}\n")


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_a_copy_can_be_raised(kind: type[BaseException]) -> None:
    """A copy is raised like the original."""
    with pytest.raises(kind, match=re.escape(str(sample(kind)))):
        raise copy.copy(sample(kind))


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_the_text_shows_no_secret(kind: type[BaseException]) -> None:
    """Neither ``str`` nor ``repr`` shows the prompt or the key."""
    error = sample(kind)
    assert PROMPT not in f"{error} {error!r}"
    assert KEY not in f"{error} {error!r}"


def known(error: BaseException) -> dict[str, object]:
    """Return the attributes of an error; an inner error by its own attributes."""
    return {
        name: (type(value), str(value), known(value)) if isinstance(value, BaseException) else value
        for name, value in vars(error).items()
    }


def test_every_argument_is_an_attribute() -> None:
    """Each argument of a constructor is an attribute of the same name."""
    for kind, members in SAMPLES.items():
        error = sample(kind)
        assert {name: getattr(error, name) for name in members} == members


def test_the_page_of_errors_shows_every_class(checkout: Path) -> None:
    """The page of errors and the tree in the docstring have every class."""
    drawn = re.findall(r"^    +([A-Z]\w*Error)\b", errors.__doc__ or "", re.MULTILINE)
    assert sorted(name for name in drawn if name in errors.__all__) == sorted(errors.__all__)
    page = (checkout / "docs/reference/errors.md").read_text("utf-8")
    assert [name for name in errors.__all__ if f"### `{name}`\n" not in page] == []
