import socket

import pytest
from tests.integration.embedding.conftest import TIMEOUT_S, EmbeddingService

from veilface.common.process import EXIT_CONFIGURATION
from veilface.embedding.v1 import embedding_service_pb2 as pb


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"VEILFACE_EMBEDDING_PIPELINES": "Facenet/hog/chip"}, "facenet_weights.onnx"),
        ({"VEILFACE_EMBEDDING_PIPELINES": "dlib-resnet"}, "VEILFACE_EMBEDDING_PIPELINES"),
        ({"VEILFACE_SIGNING_KEY": "/nowhere/signing.pem"}, "/nowhere/signing.pem"),
        ({"VEILFACE_EMBEDDING_DEEPFACE_HOME": "/dev/null"}, "VEILFACE_EMBEDDING_DEEPFACE_HOME"),
    ],
)
def test_a_service_that_cannot_work_ends_and_says_why(
    service: EmbeddingService, settings: dict[str, str], problem: str
) -> None:
    service.settings = settings
    service.start()
    assert service.wait_for_exit() == EXIT_CONFIGURATION
    assert problem in service.log
    assert "Traceback" not in service.log


def test_a_taken_port_is_one_plain_line_and_exit_code_78(service: EmbeddingService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        service.settings = {"VEILFACE_LISTEN": address}
        service.start()
        assert service.wait_for_exit() == EXIT_CONFIGURATION
    assert address in service.log
    assert "Traceback" not in service.log


def test_a_stop_signal_ends_the_service_cleanly(service: EmbeddingService) -> None:
    service.start()
    service.wait_until_serving()
    assert service.stub().ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S).models
    assert service.stop() == 0
