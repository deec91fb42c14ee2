# msgpack ships no types; these are the parts in use.
from collections.abc import Callable
from typing import Any

class UnpackException(Exception): ...

def packb(
    o: object,
    *,
    use_bin_type: bool = ...,
    strict_types: bool = ...,
    default: Callable[[Any], object] | None = ...,
) -> bytes: ...
def unpackb(
    packed: bytes | bytearray | memoryview,
    *,
    raw: bool = ...,
    strict_map_key: bool = ...,
    max_buffer_size: int = ...,
    max_str_len: int = ...,
    max_bin_len: int = ...,
    max_array_len: int = ...,
    max_map_len: int = ...,
    ext_hook: Callable[[int, bytes], object] = ...,
    timestamp: int = ...,
    object_pairs_hook: Callable[[list[tuple[object, object]]], object] | None = ...,
) -> Any: ...  # noqa: ANN401 - whatever the bytes hold

class Packer:
    def __init__(
        self,
        *,
        use_bin_type: bool = ...,
        autoreset: bool = ...,
        default: Callable[[Any], object] | None = ...,
    ) -> None: ...
    def pack(self, obj: object) -> bytes: ...

class Unpacker:
    def __init__(self, *, max_buffer_size: int = ..., strict_map_key: bool = ...) -> None: ...
    def feed(self, next_bytes: bytes) -> None: ...
    def read_array_header(self) -> int: ...
    def skip(self) -> None: ...
    def tell(self) -> int: ...

class ExtType:
    code: int
    data: bytes
    def __init__(self, code: int, data: bytes) -> None: ...
