"""veilface subject: the people in a gallery."""

import typer

from veilface.cli.options import GalleryArgument, JsonOption, StateOption, SubjectArgument
from veilface.cli.output import Output
from veilface.cli.session import connected

app = typer.Typer(no_args_is_help=True, help="Subjects: the people in a gallery.")


@app.command("list")
def list_subjects(gallery: GalleryArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """List the subjects of a gallery."""
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.documents import subject_document
        from veilface.cli.tables import table

        subjects = client.subjects.list(gallery)
        made = table("subject", "enrollments", right=("enrollments",))
        for subject in subjects:
            made.add_row(subject.subject, str(subject.enrollment_count))
        output.show({"subjects": [subject_document(subject) for subject in subjects]}, made)


@app.command("show")
def show(
    gallery: GalleryArgument, subject: SubjectArgument, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """List the enrollments of a subject."""
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.documents import enrollment_document
        from veilface.cli.tables import size, table

        enrollments = client.enrollments.list(gallery, subject)
        made = table("enrollment", "size", "made", "labels", right=("size",), folding=("labels",))
        for enrollment in enrollments:
            labels = ", ".join(f"{name}={value}" for name, value in enrollment.labels.items())
            made.add_row(
                enrollment.name, size(enrollment.template_bytes), f"{enrollment.create_time:%Y-%m-%d %H:%M}", labels
            )
        output.show({"enrollments": [enrollment_document(enrollment) for enrollment in enrollments]}, made)


@app.command("delete")
def delete(
    gallery: GalleryArgument, subject: SubjectArgument, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """Erase a subject: its templates are gone from every later search."""
    output = Output(as_json)
    with connected(state, output) as client:
        count = client.subjects.delete(gallery, subject)
        output.show({"subject": subject, "enrollment_count": count}, f"erased {subject}: {count} enrollments")
