"""The convolutions of the models that come with the package."""

from __future__ import annotations

import numpy as np

from fastconv import models
from fastconv.autograd import Tensor
from fastconv.conv.options import options

from . import recording
from .layers import Layer

MODELS = {"digits_cnn": (1, 8, 8)}  # of fastconv.models: the images that each takes, (C, H, W)
BATCH = 32


def layers(model: str, batch: int = BATCH) -> list[Layer]:
    """The layers of a model and the passes that training needs of them.

    The model is run on one blank image by the reference algorithm: no convolution is compiled.
    """
    image = np.zeros((1, *MODELS[model]), np.float32)
    with options(algorithm="reference"), recording.recorded() as runs:
        getattr(models, model)(rng=np.random.default_rng(0))(Tensor(image)).sum().backward()
    return [
        Layer(f"{model}.conv{number}", passes["forward"].problem._replace(N=batch), tuple(passes))
        for number, passes in enumerate(recording.layers(runs), 1)
    ]
