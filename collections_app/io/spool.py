"""Rows that were read ahead, so that what is done with them waits for no file: in memory while they are few."""

from __future__ import annotations

import marshal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from collections_app.io.reading import NumberedRow
from core.errors import BadRequest

MAX_BYTES = 2 * 1024**3  # a workbook may name the same long text in every cell
_IN_MEMORY = 4 * 1024**2
_PIECE = 500


class Spool:
    """Rows that can be gone through any number of times. A context manager, for they are a file."""

    def __init__(self) -> None:
        self.count = 0
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by whoever enters it

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def fill(self, rows: Iterable[NumberedRow], meanwhile: Callable[[], None]) -> None:
        """Keep all of these; ``meanwhile`` is called now and then. BadRequest beyond :data:`MAX_BYTES`."""
        those = iter(rows)
        while piece := list(islice(those, _PIECE)):
            raw = marshal.dumps(piece)
            self._file.write(len(raw).to_bytes(8, "little"))
            self._file.write(raw)
            self.count += len(piece)
            if self._file.tell() > MAX_BYTES:
                raise BadRequest(f"The file's rows take more than {MAX_BYTES // 1024**3} GB.")
            meanwhile()

    def __iter__(self) -> Iterator[NumberedRow]:
        self._file.seek(0)
        while size := self._file.read(8):
            yield from marshal.loads(self._file.read(int.from_bytes(size, "little")))  # noqa: S302 - we wrote it
