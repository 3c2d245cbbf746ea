from __future__ import annotations

from pathlib import Path

import numpy as np

from phonoscope.alignment.textgrid import find_textgrids, read_textgrid
from phonoscope.audio import read_audio, write_flac
from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.items import AudioFile, RawItem
from phonoscope.corpus.sources import librispeech
from phonoscope.data.labels import Alignment, Interval
from tests.pipeline.librispeech_like import DIGITS, RATE_HZ, SUBSET, make_corpus


def test_the_folder_is_read_as_librispeech_with_a_textgrid_for_each_utterance(tmp_path: Path) -> None:
    (tmp_path / "fsdd").mkdir()
    for clip in range(24):
        samples = np.random.default_rng(clip).normal(0, 0.1, 1600).astype(np.float32)
        write_flac(tmp_path / f"fsdd/{clip % 2}_{('jackson', 'theo')[clip // 12]}_{clip}.wav", samples, 8_000)
    spoken = Alignment([Interval(0, 1, "zero")], [Interval(0, 0.5, "Z"), Interval(0.5, 1, "IH1")])
    make_corpus(tmp_path / "fsdd", tmp_path / "made", utterances=20, align=lambda samples, text: spoken)
    items = list(librispeech.read(tmp_path / "made", CorpusConfig(source="librispeech", subset=SUBSET)))
    assert len(items) == 2 * (12 // DIGITS)
    grids = find_textgrids(tmp_path / "made" / "alignments")
    for item in items:
        assert isinstance(item, RawItem)
        assert isinstance(item.audio, AudioFile)
        assert (item.speaker, item.sex) in {("1", "M"), ("2", "M")}
        assert set(item.text.split()) <= {"ZERO", "ONE"}
        samples, rate = read_audio(item.audio.path)
        assert (rate, len(samples)) == (RATE_HZ, DIGITS * 3200)
        assert read_textgrid(grids[item.utterance], stress="keep") == spoken
