"""`python -m tests.fuzz TARGET [SECONDS]` runs a coverage-guided fuzzer: it needs atheris.

What it found worth keeping is in a folder of its own, given by FUZZ_CORPUS.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).resolve().parent.parent
_VECTORS = _TESTS / "contract" / "data"


def seeds(folder: Path) -> None:
    """Write the documented frames, so that the fuzzer begins with what is right."""
    for name in ("actor_frames", "frames"):
        for vector in json.loads((_VECTORS / f"{name}.json").read_text(encoding="utf-8")):
            frame = bytes.fromhex(vector.get("frame") or vector["frame_hex"])
            for start in (b"\x00", b""):
                for data in (frame, frame[4:]):
                    kept = start + data
                    (folder / hashlib.sha256(kept).hexdigest()[:16]).write_bytes(kept)


def main() -> None:
    """Fuzz one target for some time (600 s)."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    sys.path.insert(0, str(_TESTS))
    seconds = sys.argv[2] if len(sys.argv) > 2 else "600"
    logging.disable()
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["understudy.transport", "msgpack"]):
        target = importlib.import_module("fuzz.targets").TARGETS[sys.argv[1]]
    corpus = Path(os.environ.get("FUZZ_CORPUS") or tempfile.mkdtemp(prefix="fuzz-"))
    corpus.mkdir(exist_ok=True)
    seeds(corpus)
    flags = [f"-max_total_time={seconds}", "-max_len=512", "-timeout=10", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *flags, f"-artifact_prefix={corpus}.", str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
