"""Checks that what the READMEs tell people to type still exists.

Shell blocks: targets and variables of make, subcommands, options and values of `tastemap`. Python
blocks: they compile, and what they take from tastemap is there, with these keyword arguments.
Commands within a line of prose: subcommands, options and targets. And that the READMEs of all
languages hold the same code, comments apart.

    python scripts/check_readme.py [FILE ...]
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from tastemap.cli import app

ROOT = Path(__file__).parent.parent
SHELL = ("sh", "bash", "console", "shell")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:make|tastemap) [^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block of code and the line that it begins at."""

    language: str
    text: str
    line: int


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a Markdown text."""
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)
        for found in FENCE.finditer(text)
    ]


# -- the shell ------------------------------------------------------------------------------------


def commands_of(text: str) -> list[list[str]]:
    """The words of each command of a shell block, without prompts, comments and redirections."""
    commands: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word and set(word) <= set("();<>|&"):
                if words:
                    commands.append(words)
                words = []
            else:
                words.append(word)
    return commands


def problems_of_command(words: list[str], *, exactly: bool) -> list[str]:
    """What does not exist of a command; `exactly` says that its values must be usable too."""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    program = Path(words[0]).name if words else ""
    if program == "make":
        return problems_of_make(words[1:])
    if program == "tastemap":
        return problems_of_tastemap(words[1:], exactly=exactly)
    return []


def problems_of_make(words: list[str]) -> list[str]:
    """Targets and variables that the Makefile does not have."""
    makefile = (ROOT / "Makefile").read_text()
    variables = set(re.findall(r"^(\w+)\s*\?=", makefile, re.MULTILINE))
    targets = set(re.findall(r"^([\w-]+):(?!=)", makefile, re.MULTILINE))
    problems = []
    for word in words:
        name, equals, _ = word.partition("=")
        if equals and name not in variables:
            problems.append(f"make knows no variable {name}")
        elif not equals and not name.startswith("-") and name not in targets:
            problems.append(f"make knows no target {name}")
    return problems


def problems_of_tastemap(words: list[str], *, exactly: bool) -> list[str]:
    """Subcommands and options that `tastemap` does not have, and values it does not take."""
    command: Any = typer.main.get_command(app)
    path = "tastemap"
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        path = f"{path} {words[0]}"
        if words[0] not in command.commands:
            return [f"there is no command `{path}`"]
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {option for parameter in command.params for option in parameter.secondary_opts}
    known |= {"--help", "-h"}
    options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    problems = [f"`{path}` has no option {each}" for each in options if each not in known]
    if problems or not exactly or (hasattr(command, "commands") and not words):
        return problems
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            command.make_context(path, list(words))
    except typer.Exit:
        pass  # --help and --version end here
    except Exception as error:
        # What typer raises for wrong usage has no public name.
        return [f"`{path}`: {_message(error)}"]
    return []


def _message(error: Exception) -> str:
    format_message = getattr(error, "format_message", None)
    return str(format_message() if format_message else error)


# -- Python ---------------------------------------------------------------------------------------


def problems_of_python(text: str) -> list[str]:
    """Imports, attributes of modules and keyword arguments that are not there."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return [f"Python does not compile: {error}"]
    problems: list[str] = []
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        try:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    module = importlib.import_module(alias.name)
                    top = alias.name.partition(".")[0]
                    names[alias.asname or top] = module if alias.asname else sys.modules[top]
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    names[alias.asname or alias.name] = getattr(module, alias.name)
        except (ImportError, AttributeError) as error:
            problems.append(str(error))
    for node in ast.walk(tree):
        try:
            if isinstance(node, ast.Attribute):
                resolved(node, names)
            elif isinstance(node, ast.Call) and (target := resolved(node.func, names)):
                given = [keyword.arg for keyword in node.keywords if keyword.arg]
                problems += problems_of_call(target, given)
        except AttributeError as error:
            problems.append(str(error))
    return list(dict.fromkeys(problems))


def resolved(node: ast.expr, names: dict[str, Any]) -> Any:
    """What a dotted name of an imported module stands for; None for other expressions."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = resolved(node.value, names)
        if inspect.ismodule(owner) or inspect.isclass(owner):
            return getattr(owner, node.attr)
    return None


def problems_of_call(target: Any, given: list[str]) -> list[str]:
    """Keyword arguments that a function or class does not take."""
    if hasattr(target, "hyperparameters"):
        taken = set(target.hyperparameters())
    else:
        parameters = inspect.signature(target).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return []
        taken = {parameter.name for parameter in parameters}
    return [f"{target.__name__} takes no argument {name!r}" for name in given if name not in taken]


# -- together -------------------------------------------------------------------------------------


def problems_of_text(text: str) -> list[str]:
    """What is wrong in a README, with the lines."""
    problems = []
    for block in blocks_of(text):
        found: list[str] = []
        if block.language in SHELL:
            for words in commands_of(block.text):
                found += problems_of_command(words, exactly=True)
        elif block.language == "python":
            found = problems_of_python(block.text)
        problems += [f"block of line {block.line}: {problem}" for problem in found]
    for inline in INLINE.finditer(FENCE.sub("", text)):
        for words in commands_of(inline[1]):
            problems += [
                f"`{inline[1]}`: {problem}" for problem in problems_of_command(words, exactly=False)
            ]
    return problems


def essence(block: Block) -> object:
    """What has to be the same in every language: the code without its comments."""
    if block.language in SHELL:
        return commands_of(block.text)
    if block.language == "python":
        with contextlib.suppress(SyntaxError):
            return ast.dump(ast.parse(block.text))
    return block.text.strip()


def differences(texts: dict[str, str]) -> list[str]:
    """Where the code of the READMEs differs."""
    (first, text), *others = texts.items()
    problems = []
    for other, other_text in others:
        ours, theirs = blocks_of(text), blocks_of(other_text)
        if len(ours) != len(theirs):
            problems.append(f"{first} has {len(ours)} blocks of code, {other} has {len(theirs)}")
        problems += [
            f"{first} line {a.line} and {other} line {b.line} hold different code"
            for a, b in zip(ours, theirs, strict=False)
            if (a.language, essence(a)) != (b.language, essence(b))
        ]
    return problems


def main(paths: list[str]) -> int:
    files = [Path(path) for path in paths] or sorted(ROOT.glob("README*.md"))
    if not files:
        print("there is no README")
        return 1
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    problems = [
        f"{name}: {each}" for name, text in texts.items() for each in problems_of_text(text)
    ]
    problems += differences(texts)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{', '.join(texts)}: everything they quote is there")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
