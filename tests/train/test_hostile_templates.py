"""Chat templates that attack: each is ended within its limits, and none of them runs anything."""

import resource

import pytest
from train_helpers import CHATML, tiny_tokenizer

from rdistill.chat_template import CPU_SECONDS, try_template
from rdistill.errors import PrerequisiteError
from rdistill.train.spans import SpanError, check_template

RUN = "'touch {mark}'"
REACHES_OUT = {
    "classes of a string": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals of cycler": "{{ cycler.__init__.__globals__.os.system(" + RUN + ") }}",
    "globals of lipsum": "{{ lipsum.__globals__['os'].system(" + RUN + ") }}",
    "globals of joiner by a filter": "{{ (joiner|attr('__init__')|attr('__globals__'))['os'].system(" + RUN + ") }}",
    "the template itself": "{{ self.__init__.__globals__.__builtins__.__import__('os').system(" + RUN + ") }}",
    "globals of what transformers passes": "{{ raise_exception.__globals__['os'].system(" + RUN + ") }}",
    "the code of a macro": "{% macro m() %}{% endmacro %}{{ m.__call__.__func__.__globals__ }}",
    "attributes by a format string": "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "a file": "{% include '/etc/passwd' %}",
    "the conversation changed": "{{ messages.clear() }}",
}
POWER = "{{ 9 ** (9 ** 9) }}"
COMPUTES_FOR_EVER = {
    "a power": POWER,
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "sums": "{% for i in range(99999) %}{{ range(99999)|sum }}{% endfor %}",
    "macros": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "a wait for the second turn": "{% if messages|length > 1 %}" + POWER + "{% endif %}" + CHATML,
}
FILLS_MEMORY = {
    "a string multiplied": "{{ 'a' * 10 ** 11 }}",
    "a list multiplied": "{{ [messages] * 10 ** 10 }}",
    "a wide format": "{{ '%99999999999d' % 1 }}",
    "a string centred": "{{ 'a'|center(99999999999) }}",
    "a string doubled": "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s * 2 %}{% endfor %}",
}


@pytest.mark.parametrize("attack", REACHES_OUT)
def test_what_reaches_out_is_refused(tmp_path, attack):
    mark = tmp_path / "ran"
    tokenizer = tiny_tokenizer(REACHES_OUT[attack].replace("{mark}", str(mark)))
    try_template(tokenizer)
    with pytest.raises(SpanError):
        check_template(tokenizer)
    assert not mark.exists()


@pytest.mark.parametrize("attack", COMPUTES_FOR_EVER)
def test_what_computes_for_ever_is_ended(attack):
    tokenizer = tiny_tokenizer(COMPUTES_FOR_EVER[attack])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pytest.raises(PrerequisiteError, match=r"takes more than 2 s for a short conversation; mend it"):
        try_template(tokenizer)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < CPU_SECONDS + 1


@pytest.mark.parametrize("attack", FILLS_MEMORY)
def test_what_fills_memory_is_ended(attack):
    with pytest.raises(PrerequisiteError, match=r"takes more than (1 GiB|2 s) for a short conversation"):
        try_template(tiny_tokenizer(FILLS_MEMORY[attack]))


def test_a_good_template_passes_and_one_that_refuses_is_judged_elsewhere():
    good = tiny_tokenizer()
    try_template(good)
    assert check_template(good).num_supervised > 0
    for refuses in ("{{ raise_exception('no system role') }}", "{{ not a template"):
        try_template(tiny_tokenizer(refuses))
        with pytest.raises(SpanError):
            check_template(tiny_tokenizer(refuses))
