"""Speech of the corpus, and Whisper on it, as the stages around Whisper take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope import paths

if TYPE_CHECKING:
    from phonoscope.config.params import Params
    from phonoscope.config.sites import Site
    from phonoscope.sae import SparseAutoencoder
    from phonoscope.whisper.utterances import Utterance


def utterances() -> list[Utterance]:
    """Every aligned utterance, in the manifest's order."""
    from phonoscope.data import Labels, Manifest, Split
    from phonoscope.whisper.utterances import list_utterances

    aligned = Manifest.load(paths.MANIFEST).select(Labels.load(paths.ALIGNMENTS).utterances)
    return list_utterances(aligned, Split.load(paths.SPLIT), paths.CORPUS)


def downstream(params: Params, site: Site, model: SparseAutoencoder) -> dict[str, float]:
    """Cross-entropy and WER on eval utterances with the site reconstructed, against clean and zero."""
    from phonoscope.whisper.model import open_whisper
    from phonoscope.whisper.patching import faithfulness
    from phonoscope.whisper.utterances import eval_utterances, read_16k

    settings, chosen = params.whisper, eval_utterances(utterances(), params.sae.faithfulness)
    whisper = open_whisper(settings.checkpoint, params.compute)
    audio, texts = [read_16k(one) for one in chosen], [one.text for one in chosen]
    return faithfulness(whisper, site, audio, texts, model, normalize=settings.normalize, context_s=settings.context_s)
