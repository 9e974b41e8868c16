"""The whole run, in an order in which every row comes after the ones it stands beside."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec

from veilface.cli.bench.papers.rows import Quantity, Row, SearchRow
from veilface.cli.bench.parties import make_party
from veilface.common.errors import ConfigurationError, Reason
from veilface.crypto.contract import Scheme

DIMENSIONS = (128, 512, 4096)
QUICK_DIMENSIONS = (128,)
_PACKED_PROFILES = ("ckks-packed-128", "ckks-packed-192", "ckks-packed-256")
_LIGHTPHE_DOT = "LightPHE's own @"


@dataclass
class Papers:
    """The tables, filled by `measure`.

    Args:
        dimensions: Of the embeddings.
        cap_s: About how long one timing may take; work that takes longer runs once, or on fewer dimensions.
    """

    dimensions: tuple[int, ...]
    cap_s: float
    rows: list[Row] = field(default_factory=list)
    searches: list[SearchRow] = field(default_factory=list)

    def measure(self) -> Iterator[Row | SearchRow]:
        """Every row when it is known."""
        for row in self._rows():
            if isinstance(row, Row):
                self.rows.append(row)
            else:
                self.searches.append(row)
            yield row

    def beside(self, row: Row) -> Row | None:
        """The row of `ckks-packed` at the same dimension and at least the same security; None for its own rows."""
        if row.scheme == Scheme.CKKS_PACKED:
            return None
        enough = [
            each
            for each in self.rows
            if each.scheme == Scheme.CKKS_PACKED and each.dim == row.dim and each.security_bits >= row.security_bits
        ]
        return min(enough, key=lambda each: each.security_bits)

    def _rows(self) -> Iterator[Row | SearchRow]:
        from veilface.crypto.public.phe.profiles import PROFILES

        packed: list[SearchRow] = []
        for profile in _PACKED_PROFILES:
            yield from self._packed(profile, packed)
        yield from self._tenseal()
        for search in packed:
            yield self._beside_cipherface(search)
        for profiles in PROFILES.values():
            for name in profiles:
                yield from self._additive(name)

    def _packed(self, profile: str, searches: list[SearchRow]) -> Iterator[Row]:
        from veilface.cli.bench.papers.one_to_many import search_packed
        from veilface.cli.bench.papers.one_to_one import measure_row
        from veilface.crypto.public.packed.profiles import packed_profile

        security_bits = packed_profile(profile).security_bits
        party = make_party(Scheme.CKKS_PACKED, profile, self.cap_s)
        for dim in self.dimensions:
            yield measure_row(party, security_bits, dim, self.cap_s)
            searches.append(search_packed(party, security_bits, dim, self.cap_s))

    def _tenseal(self) -> Iterator[Row]:
        from veilface.cli.bench.papers.one_to_one import measure_row
        from veilface.crypto.public.ckks_tenseal.profiles import PROFILES

        for name, profile in PROFILES.items():
            party = make_party(Scheme.CKKS_TENSEAL, name, self.cap_s)
            for dim in self.dimensions:
                yield measure_row(party, profile.security_bits, dim, self.cap_s)

    def _beside_cipherface(self, search: SearchRow) -> SearchRow:
        """Beside the fastest of CipherFace's sets that reaches the same security."""
        enough = [
            each
            for each in self.rows
            if each.scheme == Scheme.CKKS_TENSEAL
            and each.dim == search.dim
            and each.security_bits >= search.security_bits
        ]
        fastest = min(enough, key=lambda each: each.readings[Quantity.COMPARISON].value)
        comparison = fastest.readings[Quantity.COMPARISON]
        # TenSEAL compares on one thread, so that its time by the clock is its CPU time.
        return search.beside(f"{fastest.profile}, one comparison", comparison, comparison)

    def _additive(self, name: str) -> Iterator[Row | SearchRow]:
        from veilface.cli.bench.papers.lightphe import PublishedScheme
        from veilface.cli.bench.papers.one_to_many import search_additive
        from veilface.cli.bench.papers.one_to_one import measure_row
        from veilface.crypto.public.phe.profiles import phe_profile

        profile = phe_profile(name, research=True)
        party = make_party(profile.scheme, name, self.cap_s)
        published = PublishedScheme(profile, self.cap_s)
        for dim in self.dimensions:
            yield measure_row(party, profile.security_bits, dim, self.cap_s)
            row, dot = published.measure(dim)
            yield row
            search = search_additive(party, profile.security_bits, dim, self.cap_s)
            yield search.beside(_LIGHTPHE_DOT, dot.wall_s, dot.cpu_s)


def check_peers() -> None:
    """Whether both papers' libraries are installed. Raises ConfigurationError INVALID_SETTING."""
    missing = [name for name in ("tenseal", "lightphe", "gmpy2") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"{', '.join(missing)} not installed: the papers' tables need pip install 'veilface[cli,peers]'",
        )
