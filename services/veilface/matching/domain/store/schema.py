"""The tables of the record store.

A gallery's `uid` is never reused, so a gallery that is created again under an old name shares nothing with it. Every
change of a gallery happens in one transaction that also moves its generation.
"""

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, Integer, LargeBinary, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# SQLite numbers rows by itself only if the column is an INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")


def ordered_string(length: int) -> String:
    """Text that every database orders by its bytes: lists are paged in this order."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


class Base(DeclarativeBase):
    """The root of the tables. Constraints have names, so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class StoreIdentityRow(Base):
    """The one row that names this record store and holds its secret for page tokens and cache entries."""

    __tablename__ = "store_identity"

    one: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    store_id: Mapped[str] = mapped_column(String(32))
    secret: Mapped[bytes] = mapped_column(LargeBinary)


class GalleryRow(Base):
    """A gallery and its counters."""

    __tablename__ = "galleries"
    __table_args__ = ({"sqlite_autoincrement": True},)

    uid: Mapped[int] = mapped_column(Number, primary_key=True)
    gallery_id: Mapped[str] = mapped_column(ordered_string(63), unique=True)
    key_version: Mapped[str] = mapped_column(String(160))
    scheme: Mapped[str] = mapped_column(String(32))
    profile: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(256))
    dimension: Mapped[int] = mapped_column(Integer)
    metric: Mapped[str] = mapped_column(String(32))
    generation: Mapped[int] = mapped_column(BigInteger)
    next_enrollment: Mapped[int] = mapped_column(BigInteger)
    enrollment_count: Mapped[int] = mapped_column(BigInteger)
    subject_count: Mapped[int] = mapped_column(BigInteger)
    template_bytes: Mapped[int] = mapped_column(BigInteger)
    create_time_us: Mapped[int] = mapped_column(BigInteger)


class SubjectRow(Base):
    """A subject that has at least one enrollment."""

    __tablename__ = "subjects"

    gallery_uid: Mapped[int] = mapped_column(ForeignKey("galleries.uid", ondelete="CASCADE"), primary_key=True)
    subject_id: Mapped[str] = mapped_column(ordered_string(128), primary_key=True)
    enrollment_count: Mapped[int] = mapped_column(Integer)


class SegmentRow(Base):
    """A segment: where the next slot is, and the generation of its last change. Slots are never reused.

    An imported one has a blob in place of template rows; rows may come on top of it.
    """

    __tablename__ = "segments"

    gallery_uid: Mapped[int] = mapped_column(ForeignKey("galleries.uid", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    capacity: Mapped[int] = mapped_column(Integer)
    next_slot: Mapped[int] = mapped_column(Integer)
    enrollment_count: Mapped[int] = mapped_column(Integer)
    generation: Mapped[int] = mapped_column(BigInteger)
    blob_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    blob_bytes: Mapped[int | None] = mapped_column(BigInteger)


class EnrollmentRow(Base):
    """An enrollment and the slot that it occupies. An imported one has its blob's digest, and 0 bytes of its own."""

    __tablename__ = "enrollments"
    __table_args__ = (
        ForeignKeyConstraint(
            ["gallery_uid", "segment"], ["segments.gallery_uid", "segments.number"], ondelete="CASCADE"
        ),
        Index(None, "gallery_uid", "segment", "slot", unique=True),
        Index(None, "gallery_uid", "subject_id", "number"),
    )

    gallery_uid: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    subject_id: Mapped[str] = mapped_column(ordered_string(128))
    segment: Mapped[int] = mapped_column(Integer)
    slot: Mapped[int] = mapped_column(Integer)
    labels: Mapped[str] = mapped_column(Text)
    key_version: Mapped[str] = mapped_column(String(160))
    template_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    template_bytes: Mapped[int] = mapped_column(BigInteger)
    create_time_us: Mapped[int] = mapped_column(BigInteger)


class TemplateTable(Base):
    """The signed template of an enrollment, apart from it so that lists do not read ciphertexts.

    While a gallery moves there are two, one for each key version; the enrollment's own version says which one counts.
    """

    __tablename__ = "templates"
    __table_args__ = (
        ForeignKeyConstraint(
            ["gallery_uid", "number"], ["enrollments.gallery_uid", "enrollments.number"], ondelete="CASCADE"
        ),
    )

    gallery_uid: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    key_version: Mapped[str] = mapped_column(String(160), primary_key=True)
    statement: Mapped[bytes] = mapped_column(LargeBinary)
    ciphertext_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    ciphertext: Mapped[bytes] = mapped_column(LargeBinary)
    signer: Mapped[str] = mapped_column(String(256))
    signer_key_id: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)


class EnrolledTemplateRow(Base):
    """The digest of a signed template that was enrolled under a key, whatever became of the enrollment or its gallery.

    The key service counts answers by templates and places: the same template in a second place would be counted anew.
    """

    __tablename__ = "enrolled_templates"

    key: Mapped[str] = mapped_column(ordered_string(63), primary_key=True)
    template_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)


class RequestRow(Base):
    """What a request id enrolled. It outlives an erased enrollment, without its digest: a late retry enrolls nobody."""

    __tablename__ = "requests"
    __table_args__ = (Index(None, "gallery_uid", "enrollment"),)

    gallery_uid: Mapped[int] = mapped_column(ForeignKey("galleries.uid", ondelete="CASCADE"), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    enrollment: Mapped[int] = mapped_column(BigInteger)
    content_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)


class SegmentImportRow(Base):
    """What a request id imported. The digest of its subjects goes when one of them is erased."""

    __tablename__ = "segment_imports"
    __table_args__ = (Index(None, "gallery_uid", "first_enrollment", unique=True),)

    gallery_uid: Mapped[int] = mapped_column(ForeignKey("galleries.uid", ondelete="CASCADE"), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    first_enrollment: Mapped[int] = mapped_column(BigInteger)
    enrollment_count: Mapped[int] = mapped_column(Integer)
    blob_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    subject_ids_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    create_time_us: Mapped[int] = mapped_column(BigInteger)


class MoveRow(Base):
    """A gallery on its way to a newer version of its key.

    Nobody is enrolled before `closed_until_us`, so that the move comes to its end; it is in the past nearly always.
    """

    __tablename__ = "moves"

    gallery_uid: Mapped[int] = mapped_column(ForeignKey("galleries.uid", ondelete="CASCADE"), primary_key=True)
    source: Mapped[str] = mapped_column(String(160))
    target: Mapped[str] = mapped_column(String(160))
    closed_until_us: Mapped[int] = mapped_column(BigInteger)


class MovedSegmentRow(Base):
    """The blob of an imported segment under the version that its gallery moves to.

    Its slot i holds what is in the i-th of the `slots` (4 bytes each, little-endian) of the blob that it was made from.
    """

    __tablename__ = "moved_segments"
    __table_args__ = (
        ForeignKeyConstraint(
            ["gallery_uid", "number"], ["segments.gallery_uid", "segments.number"], ondelete="CASCADE"
        ),
    )

    gallery_uid: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    source_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    blob_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    blob_bytes: Mapped[int] = mapped_column(BigInteger)
    slots: Mapped[bytes] = mapped_column(LargeBinary)
