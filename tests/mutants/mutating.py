"""Changing a copy of the product: Python by its syntax tree, SQL by its tokens."""

import ast
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import dedent

# What SQL is made of; spaces and comments are no tokens.
_SQL = re.compile(
    r"""
    (?P<between> \s+ | --[^\n]* | /\*.*?\*/ )
    | '(?:[^']|'')*' | "(?:[^"]|"")*"
    | %\(\w+\)s | \{\w+\}
    | (?P<word> \w+ )
    | :: | <= | >= | <> | != | \|\| | << | >> | ->>?
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


class Texts(dict[Path, str]):
    """The texts of files by path; a file is read when it is first asked for."""

    def __missing__(self, path: Path) -> str:
        return self.setdefault(path, path.read_text("utf-8"))


# Changes the text of a file of a product; raises `LookupError` unless its place is there once.
Change = Callable[[Path, Texts], None]


class Mutant:
    """A mistake, what it would do to the table, and the test that has to fail for it."""

    def __init__(self, name: str, breaks: str, *changes: Change, test: str) -> None:
        self.name, self.breaks, self.changes, self.test = name, breaks, changes, test

    def make_texts(self, tree: Path) -> Texts:
        """The changed files of a product, which stays as it is.

        Raises `LookupError` unless each place is there once.
        """
        texts = Texts()
        for change in self.changes:
            try:
                change(tree, texts)
            except LookupError as gone:
                raise LookupError(f'The mutant "{self.name}" cannot be made: {gone}.') from None
        return texts

    def apply(self, tree: Path) -> None:
        """Make the mistake in a copy of the product; raise `LookupError` unless each place is there once."""
        for path, text in self.make_texts(tree).items():
            path.write_text(text, "utf-8")


@dataclass(frozen=True)
class Python:
    """A function, a class or a constant of a module: `Python("pipelines.tills", "Till.total")`.

    A pattern is one expression or one statement of it. Syntax trees are compared, not texts. `...` may stand
    once in a pattern, for any expression or any body; in the new code it stands for what was found there.
    """

    module: str
    name: str

    def replace(self, pattern: str, new: str) -> Change:
        """Write other code in place of an expression or a statement."""
        return partial(self._change, pattern, new)

    def remove(self, pattern: str) -> Change:
        """Leave a statement out."""
        return self.replace(pattern, "pass")

    def insert_before(self, pattern: str, new: str) -> Change:
        """Write other statements before a statement."""
        return self.replace(pattern, f"{dedent(new).strip()}\n{dedent(pattern).strip()}")

    def insert_after(self, pattern: str, new: str) -> Change:
        """Write other statements after a statement."""
        return self.replace(pattern, f"{dedent(pattern).strip()}\n{dedent(new).strip()}")

    def _change(self, pattern: str, new: str, tree: Path, texts: Texts) -> None:
        path = tree.joinpath(*self.module.split(".")).with_suffix(".py")
        if not path.is_file():
            raise LookupError(f"module {self.module} is gone")
        parsed = ast.parse(texts[path])
        named = [node for each, node in _find_definitions(parsed) if each == self.name]
        _expect_one(len(named), f"module {self.module}", "definition", f"of {self.name}")
        swap = _Swap(pattern, new)
        # The definition itself stays: a pattern is something in it.
        swap.generic_visit(named[0])
        _expect_one(swap.places, f"{self.name} of module {self.module}", "place", f"like `{pattern}`")
        texts[path] = ast.unparse(parsed)


@dataclass(frozen=True)
class Sql:
    """A statement, such as `Sql("source_jobs/selected_swept")`.

    A fragment is compared token by token: spaces, comments and the case of words make no difference.
    """

    statement: str

    def replace(self, fragment: str, new: str) -> Change:
        """Write other SQL in place of a fragment."""
        return partial(self._change, fragment, new)

    def remove(self, fragment: str) -> Change:
        """Leave a fragment out."""
        return self.replace(fragment, "")

    def _change(self, fragment: str, new: str, tree: Path, texts: Texts) -> None:
        path, begin, end = _find_statement(tree, self.statement, texts)
        text = texts[path]
        tokens = _split_into_tokens(text[begin:end])
        words, wanted = ([token for token, *_ in each] for each in (tokens, _split_into_tokens(fragment)))
        width = len(wanted)
        firsts = [at for at in range(len(words) - width + 1) if words[at : at + width] == wanted]
        _expect_one(len(firsts), f"statement {self.statement}", "place", f"like `{fragment}`")
        _, since, _ = tokens[firsts[0]]
        _, _, until = tokens[firsts[0] + width - 1]
        texts[path] = text[: begin + since] + new + text[begin + until :]


def _find_statement(tree: Path, statement: str, texts: Texts) -> tuple[Path, int, int]:
    """The file that holds a statement, and between which characters of the file the statement is."""
    group, _, name = statement.partition("/")
    path = tree / "sql" / f"{group}.sql"
    begins = [*re.finditer(r"^-- name: (\w+)\n", texts[path], re.MULTILINE)] if path.is_file() else []
    for here, after in zip(begins, [*begins[1:], None], strict=True):
        if here[1] == name:
            return path, here.end(), after.start() if after else len(texts[path])
    raise LookupError(f"statement {statement} is gone")


def _split_into_tokens(text: str) -> list[tuple[str, int, int]]:
    """The tokens of a piece of SQL, words in lower case, and between which characters each token is."""
    found = [match for match in _SQL.finditer(text) if match["between"] is None]
    return [(match[0].lower() if match["word"] else match[0], *match.span()) for match in found]


def _find_definitions(node: ast.AST, within: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every function, class and variable below a node, with its qualified name."""
    for child in ast.iter_child_nodes(node):
        inside = within
        match child:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield within + name, child
                inside = f"{within}{name}."
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield within + name, child
        yield from _find_definitions(child, inside)


class _Swap(ast.NodeTransformer):
    """Puts new code in each place that is like a pattern, and counts the places."""

    def __init__(self, pattern: str, new: str) -> None:
        self.places = 0
        code, self._new = _parse(pattern), _parse(new)
        (statement,) = code.body
        # An expression gives way to an expression, everything else to statements.
        self._wanted = (_expression_of(self._new) and _expression_of(code)) or statement

    def visit(self, node: ast.AST) -> ast.AST | list[ast.stmt] | None:
        kept: list[ast.expr | list[ast.stmt]] = []
        if not _is_like(self._wanted, node, kept):
            return self.generic_visit(node)
        self.places += 1
        made: ast.Module = _Filling(kept).visit(deepcopy(self._new))
        return made.body if isinstance(node, ast.stmt) else _expression_of(made)


class _Filling(ast.NodeTransformer):
    """Puts what a pattern's `...` stood for in place of the `...` of the new code."""

    def __init__(self, kept: list[ast.expr | list[ast.stmt]]) -> None:
        self._kept = kept[0] if kept else None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        if _is_blank(node.value) and isinstance(self._kept, list):
            return self._kept
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return self._kept if _is_blank(node) and isinstance(self._kept, ast.expr) else node


def _parse(code: str) -> ast.Module:
    return ast.parse(dedent(code).strip())


def _expression_of(code: ast.Module) -> ast.expr | None:
    """The expression that a piece of code is; None where it is anything else."""
    match code.body:
        case [ast.Expr(value=expression)]:
            return expression
    return None


def _is_blank(pattern: object) -> bool:
    return isinstance(pattern, ast.Constant) and pattern.value is ...


def _is_like(pattern: object, node: object, kept: list[ast.expr | list[ast.stmt]]) -> bool:
    """Whether a syntax tree is that of a pattern; what `...` stands for is appended to `kept`."""
    if _is_blank(pattern) and isinstance(node, ast.expr):
        kept.append(node)
        return True
    if isinstance(pattern, list) and isinstance(node, list):
        if len(pattern) == 1 and isinstance(pattern[0], ast.Expr) and _is_blank(pattern[0].value):
            kept.append(node)
            return True
        pairs = zip(pattern, node, strict=False)
        return len(pattern) == len(node) and all(_is_like(one, other, kept) for one, other in pairs)
    if type(pattern) is not type(node):
        return False
    if isinstance(pattern, ast.AST):
        fields = ((getattr(pattern, field), getattr(node, field)) for field in pattern._fields)
        return all(_is_like(one, other, kept) for one, other in fields)
    return pattern == node


def _expect_one(number: int, owner: str, noun: str, which: str) -> None:
    if number != 1:
        count = f"{number} {noun}s" if number else f"no {noun}"
        raise LookupError(f"{owner} has {count} {which}")
