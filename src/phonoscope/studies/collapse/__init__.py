"""The study of codebook collapse: a digit classifier with and without a quantizer, an HDP and an HSMM.

Does the faulty EMA update collapse a codebook, and does it matter to the task? `ablation.train_run` trains one variant
from one seed and measures it. The HDP, HSMM and HDP-HSMM, over codes or vectors, are of use by themselves.
"""

from phonoscope.studies.collapse.emissions import Categorical, DiagonalGaussian
from phonoscope.studies.collapse.hdp import HDP
from phonoscope.studies.collapse.hsmm import HDPHSMM, HSMM

__all__ = ["HDP", "HDPHSMM", "HSMM", "Categorical", "DiagonalGaussian"]
