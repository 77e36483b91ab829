"""The first workflow of somebody: a file with comments, filled in as far as git knows."""

import subprocess
from importlib.resources import files
from pathlib import Path

import click
import msgspec

from workers.cli import main
from workers.cli.talking import EXIT_CONFLICT, EXIT_MISSING, fail


@main.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("ticket.toml"))
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def init(file: Path, force: bool) -> None:
    """Write a first ticket with comments to FILE, ticket.toml unless another is named."""
    template = files(__package__).joinpath("first_workflow.toml").read_text()
    url, revision = _git("remote", "get-url", "origin"), _git("rev-parse", "HEAD") or "HEAD"
    content = template.format(
        file=file,
        project=_quoted(Path.cwd().name or "project"),
        name=_quoted(_git("branch", "--show-current") or "main"),
        revision=_quoted(revision),
        sources=_sources(revision),
        url=f"url = {_quoted(url)}\n" if url and "@" not in url else "",
    )
    try:
        with file.open("w" if force else "x") as out:
            out.write(content)
    except FileExistsError:
        fail(EXIT_CONFLICT, f"{file} is there already", "--force overwrites it.")
    except OSError as error:
        fail(EXIT_MISSING, f"{file}: {error.strerror}")
    if revision == "HEAD":
        click.echo("There is no commit here: say in the file which revision it is.")
    click.echo(f"{file} is written. `turnstile submit {file} --watch` opens the ticket in it.")


def _sources(revision: str) -> str:
    """The line that says where a task's files come from: this repository, if it is one."""
    top = _git("rev-parse", "--show-toplevel")
    url, comment = (top, "") if top else ("https://example.org/tower.git", "# ")
    source = f'{{ kind = "git", url = {_quoted(url)}, revision = {_quoted(revision)} }}'
    return f"{comment}sources = [{source}]"


def _quoted(text: str) -> str:
    """The text as TOML has it, which is as JSON has it."""
    return msgspec.json.encode(text).decode()


def _git(*arguments: str) -> str:
    """What git says of this directory; nothing if there is no git, or it knows nothing."""
    try:
        said = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""
