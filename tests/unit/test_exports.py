import inspect
import pickle
from importlib import import_module

import pytest

import understudy
from understudy.actors.errors import AgentError
from understudy.supervision.errors import SupervisionError
from understudy.transport.errors import TransportError


@pytest.mark.parametrize("name", understudy.__all__)
def test_every_promised_name_is_there(name: str) -> None:
    assert getattr(understudy, name) is not None


def test_dir_shows_exactly_the_promised_names() -> None:
    assert dir(understudy) == sorted(understudy.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Orchestator'"):
        understudy.Orchestator  # noqa: B018


@pytest.mark.parametrize("folder", ["transport", "supervision", "actors", "actors.podman"])
def test_every_exported_name_of_a_folder_is_there(folder: str) -> None:
    module = import_module(f"understudy.{folder}")
    for name in getattr(module, "__all__", []):
        assert hasattr(module, name), name


def every_error() -> list[type[Exception]]:
    for module in ("orchestrator", "control", "service", "sessions", "cli.service", "cli.tasks"):
        import_module(f"understudy.{module}")
    found: list[type[Exception]] = []
    todo: list[type[Exception]] = [AgentError, SupervisionError, TransportError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo.extend(kind.__subclasses__())
    return found


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__qualname__)
def test_every_error_survives_pickle(kind: type[Exception]) -> None:
    names = [
        p
        for p in list(inspect.signature(kind.__init__).parameters.values())[1:]
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    error = kind(*[1 if p.annotation in ("int", "float") else f"the {p.name}" for p in names])
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own error
    assert type(copy) is kind
    assert copy.args == error.args
    assert str(copy) == str(error)
