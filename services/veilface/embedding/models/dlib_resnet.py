"""dlib's ResNet as a DeepFace recognition model.

DeepFace has a client for it already, but truncates pixel values where it must round them and so changes the face.
"""

from typing import Any, Final

import dlib
import numpy as np
from numpy.typing import NDArray

from veilface.embedding.models.weights import RESNET

SIDE: Final = 150
_SOURCE: Final = "https://github.com/davisking/dlib-models"


class DlibResNetClient:
    """Embeds face chips of 150 x 150 pixels. DeepFace makes and calls it.

    The published network: 99.38 % on Labeled Faces in the Wild at a Euclidean distance of 0.6 (dlib-models, 2017).
    """

    def __init__(self) -> None:
        # Looked up at call time: DeepFaceEngine puts its own, checking lookup in the place of DeepFace's download.
        from deepface.commons import weight_utils

        path = weight_utils.download_weights_if_necessary(RESNET, _SOURCE)
        self.model = dlib.face_recognition_model_v1(path)
        self.model_name = "dlib-resnet"
        self.input_shape = (SIDE, SIDE)

    def forward(self, img: NDArray[Any]) -> list[float] | list[list[float]]:
        """Embed one or several faces.

        Args:
            img: BGR, 0 to 1, shape (150, 150, 3) or (faces, 150, 150, 3).

        Returns:
            The embedding of one face, or a list of them.
        """
        faces = np.rint(np.atleast_3d(img)[..., ::-1] * 255.0).astype(np.uint8)
        chips = [np.ascontiguousarray(face) for face in (faces if faces.ndim == 4 else faces[None])]
        embeddings = [list(map(float, self.model.compute_face_descriptor(chip))) for chip in chips]
        return embeddings[0] if len(embeddings) == 1 else embeddings
