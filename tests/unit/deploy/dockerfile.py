"""The Dockerfile, read: its stages, what each image takes over from others, and what it copies of the sources."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from dockerfile_parse import DockerfileParser

REPOSITORY = Path(__file__).resolve().parents[3]
DOCKERFILE = REPOSITORY / "deploy" / "docker" / "Dockerfile"
SERVICES = ("embedding", "keys", "matching")
IMAGES = (*SERVICES, "cli")


@dataclass(frozen=True)
class Instruction:
    name: str
    value: str


@dataclass(frozen=True)
class Dockerfile:
    """Instructions by stage; a stage begins with its FROM."""

    stages: dict[str, tuple[Instruction, ...]]

    @classmethod
    def read(cls, content: bytes | None = None) -> "Dockerfile":
        parser = DockerfileParser(fileobj=BytesIO(DOCKERFILE.read_bytes() if content is None else content))
        stages: dict[str, list[Instruction]] = {}
        name = ""
        for line in parser.structure:
            instruction = Instruction(line["instruction"], line["value"])
            if instruction.name == "FROM":
                name = instruction.value.split()[-1]
            if name and instruction.name != "COMMENT":
                stages.setdefault(name, []).append(instruction)
        return cls({name: tuple(instructions) for name, instructions in stages.items()})

    def instructions(self, stage: str) -> Iterator[Instruction]:
        """Those of a stage and of the stages that it is built on, in the order in which they are carried out."""
        begin, *own = self.stages[stage]
        parent = begin.value.split()[0]
        if parent in self.stages:
            yield from self.instructions(parent)
        yield from own

    def values(self, stage: str, name: str) -> list[str]:
        return [each.value for each in self.instructions(stage) if each.name == name]

    def settings(self, stage: str) -> dict[str, str]:
        """The environment that a stage sets."""
        words = [word for value in self.values(stage, "ENV") for word in shlex.split(value)]
        return dict(word.split("=", 1) for word in words)

    def copied(self, image: str) -> tuple[str, ...]:
        """What an image holds of this repository, as paths and patterns of paths."""
        sources: list[str] = []
        for value in self.values(image, "COPY"):
            *paths, _ = shlex.split(value)
            if not paths[0].startswith("--from="):
                sources += paths
                continue
            stage = paths[0].removeprefix("--from=")
            # Of the stages that only install something nothing but the virtual environment is taken.
            if paths[1:] == ["/app"]:
                sources += [path for path in self.copied(stage) if path.startswith("services/")]
        return tuple(sources)

    def extras(self, image: str) -> tuple[str, ...]:
        """The extras of pyproject.toml that an image installs."""
        (command,) = [value for value in self.values(f"{image}-dependencies", "RUN") if "./install-extras" in value]
        words = command.partition("./install-extras")[2].partition("&&")[0]
        return tuple(words.split())
