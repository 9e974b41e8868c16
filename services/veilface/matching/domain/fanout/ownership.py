"""Who owns which segment: rendezvous hashing (Thaler and Ravishankar, IEEE/ACM Transactions on Networking, 1998).

The owner is the member with the highest hash together with the segment. Whoever knows the same members finds the same
owner, and when a member goes only its segments move, evenly to the others.
"""

import hashlib
from collections.abc import Collection

from veilface.matching.domain.records import SegmentPlace


def owner_of(place: SegmentPlace, members: Collection[str]) -> str:
    """The member that owns a segment; there must be at least one."""
    return max(members, key=lambda member: (_weight(place, member), member))


def _weight(place: SegmentPlace, member: str) -> bytes:
    return hashlib.sha256(f"{place.gallery_uid}\n{place.number}\n{member}".encode()).digest()
