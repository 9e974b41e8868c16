"""The demo's portraits from packages, and two more of faces that are partly hidden, for tests without photographs."""

import sys
from dataclasses import replace
from pathlib import Path

from veilface.cli.demo.portraits import PACKAGES, Portrait, packaged_portraits

_FACE_RECOGNITION, _SCIKIT_IMAGE = PACKAGES
_HIDDEN = tuple(
    Portrait("obama", filename, f"face_recognition-1.3.0/tests/test_images/{filename}", sha256)
    for filename, sha256 in (
        ("obama_partial_face.jpg", "c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117"),
        ("obama_partial_face2.jpg", "9a812347f97633542b8cd9992de22def11b74f79d82056bc3ee830f13878e028"),
    )
)
ASTRONAUT = "astronaut.png"


def portrait_files() -> dict[Path, str]:
    """Every portrait and who is on it.

    Raises:
        UnavailableError: DEPENDENCY_UNAVAILABLE if a package cannot be had or holds something else than expected.
    """
    packages = (replace(_FACE_RECOGNITION, portraits=_FACE_RECOGNITION.portraits + _HIDDEN), _SCIKIT_IMAGE)
    return packaged_portraits(sys.stderr.write, packages)


def portrait_path(filename: str) -> Path:
    """The file of one portrait; errors as for `portrait_files`."""
    return next(path for path in portrait_files() if path.name == filename)
