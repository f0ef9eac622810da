"""What the code verifier takes for the code of a reply."""

import time

import pytest
from rdistill.verifiers.code import extract_code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1", "x = 1"),
        ("a\n```python\nx = 1\n```\nb", "x = 1"),
        ("```\ndef f(): 1\n```\n```\noutput\n```", "def f(): 1"),
        ("```\nx = 1\n```\n```\nx = 2\n```", "x = 2"),
        ("```python\ndef f(): 1\n", "def f(): 1\n"),
        ("```\ndef f(): 1\n```\n```python\nprint(f())\n```", "def f(): 1"),
        ("```\ndef f(): 1\n```\n```\n>>> f()\n1\n```", "def f(): 1"),
        ("```\nasync def f(): 1\n```\n```\nassert f() == 1\n```", "async def f(): 1"),
        ("```\nclass f: 1\n```\n```\nf()\n```", "class f: 1"),
        ("```\nf = len\n```\n```\nf == len\n```", "f = len"),
        ("```\ndef f(): (\n```\n```\n>>> f()\n```", "def f(): ("),
        ("```\ndef f(): 1\n```\n```\ndef f(): 2\n```\n```\nf()\n```", "def f(): 2"),
        ("```\ndef f(): 1\n```\n```\nx = '''\ndef f(): 2\n'''\n```", "def f(): 1"),
        ("- a\n  ```\n  def f():\n      1\n  ```", "def f():\n    1"),
        ("```\nx = '''\n  \n'''\n```", "x = '''\n  \n'''"),
        ("Here: ```python\ndef f(): 1\n```", "def f(): 1"),
        ("#### ```\ndef f(): 1\n```", "def f(): 1"),
        ("First ```python\ndef f(): 0\n``` is wrong.\n```python\ndef f(): 1\n```", "def f(): 1"),
        ("\u200b```python\ndef f(): 1\n\u200b```\nEnd.", "def f(): 1"),
        ("```f(2)``` is `1`:\n```\ndef f(): 1\n```\n```f(3)``` too.", "def f(): 1"),
        ("Not ```a``` but ```python\ndef f(): 1\n```", "def f(): 1"),
        ("````md\n```py\ndef f(): 1\n```\n```\nf()\n```\n````", "def f(): 1"),
        ("````python\ndef f(): 1\n```\nf\n```\n````", "def f(): 1\n```\nf\n```"),
        ("```markdown\n# f\n```python\ndef f(): 1\n```\n```", "def f(): 1"),
        ("```python\ndef f(): 0\n```python\ndef f(): 1\n```", "def f(): 1"),
        ("~~~python\ndef f(): 1\n~~~\nEnd.", "def f(): 1"),
        ("> It is\n> ```python\n> def f():\n>     1\n> ```\n> so.", "def f():\n    1"),
        ("> ```\n> def f(): 1\nEnd.", "def f(): 1"),
        ("1. ```python\n   def f():\n       1\n   ```\n2. End.", "def f():\n    1"),
        ("```\ndef f():\n    '''\n    ```\n    f()\n    ```\n    '''\n```\nEnd.", None),
        ("def f():\n    '''\n```\nf()\n```\n    '''", "def f():\n    '''\n```\nf()\n```\n    '''"),
        ("```\nf, g = len, 1\n```\n```\nf(2)\n```", "f, g = len, 1"),
        ("```\nfrom math import gcd as f\n```\n```\nf(2)\n```", "from math import gcd as f"),
        ("```\ndef f(): 1\n```\n```\nfrom solution import f\nf()\n```", "def f(): 1"),
        ("```\nif 1:\n    def f(): 1\n```\n```\nf()\n```", "if 1:\n    def f(): 1"),
        (
            "```\ntry:\n    f = a\nexcept NameError:\n    f = 1\n```\n```\nf()\n```",
            "try:\n    f = a\nexcept NameError:\n    f = 1",
        ),
        ("```\ndef f(): 1\n```\n```\nf = f(2)\n```", "def f(): 1"),
        ("```\ndef f(): 1\n```\n```\nf[0] = 2\n```", "def f(): 1"),
        ("```\nf = 0\n```\n```\nf = lambda n: f(n - 1)\n```", "f = lambda n: f(n - 1)"),
        ("```\nimport math\n```\n```\ndef f(): math\n```", "import math\n\ndef f(): math"),
        ("```\ndef g(): h()\n```\n```\ndef h(): 0\n```\n```\ndef f(): h()\n```", "def h(): 0\n\ndef f(): h()"),
        (
            "```\ndef h(): 0\n```\n```\ndef g(): h()\n```\n```\ndef f(): g()\n```",
            "def h(): 0\n\ndef g(): h()\n\ndef f(): g()",
        ),
        ("```\na = 1\n```\n```\ndef f(a): a\n```", "def f(a): a"),
    ],
)
def test_code_is_found(text, code):
    if code is None:
        code = text.removeprefix("```\n").removesuffix("\n```\nEnd.")
    assert extract_code(text, "f") == code


@pytest.mark.parametrize(
    ("tag", "block", "is_chosen"),
    [
        ("", "5", False),
        ("", "Yes", False),
        ("", "a b c", False),
        ("", "print(2)", True),
        ("python", "2", True),
        ("Py", "print(2", True),
        ("python", "# 2", False),
        ("text", "print(2)", False),
        ("bash", "echo(2)", False),
    ],
)
def test_a_program_is_found(tag, block, is_chosen):
    assert extract_code(f"```python\nprint(1)\n```\n```{tag}\n{block}\n```") == (block if is_chosen else "print(1)")


def test_blocks_are_found_in_linear_time():
    for block in (
        "> ``` ",
        "``` ",
        "> " * 999 + "```\n",
        "- " * 999,
        "```\na = f\nf = a\n```\n",
        "```\nf(\n```\n",
        "```\n" + "f=" * 30_000 + "\n```\n",
        "```\nf \t\n```\n",
        "```f\n",
    ):
        started = time.monotonic()
        extract_code(block * (250_000 // len(block)), "f")
        assert time.monotonic() - started < 5
