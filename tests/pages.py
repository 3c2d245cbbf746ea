"""The Python of a Markdown page as one script whose line numbers are the page's."""

import ast
import re

NEEDS_PIPELINE = "<!-- needs: dvc repro -->"
"""Stands before a block that reads results of the pipeline: it is compiled, and of it only the imports run."""
BLOCK = re.compile(r"(?P<open> *```python *|<!-- python *)\n(?P<code>.*?)\n *(?:```|-->) *$", re.DOTALL | re.MULTILINE)
"""A shown block, or a hidden one that prepares what shown blocks read: `<!-- python ... -->`."""


def script_of(page: str) -> str:
    """The page with everything but its Python blanked out; raises `SyntaxError` if a block is not Python."""
    lines = [""] * page.count("\n")
    for block in BLOCK.finditer(page):
        first = page.count("\n", 0, block.start("code"))
        code = block["code"].splitlines()
        indent = len(block["open"]) - len(block["open"].lstrip())
        code = [line[indent:] for line in code]
        tree = ast.parse("\n".join(code))
        if page[: block.start()].rstrip().endswith(NEEDS_PIPELINE):
            imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            kept = {line for node in imports for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
            code = [line if number in kept else "" for number, line in enumerate(code, start=1)]
        lines[first : first + len(code)] = code
    return "\n".join(lines)
