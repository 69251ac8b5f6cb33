"""llama.cpp through its C interface: files of its own are opened, rounded, and read token by token.

The interface is the lower one of `llama-cpp-python`, which builds llama.cpp for the processor.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import finalize

import numpy as np

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    IntArray = NDArray[np.int32]
    FloatArray = NDArray[np.float32]

AT_ONCE = 512
"""Tokens that are read in one call."""

_ERROR = 4
"""llama.cpp's level of errors in its log."""

_errors: list[str] = []


class Piece(NamedTuple):
    """Tokens of a sequence, read one after the other.

    sequence: its number, from 0. start: place of the first token. told: bool, of which tokens the
    logits are wanted.
    """

    sequence: int
    start: int
    tokens: Sequence[int]
    told: Sequence[bool]


class Reader:
    """What llama.cpp has read of some sequences, and what it would say next.

    model: of `GgufModel`. tokens: that a sequence may have, or all of them together where `shared`.
    Raises ModelError where there is not enough memory.
    """

    def __init__(
        self, model: GgufModel, tokens: int, sequences: int, *, threads: int, shared: bool
    ) -> None:
        self._lib, self._model = _library(), model
        settings = self._lib.llama_context_default_params()
        # Sequences that share no memory each have a part of it, of whole blocks.
        size = -(-tokens // 256) * 256
        settings.n_ctx = size if shared else size * sequences
        settings.n_batch = settings.n_ubatch = AT_ONCE
        settings.n_seq_max = sequences
        settings.n_threads = settings.n_threads_batch = threads
        settings.kv_unified = shared
        settings.no_perf = True
        self.tokens, self.sequences = size, sequences
        self._context = self._lib.llama_init_from_model(model.handle, settings)
        if not self._context:
            raise ModelError(
                text("error.llama_cpp.context", reason=_reason()), folder=model.file.parent
            )
        self._memory = self._lib.llama_get_memory(self._context)
        self._batch = self._lib.llama_batch_init(AT_ONCE, 0, 1)
        finalize(self, _free, self._lib, self._context, self._batch)

    def forget(self) -> None:
        """Begin all sequences anew."""
        self._lib.llama_memory_clear(self._memory, False)

    def copy(self, source: int, target: int) -> None:
        """Let a sequence begin as another one does so far; memory must be shared."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def drop(self, sequence: int) -> None:
        """Forget one sequence."""
        self._lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def read(self, pieces: Sequence[Piece]) -> Iterator[FloatArray]:
        """Read tokens; give the logits that are told, in their order, some rows at a time.

        Raises ModelError where llama.cpp cannot go on.
        """
        lengths = [len(piece.tokens) for piece in pieces]
        tokens = np.concatenate([np.asarray(p.tokens, np.int32) for p in pieces])
        told = np.concatenate([np.asarray(p.told, np.int8) for p in pieces])
        places = np.concatenate([p.start + np.arange(len(p.tokens)) for p in pieces])
        owners = np.repeat([piece.sequence for piece in pieces], lengths)
        for start in range(0, len(tokens), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            yield self._read(tokens[part], places[part], owners[part], told[part])

    def held_bytes(self) -> int:
        """Return the bytes of the keys and values of all sequences that were read."""
        sizes = (
            self._lib.llama_state_seq_get_size(self._context, k) for k in range(self.sequences)
        )
        return int(sum(sizes))

    def _read(
        self, tokens: IntArray, places: NDArray[Any], owners: NDArray[Any], told: NDArray[np.int8]
    ) -> FloatArray:
        batch, size = self._batch, len(tokens)
        batch.n_tokens = size
        given = (
            (batch.token, tokens),
            (batch.pos, places),
            (batch.n_seq_id, 1),
            (batch.logits, told),
        )
        for pointer, values in given:
            np.ctypeslib.as_array(pointer, (size,))[:] = values
        for k, owner in enumerate(owners.tolist()):
            batch.seq_id[k][0] = owner
        _errors.clear()
        if self._lib.llama_decode(self._context, batch):
            raise ModelError(
                text("error.llama_cpp.decode", reason=_reason()), folder=self._model.file.parent
            )
        rows, columns = int(np.count_nonzero(told)), self._model.vocabulary
        if not rows:
            return np.zeros((0, columns), np.float32)
        seen = self._lib.llama_get_logits(self._context)
        # Copied: the next call writes over it.
        return np.ctypeslib.as_array(seen, (rows, columns)).copy()


class GgufModel:
    """A GGUF file as llama.cpp opens it.

    vocabulary_only: whether its weights are left aside.
    Raises ModelError where the file is damaged or of an unknown kind, or the library is absent.
    """

    def __init__(self, file: Path, *, vocabulary_only: bool = False) -> None:
        self._lib, self.file = _library(), file
        settings = self._lib.llama_model_default_params()
        settings.vocab_only = vocabulary_only
        _errors.clear()
        self.handle = self._lib.llama_model_load_from_file(os.fsencode(file), settings)
        if not self.handle:
            raise ModelError(
                text("error.llama_cpp.open", file=file.name, reason=_reason()), folder=file.parent
            )
        finalize(self, self._lib.llama_model_free, self.handle)
        self._words = self._lib.llama_model_get_vocab(self.handle)
        self.vocabulary = int(self._lib.llama_vocab_n_tokens(self._words))

    @property
    def parameters(self) -> int:
        """Weights of the model."""
        return int(self._lib.llama_model_n_params(self.handle))

    def tokens(self, content: str) -> list[int]:
        """Return the tokens of a text by llama.cpp's own tokenizer, without added ones."""
        raw = content.encode()
        room = len(raw) + 8
        found = (ctypes.c_int32 * room)()
        size = self._lib.llama_tokenize(self._words, raw, len(raw), found, room, False, True)
        return list(found[:size])


def round_gguf(source: Path, target: Path, kind: str, *, threads: int) -> None:
    """Write a file with fewer bits a weight. kind: a name of llama.cpp, as `Q4_K_M`.

    Raises ModelError where llama.cpp cannot.
    """
    library = _library()
    settings = library.llama_model_quantize_default_params()
    settings.ftype = getattr(library, f"LLAMA_FTYPE_MOSTLY_{kind}")
    settings.nthread = threads
    _errors.clear()
    files = os.fsencode(source), os.fsencode(target)
    if library.llama_model_quantize(*files, ctypes.byref(settings)):
        raise ModelError(
            text("error.llama_cpp.round", kind=kind, reason=_reason()), folder=source.parent
        )


def require_llama_cpp() -> None:
    """Raise ModelError where llama.cpp is not installed."""
    _library()


@cache
def _library() -> Any:
    """Load llama.cpp once; of its log the errors are kept, to say why something failed."""
    try:
        import llama_cpp.llama_cpp as library
    except (ImportError, OSError, RuntimeError) as error:
        raise ModelError(
            text("error.llama_cpp.absent", reason=str(error).partition("\n")[0]),
            fix=text("error.llama_cpp.absent.fix"),
        ) from error
    library.llama_log_set(_LISTENER, None)
    library.llama_backend_init()
    return library


def _hear(level: int, said: bytes, _: Any) -> None:
    if level == _ERROR:
        _errors.append(said.decode(errors="replace").strip())


_LISTENER = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(_hear)


def _free(library: Any, context: Any, batch: Any) -> None:
    library.llama_batch_free(batch)
    library.llama_free(context)


def _reason() -> str:
    return next((line for line in _errors if line), "?")
