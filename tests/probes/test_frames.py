from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from phonoscope.config.probes import ClassifierConfig, ClassWeight
from phonoscope.probes import frames
from phonoscope.probes.frames import ArrayVectors, fit_probe_index, fit_ridge_frames


@pytest.mark.parametrize("class_weight", ["balanced", "none"])
def test_blocks_of_frames_give_what_scikit_learn_gives(
    class_weight: ClassWeight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "BLOCK_FRAMES", 64)
    monkeypatch.setattr(frames, "HELD_BYTES", 0)
    rng = np.random.default_rng(4)
    points = rng.normal(size=(500, 5)) * [1, 10, 0.1, 1, 1] + [0, 3, 50, 0, 0]
    names = np.array(["a", "b", "c"])[(points[:, :3] @ [1.0, 0.1, 5.0] + rng.normal(size=500) > 250).astype(int)]
    names[::7] = "c"
    settings = ClassifierConfig(C=0.3, class_weight=class_weight, tolerance=1e-9)
    classes, index = np.unique(names, return_inverse=True)
    ours = fit_probe_index(ArrayVectors(points), index, classes.tolist(), settings)
    weighting = None if class_weight == "none" else class_weight
    scaled = StandardScaler().fit_transform(points)
    theirs = LogisticRegression(C=0.3, class_weight=weighting, max_iter=5_000, tol=1e-9).fit(scaled, names)
    np.testing.assert_allclose(ours.weight, theirs.coef_, atol=1e-4)
    np.testing.assert_array_equal(np.array(ours.classes)[ours.predict(points)], theirs.predict(scaled))
    values = points @ rng.normal(size=5) + rng.normal(size=500)
    values[::9] = np.nan
    keep = np.isfinite(values)
    ridge = Ridge(alpha=3.0).fit(StandardScaler().fit_transform(points[keep]), values[keep])
    fitted = fit_ridge_frames(ArrayVectors(points), values, alpha=3.0)
    np.testing.assert_allclose(fitted.weight[0], ridge.coef_, rtol=1e-8)
