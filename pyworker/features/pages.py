"""The files of data that a page of features reads: twin of src/features/format.ts.

Legend: F latents that are looked at, S slots, W tokens of a window.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from pyworker.features.collector import Collected
from pyworker.features.histogram import activation_edges
from pyworker.features.logits import LogitEffects, logit_effects
from pyworker.features.similarity import most_similar
from pyworker.features.slots import Slots

LATENTS_A_CHUNK = 64
NEIGHBOURS = 10
LOGIT_TOKENS = 10
TOKENS_IN_TABLE = 3
DIGITS = 5
"""Significant ones, of every number that is shown."""


class Pages:
    """What was collected, and how it is shown.

    Args:
        collected: the pass.
        tokens_EC: the text of it.
        W_dec_FD: decoder rows of all latents.
        text: what a token is in text.
        effects: what rows of the decoder do to the logits; None where there is no way there.
    """

    def __init__(
        self,
        collected: Collected,
        tokens_EC: Tensor,
        W_dec_FD: Tensor,
        text: Callable[[int], str],
        effects: Callable[[Tensor], LogitEffects] | None,
    ):
        self.collected, self.tokens_EC, self.W_dec_FD = collected, tokens_EC.numpy(), W_dec_FD
        self.text, self.effects = cache(text), effects
        self.highest = collected.range_of_max().tolist()
        self.table: dict[str, list[Any]] = {
            "index": collected.wanted_F.tolist(),
            "density": _rounded((collected.n_active_F / max(collected.n_tokens, 1)).cpu().numpy()),
            "max_activation": _rounded(collected.max_F.cpu().numpy()),
            "mean_activation": _rounded((collected.sum_F / collected.n_active_F.clamp(min=1)).cpu().numpy()),
            "decoder_norm": _rounded(W_dec_FD.float().norm(dim=1)[collected.wanted_F].cpu().numpy()),
            "top_tokens": [],
            "positive_tokens": [],
        }

    def chunks(self) -> Iterator[list[dict[str, Any]]]:
        """All latents, some at a time; when they are through, the table is complete."""
        collected = self.collected
        # Some at a time too: of a wide SAE each takes minutes, and meanwhile nothing would be told.
        similar = most_similar(self.W_dec_FD, collected.wanted_F, NEIGHBOURS)
        co_active = collected.co_activation.strongest(collected.wanted_F, NEIGHBOURS)
        for rows in torch.arange(len(collected.wanted_F)).split(LATENTS_A_CHUNK):
            first, last = int(rows[0]), int(rows[-1]) + 1
            effects = self.effects and self.effects(self.W_dec_FD[collected.wanted_F[first:last]])
            top, sampled = (_Shown(slots, first, last) for slots in (collected.top, collected.sampled))
            chunk = []
            for row in range(first, last):
                latent: dict[str, Any] = {
                    "index": self.table["index"][row],
                    "activation_histogram": self._histogram(row),
                    **self._logits(effects, row - first),
                    "similar": _numbered(next(similar)),
                    "co_active": _numbered(next(co_active)),
                    "groups": self._groups(row, row - first, top, sampled),
                }
                self.table["top_tokens"].append(_top_tokens(latent["groups"]))
                positive = [token for token, value in latent["positive_logits"] if value > 0]
                self.table["positive_tokens"].append(positive[:TOKENS_IN_TABLE])
                chunk.append(latent)
            yield chunk

    def _histogram(self, row: int) -> dict[str, Any]:
        counts = self.collected.bins_FH[row].tolist()
        filled = [number for number, count in enumerate(counts) if count > 0]
        if not filled:
            return {"edges": [0, 0], "counts": [0]}
        begin, end = filled[0], filled[-1] + 1
        edges = [*activation_edges().tolist(), self.table["max_activation"][row]]
        return {"edges": _rounded(np.array(edges[begin : end + 1])), "counts": counts[begin:end]}

    def _logits(self, effects: LogitEffects | None, number: int) -> dict[str, Any]:
        if effects is None:
            return {"logit_histogram": None, "positive_logits": [], "negative_logits": []}
        edges, counts = _rounded(np.array(effects.edges[number])), effects.counts[number]
        return {
            "logit_histogram": {"edges": edges, "counts": counts},
            "positive_logits": [(self.text(t), v) for t, v in _numbered(effects.positive[number])],
            "negative_logits": [(self.text(t), v) for t, v in _numbered(effects.negative[number])],
        }

    def _groups(self, row: int, number: int, top: "_Shown", sampled: "_Shown") -> list[dict[str, Any]]:
        collected = self.collected
        if not collected.n_active_F[row]:
            return []
        shown = [slot for slot in range(top.n_slots) if top.value[number, slot] > 0]
        groups = [
            {
                "name": "top",
                "low": None,
                "high": None,
                "count": int(collected.n_sequences_F[row]),
                "examples": [self._example(top, number, slot) for slot in shown],
            }
        ]
        edges, counts = activation_edges().tolist(), collected.bins_FH[row].cpu().numpy()
        largest, highest = float(collected.max_F[row]), self.highest[row]
        n_ranges, of_range = collected.sampled.n_strata, collected.sampled.of_stratum
        for stratum in range(n_ranges):
            half = highest - stratum
            begin = max(0, 2 * half - 1) if stratum < n_ranges - 1 else 0
            end = 2 * half + 1
            count = int(counts[begin:end].sum())
            if half < 0 or count == 0:
                continue
            low, high = edges[begin], min(edges[end], largest) if end < len(edges) else largest
            slots = [stratum * of_range + n for n in range(of_range)]
            slots = [slot for slot in slots if sampled.value[number, slot] > 0]
            slots.sort(key=lambda slot: -sampled.value[number, slot])
            low, high = _rounded(np.array([low, high]))
            percent = f"{round(100 * low / largest)}–{round(100 * high / largest)}"
            groups.append(
                {
                    "name": f"{percent} % of the maximum",
                    "low": low,
                    "high": high,
                    "count": count,
                    "examples": [self._example(sampled, number, slot) for slot in slots],
                }
            )
        return groups

    def _example(self, shown: "_Shown", number: int, slot: int) -> dict[str, Any]:
        examples = self.collected.examples
        sequence, position = int(shown.sequence[number, slot]), int(shown.position[number, slot])
        begin = max(0, position - examples.before)
        end = min(self.tokens_EC.shape[1], position + examples.after + 1)
        at = begin - position + examples.before
        return {
            "tokens": [self.text(token) for token in self.tokens_EC[sequence, begin:end].tolist()],
            "values": shown.window[number, slot, at : at + end - begin].tolist(),
            "peak": position - begin,
            "sequence": sequence,
            "position": position,
        }


class _Shown:
    """Slots of some latents, for lists of Python."""

    def __init__(self, slots: Slots, first: int, last: int):
        self.value = slots.value_FS[first:last].cpu().numpy()
        self.sequence = slots.sequence_FS[first:last].cpu().numpy()
        self.position = slots.position_FS[first:last].cpu().numpy()
        self.window = _rounded_array(slots.window_FSW[first:last].cpu().numpy())
        self.n_slots = self.value.shape[1]


def write_pages(pages: Pages, folder: Path) -> Iterator[int]:
    """Write the chunks and then the table into ``folder``; gives how many latents are written, now and then."""
    done = 0
    for number, chunk in enumerate(pages.chunks()):
        _write(folder / f"chunk-{number:05d}.js", "chunk", chunk)
        done += len(chunk)
        yield done
    _write(folder / "latents.js", "latents", pages.table)


def _write(path: Path, kind: str, value: Any) -> None:
    path.write_bytes(
        b'globalThis.saeLensFeatures("' + kind.encode() + b'", ' + msgspec.json.encode(value) + b");\n"
    )


def effects_through(
    into_residual: Callable[[Tensor], Tensor | None], unembedding_VD: Tensor
) -> Callable[[Tensor], LogitEffects]:
    """Effects on the logits of rows of the decoder, for a hook that has a way there."""

    def effects(rows_FD: Tensor) -> LogitEffects:
        directions = into_residual(rows_FD.to(unembedding_VD.device))
        assert directions is not None
        return logit_effects(directions, unembedding_VD, LOGIT_TOKENS)

    return effects


def _top_tokens(groups: list[dict[str, Any]]) -> list[str]:
    peaks = [one["tokens"][one["peak"]] for one in groups[0]["examples"]] if groups else []
    return list(dict.fromkeys(peaks))[:TOKENS_IN_TABLE]


def _numbered(found: list[tuple[int, float]]) -> list[tuple[int, float]]:
    values = _rounded(np.array([value for _, value in found]))
    return [(number, value) for (number, _), value in zip(found, values, strict=True)]


def _rounded(values: np.ndarray) -> list[float]:
    return _rounded_array(values).tolist()


def _rounded_array(values: np.ndarray) -> np.ndarray:
    """To DIGITS significant digits, as float64: their shortest text is that."""
    exact = values.astype(np.float64)
    size = np.floor(np.log10(np.abs(exact), where=exact != 0, out=np.zeros_like(exact)))
    scale = 10.0 ** (DIGITS - 1 - size)
    return np.round(exact * scale) / scale
