"""Three replicas on a copy of a record store that was filled once."""

import shutil

import pytest
from tests.unit.matching.conftest import DictCache, Embedder, World
from tests.unit.matching.fan_out.replicas import PEOPLE, Replicas, loop_comparer, packed_comparer


@pytest.fixture(scope="session")
def filled_stores(tmp_path_factory):
    """Makes record stores with twelve segments in a gallery, or with as many as people; each only once."""
    stores = {}

    async def fill(make_comparer):
        if make_comparer not in stores:
            file = tmp_path_factory.mktemp("store") / "matching.db"
            world = World(f"sqlite:///{file}", Embedder(), DictCache(), make_comparer())
            await world.create()
            for number, vector in enumerate(PEOPLE, 1):
                await world.enroll(f"s{number}", vector)
            await world.close()
            stores[make_comparer] = file
        return stores[make_comparer]

    return fill


@pytest.fixture
def make_replicas(filled_stores, make_world, tmp_path):
    async def make(make_comparer=packed_comparer, **limits):
        shutil.copy(await filled_stores(make_comparer), tmp_path / "matching.db")
        return Replicas(make_world, make_comparer, **limits)

    return make


@pytest.fixture(params=[packed_comparer, loop_comparer])
async def replicas(request, make_replicas):
    return await make_replicas(request.param)


@pytest.fixture
async def packed_replicas(make_replicas):
    return await make_replicas()


@pytest.fixture
async def impatient_replicas(make_replicas):
    return await make_replicas(peer_patience_s=1)
