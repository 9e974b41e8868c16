"""The settings of the embedding service, from environment variables that start with VEILFACE_."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from veilface.common.errors import ConfigurationError
from veilface.common.settings import ServerSettings
from veilface.embedding.domain.pipeline import PipelineName

DEFAULT_PIPELINE = "dlib-resnet/hog/chip"


class EmbeddingSettings(ServerSettings):
    """What the embedding service needs."""

    key_service: str = Field(
        min_length=1, description="the key service, for example dns:///keys:7002 or unix:/run/veilface/keys.sock"
    )
    key_service_name: str | None = Field(
        None, min_length=1, description="the name in the key service's certificate, if it is not the address's host"
    )
    signing_key: Path = Field(description="the PEM file of the Ed25519 key that signs templates")
    access_policy: Path | None = Field(
        None, description="the JSON file that says which identities may call which methods; not set: the built-in one"
    )
    embedding_pipelines: Annotated[tuple[str, ...], NoDecode] = Field(
        (DEFAULT_PIPELINE,),
        min_length=1,
        max_length=16,
        description="recognition pipelines as model/detector/alignment, separated by commas, the default first, for "
        "example dlib-resnet/hog/chip,Facenet/yunet/deepface; models of DeepFace by its names, and cipherface-Facenet "
        "or cipherface-Facenet512 for keys of the scheme ckks-tenseal",
    )
    embedding_deepface_home: Path = Field(
        default_factory=Path.home, description="the folder above .deepface/weights, where DeepFace's weight files are"
    )
    embedding_downloads: bool = Field(
        False,
        description="let DeepFace download weight files that are missing; state what they must hold in "
        "VEILFACE_EMBEDDING_WEIGHTS_FILE",
    )
    embedding_weights_file: Path | None = Field(
        None,
        description="a JSON object of weight file names and the SHA-256 that each must have; dlib's and YuNet's are "
        "checked without it",
    )
    embedding_faces: int = Field(
        32, ge=1, le=1000, description="how many faces one answer may hold, 1 to 1000; a template has about 98 KB"
    )
    embedding_batch_in_flight: int = Field(
        4, ge=1, le=64, description="how many images of one stream are worked on at once, 1 to 64"
    )
    workers: int = Field(2, ge=1, le=256, description="threads for images, 1 to 256; each may hold a decoded image")
    queue_size: int = Field(64, ge=0, le=10_000, description="how many images may wait for a thread, 0 to 10000")

    @field_validator("embedding_pipelines", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(name.strip() for name in value.split(",") if name.strip())

    @field_validator("embedding_pipelines")
    @classmethod
    def _check_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            names = [PipelineName.parse(name) for name in value]
        except ConfigurationError as error:
            raise ValueError(error.message) from error
        if len(set(names)) < len(names):
            raise ValueError("a pipeline is named twice")
        return value
