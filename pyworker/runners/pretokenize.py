"""Operations ``pretokenize`` and ``pretokenize_parquet``: texts to a dataset of token sequences, prepared once.

The output is that of SAELens' ``PretokenizeRunner`` (reference/saelens.md §1.3), with no text lost where two
batches meet: packing runs over the whole stream, and neither batch size nor ``num_proc`` decide a token.
"""

import os
import time
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import pyworker
from pyworker.data.datasets import Source, open_source
from pyworker.data.pretokenize_staging import (
    FINGERPRINT,
    FORMAT,
    RECORD,
    Progress,
    Staging,
    finished_record,
    refuse_difference,
)
from pyworker.data.storage import storage_failures_named
from pyworker.data.stream_packing import SpecialTokens, StreamPacker
from pyworker.data.token_dataset import Pieces, write_dataset, write_json, write_parquet
from pyworker.data.tokenization import special_token_id
from pyworker.errors import WorkerError
from pyworker.lm.tokenizer import load_tokenizer, vocabulary_sha256
from pyworker.protocol.pretokenize_config import PretokenizeRunnerConfig
from pyworker.runners.forwarded_logs import forwarded_logs
from pyworker.text_encoding import encode_batches, encoder_for

PIECE_TOKENS = 8_000_000
PIECE_SECONDS = 5.0
"""Work goes to the disk at least so often: what a kill costs."""
TELL_SECONDS = 0.25
BYTES_PER_TOKEN = 4

WITHOUT_EFFECT_ON_THE_RESULT = {
    "num_proc", "pretokenize_batch_size", "streaming", "save_path", "dataset_trust_remote_code",
    "hf_repo_id", "hf_num_shards", "hf_revision", "hf_is_private_repo",
}  # fmt: skip


def pretokenize(params: dict[str, Any], session: Any) -> dict[str, Any]:
    """Operation ``pretokenize``.

    Args:
        params: ``config``, with ``save_path``; ``recorded``, the names of tokenizer and dataset as they are written
            into the dataset (a bundled one lies elsewhere on each machine).
        session: is told stages and ``progress`` events of documents, tokens and sequences.

    Returns:
        ``ended`` (``done``, ``stopped``, or ``present`` when it was there already), where it lies, and counts.

    Raises:
        WorkerError: ``CONFIG_INVALID``, ``DATASET_INVALID``, ``DATASET_NOT_FOUND``, ``DATASET_EXHAUSTED``,
            ``MODEL_NOT_FOUND``, ``MODEL_LOAD_FAILED``, ``TOKENIZER_MISMATCH``, ``HUB``, ``STORAGE``.
    """
    cfg = msgspec.convert(params["config"], PretokenizeRunnerConfig)
    recorded = {**msgspec.to_builtins(cfg), **params["recorded"]}
    with forwarded_logs(session):
        return Pretokenizing(cfg, recorded, session).run()


def pretokenize_parquet(params: dict[str, Any], session: Any) -> dict[str, Any]:
    """Operation ``pretokenize_parquet``: ``{path, folder, split, num_shards}`` to the files of a hub dataset."""
    path = Path(params["path"])
    record = finished_record(path)
    if record is None:
        raise WorkerError(
            "DATASET_NOT_FOUND",
            f"{str(path)!r} holds no dataset that was pretokenized here",
            hint="sae-lens-ts datasets lists those that are",
        )
    total = record["n_sequences"]
    shards = [shard["file"] for shard in record["shards"]]

    def tell(done: int) -> None:
        session.stage("parquet", "writing the files of the hub", done=done, total=total)

    tell(0)
    folder = Path(params["folder"])
    with storage_failures_named(folder):
        n_shards = params["num_shards"] or len(shards)
        names = write_parquet(path, shards, folder, params["split"], n_shards, tell)
    return {"files": names}


class Pretokenizing:
    """One work, from texts to the finished folder."""

    def __init__(self, cfg: PretokenizeRunnerConfig, recorded: dict[str, Any], session: Any):
        assert cfg.save_path is not None, "the orchestrator chooses a place where the user named none"
        self.cfg = cfg
        self.recorded = recorded
        self.session = session
        self.save_path = Path(cfg.save_path).expanduser().absolute()
        self._told_at = 0.0

    def run(self) -> dict[str, Any]:
        """See :func:`pretokenize`."""
        cfg, session = self.cfg, self.session
        session.stage("load_tokenizer", f"loading the tokenizer {self.recorded['tokenizer_name']}")
        tokenizer = load_tokenizer(cfg.tokenizer_name)
        specials = self._specials(tokenizer)
        session.stage("open_dataset", f"opening {self.recorded['dataset_path']}")
        source = self._open()
        made_from = self._made_from(tokenizer, source)
        present = finished_record(self.save_path)
        if present is not None:
            refuse_difference(present["made_from"], made_from, f"{str(self.save_path)!r} holds a dataset")
            return self._result("present", present)
        staging = Staging(self.save_path, made_from, cfg.seed, cfg.shuffle)
        try:
            return self._work(staging, source, tokenizer, specials)
        finally:
            staging.close()

    def _work(
        self, staging: Staging, source: Source, tokenizer: Any, specials: SpecialTokens
    ) -> dict[str, Any]:
        progress = staging.progress
        n_continued = progress.n_documents
        if n_continued:
            self.session.event(
                "continued",
                documents=n_continued,
                total=source.n_rows,
                tokens=progress.n_tokens,
                sequences=progress.n_sequences,
            )
        if not progress.all_read:
            self._tokenize(staging, source, tokenizer, specials)
        if not progress.all_read:
            return {**self._result("stopped", _counts(progress)), "n_continued": n_continued}
        if progress.n_sequences == 0:
            raise WorkerError(
                "DATASET_EXHAUSTED",
                f"dataset {source.name!r} gives no whole sequence of {self.cfg.context_size} tokens: it has "
                f"{progress.n_tokens} tokens in {progress.n_documents} documents",
                hint="use more text or a smaller context_size, or leave disable_concat_sequences out",
            )
        record = self._write(staging, tokenizer)
        staging.publish()
        return {**self._result("done", record), "n_continued": n_continued}

    def _tokenize(self, staging: Staging, source: Source, tokenizer: Any, specials: SpecialTokens) -> None:
        cfg, progress = self.cfg, staging.progress
        packer = StreamPacker(cfg.context_size, specials, cfg.disable_concat_sequences)
        packer.carry_T = np.array(progress.carry, dtype=np.int32)
        packer.carry_separators = np.array(progress.carry_separators, dtype=np.int64)
        packer.n_short_documents = progress.n_short_documents
        batches = source.batches(cfg.pretokenize_batch_size, progress.n_documents)
        head = next(batches, [])
        encoder = encoder_for(tokenizer, head, cfg.use_chat_formatting)
        self._tell(progress.n_documents, source.n_rows, progress.n_tokens, progress.n_sequences)
        rows: list[np.ndarray] = []
        n_documents, n_tokens, n_rows, began = progress.n_documents, progress.n_tokens, 0, time.monotonic()

        def put_down(all_read: bool) -> None:
            if n_rows:
                staging.add_piece(np.concatenate(rows))
            progress.n_documents, progress.n_tokens = n_documents, n_tokens
            progress.n_short_documents = packer.n_short_documents
            progress.carry = packer.carry_T.tolist()
            progress.carry_separators = packer.carry_separators.tolist()
            progress.all_read = all_read
            staging.save()

        space_is_known = source.n_rows is None
        # Closed at a stop: what the processes have at hand must not be waited for later.
        with closing(encode_batches(chain([head], batches), encoder, cfg.num_proc)) as encoded_batches:
            for n_in_batch, encoded in encoded_batches:
                rows.append(packer.pack(*encoded))
                n_documents += n_in_batch
                n_tokens += len(encoded.tokens)
                n_rows += len(rows[-1])
                if not space_is_known:
                    space_is_known = True
                    self._require_space(
                        staging, n_tokens / max(n_documents, 1) * (source.n_rows - n_documents)
                    )
                self._tell(n_documents, source.n_rows, n_tokens, progress.n_sequences + n_rows)
                if self.session.stop_requested():
                    put_down(all_read=False)
                    return
                if n_rows * cfg.context_size >= PIECE_TOKENS or time.monotonic() - began >= PIECE_SECONDS:
                    put_down(all_read=False)
                    rows, n_rows, began = [], 0, time.monotonic()
        put_down(all_read=True)

    def _write(self, staging: Staging, tokenizer: Any) -> dict[str, Any]:
        progress = staging.progress
        n = progress.n_sequences
        # The order that SAELens' runner gets from `Dataset.shuffle` with this seed.
        order = np.random.default_rng(progress.seed).permutation(n) if self.cfg.shuffle else np.arange(n)

        def tell(done: int) -> None:
            self.session.stage("write_dataset", "writing the dataset", done=done, total=n)

        tell(0)
        with storage_failures_named(staging.finished):
            shards = write_dataset(staging.finished, Pieces(staging.pieces()), order, tell)
        record = {
            "format": FORMAT,
            "made_from": progress.made_from,
            **_counts(progress),
            "n_bytes": sum(shard["bytes"] for shard in shards),
            "shards": shards,
        }
        write_json(staging.finished / "sae_lens.json", self._metadata(tokenizer, progress))
        write_json(staging.finished / RECORD, record)
        return record

    def _specials(self, tokenizer: Any) -> SpecialTokens:
        cfg = self.cfg
        asked = (cfg.begin_batch_token, cfg.begin_sequence_token, cfg.sequence_separator_token)
        for token in asked:
            if isinstance(token, int) and token >= len(tokenizer):
                raise WorkerError(
                    "CONFIG_INVALID",
                    f"the token id {token} is not one of the tokenizer's, which are 0 to {len(tokenizer) - 1}",
                    hint="name bos, eos or sep, or an id of the tokenizer",
                )
        found = {token: special_token_id(token, tokenizer) for token in dict.fromkeys(asked)}
        return SpecialTokens(*(found[token] for token in asked))

    def _open(self) -> Source:
        cfg = self.cfg
        try:
            source = open_source(
                cfg.dataset_path,
                name=cfg.dataset_name,
                split=cfg.split,
                column=cfg.column_name,
                streaming=cfg.streaming,
                trust_remote_code=cfg.dataset_trust_remote_code,
                chat=cfg.use_chat_formatting,
                data_files=cfg.data_files,
                data_dir=cfg.data_dir,
            )
        except WorkerError as error:
            raise WorkerError(
                error.code,
                _in_our_words(error.message),
                error.hint and _in_our_words(error.hint),
                error.details,
            ) from error
        if source.kind == "tokens":
            raise WorkerError(
                "DATASET_INVALID",
                f"column {source.column!r} of dataset {source.name!r} holds token ids already",
                hint="train on it as it is (dataset_path), or name a column with text: column_name",
            )
        return source

    def _made_from(self, tokenizer: Any, source: Source) -> dict[str, Any]:
        options = {
            key: value for key, value in self.recorded.items() if key not in WITHOUT_EFFECT_ON_THE_RESULT
        }
        fingerprint = None if source.fingerprint is None else {FINGERPRINT: source.fingerprint}
        return {**options, **(fingerprint or {}), "tokenizer_sha256": vocabulary_sha256(tokenizer)}

    def _metadata(self, tokenizer: Any, progress: Progress) -> dict[str, Any]:
        """``sae_lens.json``: SAELens' keys, then ours. The seed is the one that was drawn."""
        options = self.recorded
        return {
            "sae_lens_version": f"sae-lens-ts {pyworker.__version__}",
            "tokenizer_name": options["tokenizer_name"],
            "original_dataset": options["dataset_path"],
            "original_dataset_name": options["dataset_name"],
            "original_split": options["split"],
            "original_data_files": options["data_files"],
            "original_column_name": options["column_name"],
            "context_size": options["context_size"],
            "shuffled": options["shuffle"],
            "seed": progress.seed,
            "begin_batch_token": options["begin_batch_token"],
            "begin_sequence_token": options["begin_sequence_token"],
            "sequence_separator_token": options["sequence_separator_token"],
            "disable_concat_sequences": options["disable_concat_sequences"],
            "use_chat_formatting": options["use_chat_formatting"],
            "tokenizer_sha256": vocabulary_sha256(tokenizer),
            "sae_lens_ts_version": pyworker.__version__,
        }

    def _require_space(self, staging: Staging, tokens_left: float) -> None:
        """Refuse at the beginning what would fail at the end: pieces and dataset lie side by side for a moment."""
        done = staging.progress.n_sequences * self.cfg.context_size
        needed = int((2 * tokens_left + done) * BYTES_PER_TOKEN)
        place = os.statvfs(staging.folder)
        free = place.f_bavail * place.f_frsize
        if needed > free:
            raise WorkerError(
                "STORAGE",
                f"cannot write the dataset to {str(self.save_path)!r}: it needs about {needed / 2**30:.2f} GiB "
                f"while it is made, and {free / 2**30:.2f} GiB are free",
                hint="free some space, or set save_path to another disk",
                details={"needed_bytes": needed, "free_bytes": free},
            )

    def _tell(self, documents: int, total: int | None, tokens: int, sequences: int) -> None:
        now = time.monotonic()
        if now - self._told_at < TELL_SECONDS and documents != total:
            return
        self._told_at = now
        self.session.stage("tokenize", "tokenizing", done=documents, total=total)
        self.session.event("progress", documents=documents, total=total, tokens=tokens, sequences=sequences)

    def _result(self, ended: str, counts: dict[str, Any]) -> dict[str, Any]:
        return {
            "ended": ended,
            "path": str(self.save_path),
            "n_continued": 0,
            "n_documents": counts["n_documents"],
            "n_short_documents": counts["n_short_documents"],
            "n_tokens": counts["n_tokens"],
            "n_tokens_left_over": counts["n_tokens_left_over"],
            "n_sequences": counts["n_sequences"],
            "n_bytes": counts.get("n_bytes", 0),
            "n_shards": len(counts.get("shards", ())),
            "seed": counts["seed"],
        }


def _counts(progress: Progress) -> dict[str, Any]:
    return {
        "seed": progress.seed,
        "n_documents": progress.n_documents,
        "n_short_documents": progress.n_short_documents,
        "n_tokens": progress.n_tokens,
        "n_tokens_left_over": len(progress.carry),
        "n_sequences": progress.n_sequences,
    }


def _in_our_words(text: str) -> str:
    """The reader speaks of the options of a training run; here they have SAELens' other names."""
    return text.replace("dataset_column", "column_name").replace("dataset_split", "split")
