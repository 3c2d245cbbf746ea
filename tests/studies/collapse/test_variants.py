import itertools

from phonoscope.config.vq import VqConfig
from phonoscope.studies.collapse.variants import arm_variants, main_variants


def test_the_eight_combinations_come_under_both_updates_where_they_have_a_quantizer() -> None:
    variants, sequences = main_variants(), (None, "hdp", "hsmm", "hdp_hsmm")
    pairs = list(itertools.product((None, "ema", "ema_unscaled"), sequences))
    assert {(variant.update, variant.sequence) for variant in variants} == set(pairs)
    assert len({variant.name for variant in variants}) == len(variants) == len(pairs)
    assert {"baseline", "vq", "vq_unscaled", "hdp_hsmm", "vq_hdp_unscaled"} < {variant.name for variant in variants}


def test_arms_change_their_own_settings_only() -> None:
    config = VqConfig()
    arms = {variant.name: variant for variant in arm_variants(config.arms)}
    assert len(arms) == 8
    assert arms["vq_older_unscaled"].update == "ema_unscaled"
    older = arms["vq_older_unscaled"].settings(config)
    assert (older.decay, older.batch_size, older.lr) == (0.99, 64, 1e-3)
    assert not arms["vq_no_augmentation"].settings(config).augment
    assert arms["vq_random_start"].settings(config).start == "random"
    frozen = arms["vq_frozen_encoder"]
    assert frozen.settings(config) == config
    assert frozen.frozen_epochs(config) == config.frozen_epochs > 0
    assert all(variant.settings(config) == config for variant in main_variants())
    assert not any(variant.frozen_epochs(config) for variant in main_variants())
