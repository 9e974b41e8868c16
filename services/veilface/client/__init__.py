"""The Python client: enroll, verify and identify over the three services in a few lines.

from veilface.client import VeilfaceClient

with VeilfaceClient.connect(Path(".veilface")) as client:
    client.galleries.create("staff")
    client.enroll("staff", Path("ada.jpg"), subject="ada")
    print(client.verify("staff", "ada", Path("visitor.jpg")).is_match)
"""

from veilface.client.client import VeilfaceClient
from veilface.client.settings import ClientSettings

__all__ = ["ClientSettings", "VeilfaceClient"]
