"""The Python of README and docs runs, in a folder that is not the checkout."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import NEEDS_PIPELINE, script_of

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
IN_THE_WHEEL = "library.md"  # test_wheel.py runs it


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if "```python" in page.read_text(encoding="utf-8") and page.name != IN_THE_WHEEL],
    ids=lambda page: page.name,
)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    script = tmp_path / f"{page.stem}.py"
    script.write_text(script_of(page.read_text(encoding="utf-8")), encoding="utf-8")
    done = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{page.name}\n{done.stderr}"


PAGE = f"""# Title

<!-- python
values = [1, 2]
-->
```python
print(sum(values))
```
* a list
  ```python
  print("listed")
  ```
```bash
rm -rf results
```
{NEEDS_PIPELINE}
```python
from pathlib import (
    Path,
)

print(Path("data").read_text())
```
"""


def test_blocks_run_in_order_on_the_lines_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    script = script_of(PAGE)
    assert [number for number, line in enumerate(script.splitlines(), start=1) if line] == [4, 7, 11, 18, 19, 20]
    exec(compile(script, "page", "exec"), {})
    assert capsys.readouterr().out == "3\nlisted\n"


def test_a_block_that_is_not_python_is_refused() -> None:
    with pytest.raises(SyntaxError):
        script_of(f"{NEEDS_PIPELINE}\n```python\nprint(1\n```\n")
