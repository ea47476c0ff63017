import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest
from videos import write_video

from avsegcli.cli.main import main
from avsegcli.config import load_config

ROOT = Path(__file__).parent.parent
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("examples/*.md"),
    *ROOT.glob("weights/*.md"),
]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
README, REFERENCE = TEXTS["README.md"], TEXTS["docs/reference.md"]
write_reference = runpy.run_path(str(ROOT / "docs" / "write_reference.py"))
COMMANDS = dict(write_reference["find_commands"]())


def find_commands_in(text):
    """Every use of a command in a page: its name and the options that follow."""
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```", text)
    quoted = re.findall(r"`(avseg [^`]+)`", text)
    lines = "\n".join([*blocks, *quoted]).replace("\\\n", " ").splitlines()
    names = "|".join(sorted(COMMANDS, key=len, reverse=True))
    for line in lines:
        for name, words in re.findall(rf"avseg ({names})(?![\w-])([^|;]*)", line):
            yield name, re.findall(r"(?<=\s)--?[a-z][\w-]*", words)


def test_the_reference_has_the_options_and_defaults_of_the_commands():
    assert write_reference["write_tables"](REFERENCE) == REFERENCE, (
        "run: python docs/write_reference.py"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_has_a_table_of_every_option(name):
    (table,) = re.findall(rf"<!-- options: {name} -->\n(.*?)<!-- end -->", REFERENCE, re.DOTALL)
    for parameter in COMMANDS[name].params:
        for option in parameter.opts + parameter.secondary_opts:
            assert f"`{option}`" in table or not option.startswith("-"), option


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_names_every_command(name):
    assert re.search(rf"avseg {name}(?![\w-])", README)


@pytest.mark.parametrize("page", TEXTS)
def test_commands_on_the_pages_have_only_options_that_exist(page):
    for name, options in find_commands_in(TEXTS[page]):
        known = {"-h", "--help"}.union(
            *(parameter.opts + parameter.secondary_opts for parameter in COMMANDS[name].params)
        )
        assert known.issuperset(options), name


def test_the_readme_shows_options():
    assert ("segment", ["-o"]) in find_commands_in(README)
    assert ("train", ["--preset", "--data", "--out"]) in find_commands_in(README)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_with_an_example(name):
    assert f"avseg {name}" in COMMANDS[name].help


@pytest.mark.parametrize("page", TEXTS)
def test_every_file_that_a_page_links_to_is_there(page):
    for link in re.findall(r"\]\(([^)#]+)", TEXTS[page]):
        assert "://" in link or (ROOT / page).parent.joinpath(link).exists(), link


@pytest.mark.slow
def test_the_python_in_the_readme_runs(tmp_path, monkeypatch, capsys):
    assert main(["data", "fake", str(tmp_path / "AVSBench"), "--dataset=avss", "--clips=1"]) == 0
    (tmp_path / "examples").mkdir()
    write_video(tmp_path / "examples" / "djembe_and_guitar.mp4", seconds=0.5)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) > 1
    capsys.readouterr()
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
        assert capsys.readouterr().out


def test_the_recipe_has_the_values_of_the_preset():
    rows = re.findall(
        r"^\| `(\w+)\.(\w+)` \| ([^;:|]+)(?:[;:] .*)? \|",
        TEXTS["docs/recipe.md"],
        re.MULTILINE,
    )
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
