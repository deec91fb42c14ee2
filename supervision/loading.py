"""How an actor's class and its arguments get into another process: by name, and as plain data."""

from __future__ import annotations

import importlib
import runpy
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import pykka

from understudy.transport.address import Address
from understudy.transport.errors import RemoteError
from understudy.transport.wire import EXT_REF

from .actor_errors import InvalidActor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The name under which a script's module is run in a child: `if __name__ == "__main__"` is false
# there, as in the children of multiprocessing.
_MAIN_ALIAS = "__mp_main__"


def describe_class(actor_class: type) -> str:
    """`module:qualname`."""
    return f"{actor_class.__module__}:{actor_class.__qualname__}"


def locate_class(actor_class: type[pykka.Actor]) -> dict[str, str]:
    """What another process needs to find the class: plain data.

    Raises:
        InvalidActor: it cannot be found by name.
    """
    path = describe_class(actor_class)
    if "<" in actor_class.__qualname__:
        raise InvalidActor(
            path, "another process cannot find a class made in a function; define it in a module"
        )
    module = sys.modules.get(actor_class.__module__)
    if module is None or _walk(module, actor_class.__qualname__) is not actor_class:
        raise InvalidActor(path, "its module has another thing, or nothing, under that name")
    where = {"module": actor_class.__module__, "qualname": actor_class.__qualname__}
    return where | _main_source(path) if where["module"] == "__main__" else where


def _main_source(path: str) -> dict[str, str]:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # run by python -m
        return {"main_module": str(spec.name)}
    file = getattr(main, "__file__", None)
    if file is None or not Path(file).is_file():
        raise InvalidActor(
            path, "it is not in a file (interactive or python -c); put it into a module"
        )
    return {"main_path": str(Path(file).absolute())}


def load_class(where: Mapping[str, str]) -> type[pykka.Actor]:
    """The class that `locate_class` described, in the child's main thread.

    Raises:
        ImportError, AttributeError: it is not there.
    """
    if where["module"] == "__main__":
        module = _run_main(where)
    else:
        module = importlib.import_module(where["module"])
    found: type[pykka.Actor] = _walk(module, where["qualname"], strict=True)
    return found


def _run_main(where: Mapping[str, str]) -> types.ModuleType:
    module = types.ModuleType(_MAIN_ALIAS)
    # Both names, so that the class is found by the one it travels under.
    sys.modules["__main__"] = sys.modules[_MAIN_ALIAS] = module
    if "main_module" in where:
        content = runpy.run_module(where["main_module"], run_name=_MAIN_ALIAS, alter_sys=True)
    else:
        folder = str(Path(where["main_path"]).parent)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        content = runpy.run_path(where["main_path"], run_name=_MAIN_ALIAS)
    module.__dict__.update(content)
    for thing in content.values():
        if isinstance(thing, type) and thing.__module__ == _MAIN_ALIAS:
            thing.__module__ = "__main__"
    return module


def _walk(module: object, qualname: str, *, strict: bool = False) -> Any:  # noqa: ANN401 - any object
    found = module
    for part in qualname.split("."):
        found = getattr(found, part) if strict else getattr(found, part, None)
    return found


def pack_arguments(
    arguments: object, to_address: Callable[[pykka.ActorRef[Any]], Address], *, path: str
) -> bytes:
    """Arguments as bytes: what msgpack can say, and refs.

    Raises:
        InvalidActor: something else is among them.
    """

    def default(thing: object) -> msgpack.ExtType:
        if isinstance(thing, pykka.ActorRef):
            ref: pykka.ActorRef[Any] = thing  # pyright: ignore[reportUnknownVariableType] - of any class
            return msgpack.ExtType(EXT_REF, msgpack.packb(to_address(ref).to_wire()))
        raise TypeError(f"{type(thing).__name__} is no plain data")

    try:
        return msgpack.packb(arguments, default=default)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        detail = f"its arguments must be plain data or actor refs: {error}"
        raise InvalidActor(path, detail) from error


def unpack_arguments(data: bytes, to_ref: Callable[[Address], pykka.ActorRef[Any]]) -> Any:  # noqa: ANN401 - whatever was packed
    """The arguments that `pack_arguments` made."""

    def ext_hook(code: int, body: bytes) -> object:
        if code != EXT_REF:
            raise RemoteError("msgpack.ExtType", f"no object is known under number {code}")
        return to_ref(Address.from_wire(msgpack.unpackb(body)))

    return msgpack.unpackb(data, strict_map_key=False, ext_hook=ext_hook)
