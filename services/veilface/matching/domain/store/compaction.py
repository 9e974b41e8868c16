"""Leaving out the deleted slots of imported segments, one segment after the other, under the version they are under."""

from sqlalchemy import delete, insert, select, update

from veilface.common.database import Database
from veilface.common.errors import InvalidArgumentError, Reason, UnavailableError
from veilface.common.names import GalleryName, KeyVersionName
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.store.galleries import load_gallery
from veilface.matching.domain.store.moves import ImportedSegment, Move, MoveRecords, require_under_way
from veilface.matching.domain.store.schema import GalleryRow, MovedSegmentRow, MoveRow, SegmentRow
from veilface.matching.domain.store.switching import close_gaps, switch_blob, total_template_bytes


class CompactionRecords:
    """A compaction is a move from a version to itself; a later move to a newer version takes its place.

    Args:
        moves: Where what is moved is stored until its segment switches.
    """

    def __init__(self, database: Database, moves: MoveRecords) -> None:
        self._database = database
        self._moves = moves

    def begin(self, name: GalleryName, version: KeyVersionName) -> Move:
        """Begin a compaction, or find the one that was begun before.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
            InvalidArgumentError: WRONG_KEY_VERSION unless the gallery is under this version.
            UnavailableError: GALLERY_MOVING if it is on its way to another one.
        """
        with self._database.write() as connection:
            gallery = load_gallery(connection, name, locked=True)
            if gallery.key_version != str(version):
                raise InvalidArgumentError(
                    Reason.WRONG_KEY_VERSION, f"{name} is under {gallery.key_version}, not {version}"
                )
            target = connection.scalars(select(MoveRow.target).where(MoveRow.gallery_uid == gallery.uid)).first()
            if target is not None and target != str(version):
                raise UnavailableError(
                    Reason.GALLERY_MOVING, f"{name} is on its way to {target}: its deleted slots go with that"
                )
            connection.execute(delete(MoveRow).where(MoveRow.gallery_uid == gallery.uid))
            connection.execute(
                insert(MoveRow).values(
                    gallery_uid=gallery.uid, source=str(version), target=str(version), closed_until_us=0
                )
            )
            return Move(gallery, version, version)

    def segments(self, move: Move) -> list[ImportedSegment]:
        """The imported segments with deleted slots."""
        uid = move.gallery.uid
        with self._database.read() as connection:
            has_gaps = SegmentRow.enrollment_count < SegmentRow.next_slot
            numbers = set(
                connection.scalars(select(SegmentRow.number).where(SegmentRow.gallery_uid == uid, has_gaps)).all()
            )
        return [each for each in self._moves.imported_segments(move) if each.number in numbers]

    def switch(self, move: Move, number: int) -> SegmentPlace:
        """Let a segment refer to its new blob, in one transaction with its slots; packed copies are of no use then.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
            UnavailableError: GALLERY_CHANGED if the compaction is not under way any more.
        """
        uid = move.gallery.uid
        with self._database.write() as connection:
            gallery = require_under_way(connection, move)
            filled_slots = switch_blob(connection, move, number)
            # None if its last imported enrollment was erased meanwhile: then nothing was moved.
            if filled_slots:
                close_gaps(connection, uid, number, filled_slots)
                generation = gallery.generation + 1
                is_segment = (SegmentRow.gallery_uid == uid) & (SegmentRow.number == number)
                connection.execute(update(SegmentRow).where(is_segment).values(generation=generation))
                connection.execute(
                    update(GalleryRow)
                    .where(GalleryRow.uid == uid)
                    .values(generation=generation, template_bytes=total_template_bytes(connection, uid))
                )
            connection.execute(
                delete(MovedSegmentRow).where(MovedSegmentRow.gallery_uid == uid, MovedSegmentRow.number == number)
            )
        return SegmentPlace(uid, number)

    def end(self, move: Move) -> None:
        """Forget a compaction that is done."""
        with self._database.write() as connection:
            is_this = (MoveRow.gallery_uid == move.gallery.uid) & (MoveRow.target == str(move.target))
            connection.execute(delete(MoveRow).where(is_this))
