import json
import re
import tomllib
from pathlib import Path

import pytest
import typer

from avsegcli.cli.main import app
from avsegcli.config import load_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def find_commands(group, prefix=""):
    """Every command by its words: "eval", "data fake"."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from find_commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(find_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_names_every_option_in_a_section_about_its_command(name):
    sections = [section for section in README.split("\n## ") if f"avseg {name}" in section]
    assert sections
    for parameter in COMMANDS[name].params:
        names = [option for option in parameter.opts if option.startswith("-")]
        if names and "--help" not in names:
            found = (
                re.search(rf"{option}(?![\w-])", section)
                for section in sections
                for option in names
            )
            assert any(found), names


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_with_an_example(name):
    assert f"avseg {name}" in COMMANDS[name].help


def test_every_file_that_the_readme_links_to_is_there():
    for link in README.split("](")[1:]:
        target = link.split(")")[0]
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_recipe_has_the_values_of_the_preset():
    recipe = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)\.(\w+)` \| ([^;:|]+)(?:[;:] .*)? \|", recipe, re.MULTILINE)
    settings = tomllib.loads(load_config("r50").to_toml())
    assert len(rows) > 25
    for table, key, value in rows:
        setting = settings[table][key]
        assert value.strip() == (setting if isinstance(setting, str) else json.dumps(setting)), key


def test_ci_finds_the_test_command_in_the_readme():
    block = README.split("<!-- test command -->\n```sh\n")[1].split("\n```")[0]
    assert ".venv/bin/python -m pytest" in block


def test_every_licence_that_is_named_is_there_to_be_read():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = {path.stem for pattern in project["license-files"] for path in ROOT.glob(pattern)}
    assert {"Apache-2.0", *texts} == {"LICENSE", *project["license"].split(" AND ")}
