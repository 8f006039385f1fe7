"""Expressions over tags select what they say, and one that says nothing is refused where it goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cache

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ScenetagsError
from pipelines.results.selecting.expressions import read_expression

LABELS = ("clear", "cloudy", "road", "bare ground", "it's", 'the "old" mine', "and", "Road", "x) or (1=1", "a\nb")

Truth = Callable[[Collection[str]], bool]


@st.composite
def expressions(draw: st.DrawFn) -> tuple[str, Truth]:
    """Draw an expression, and what it means."""

    def label() -> tuple[str, Truth]:
        name = draw(st.sampled_from(LABELS))
        spellings = ["'" + name.replace("'", "''") + "'", '"' + name.replace('"', '""') + '"']
        if name.isalpha() and name != "and":
            spellings.append(name)
        return draw(st.sampled_from(spellings)), lambda tags: name in tags

    def inverse(inner: tuple[str, Truth]) -> tuple[str, Truth]:
        return f"not ({inner[0]})", lambda tags: not inner[1](tags)

    def joined(pair: tuple[tuple[str, Truth], tuple[str, Truth]], word: str) -> tuple[str, Truth]:
        (one, first), (other, second) = pair
        both: Truth = lambda tags: first(tags) and second(tags)  # noqa: E731
        either: Truth = lambda tags: first(tags) or second(tags)  # noqa: E731
        return f"({one} {word} {other})", both if word.lower() == "and" else either

    leaves = st.builds(label)
    return draw(
        st.recursive(
            leaves,
            lambda inner: st.one_of(
                inner.map(inverse),
                st.tuples(inner, inner).map(lambda pair: joined(pair, "and")),
                st.tuples(inner, inner).map(lambda pair: joined(pair, "OR")),
            ),
            max_leaves=8,
        )
    )


ROWS: list[set[str]] = [
    set(),
    {"clear"},
    {"cloudy", "road"},
    {"bare ground", "it's"},
    set(LABELS),
    {"and", "x) or (1=1", "a\nb"},
]


@cache
def database() -> duckdb.DuckDBPyConnection:
    opened = duckdb.connect(config={"threads": 1})
    opened.register("rows", pa.table({"tags": pa.array(map(list, ROWS), pa.list_(pa.string()))}))
    return opened


def selects(expression: str) -> list[bool]:
    condition = read_expression(expression, LABELS).condition
    return [bool(chosen) for (chosen,) in database().execute(f"select {condition} from rows").fetchall()]


@settings(max_examples=15)
@given(expressions())
def test_an_expression_selects_the_rows_of_which_it_is_true(drawn: tuple[str, Truth]) -> None:
    expression, truth = drawn

    assert selects(expression) == [truth(tags) for tags in ROWS]


@pytest.mark.parametrize(
    ("expression", "meant"),
    [
        ("road or clear and cloudy", "road or (clear and cloudy)"),
        ("not road and cloudy", "(not road) and cloudy"),
        ("not not road", "road"),
        ("road and(cloudy)or'clear'", "(road and cloudy) or clear"),
        ("  road\tAND\nNot cloudy ", "road and not cloudy"),
    ],
)
def test_words_bind_as_in_other_languages(expression: str, meant: str) -> None:
    assert selects(expression) == selects(meant)


def test_labels_are_named_once_in_their_order() -> None:
    assert read_expression("road and (clear or not road)", LABELS).labels == ("road", "clear")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "the expression is empty"),
        ("  ", "the expression is empty"),
        ("road and clody", '"road and clody", character 10: clody is not a label of the model; did you mean cloudy'),
        ("ROAD", "did you mean road?"),
        ("zzz", "zzz is not a label of the model; use one of clear, cloudy, road"),
        ("road cloudy", 'character 6: "and" or "or" is missing before cloudy'),
        ("road and", '"road and": a tag is missing at the end'),
        ("and road", "character 1: a tag is missing before and"),
        ("road or or clear", "character 9: a tag is missing before or"),
        ("(road", "character 1: this parenthesis is never closed"),
        ("road)", "character 5: no parenthesis is open here"),
        ("()", "character 2: a tag is missing before )"),
        ("road and 'clear", "character 10: this quote is never closed"),
        ("road; drop table rows", "road; is not a label of the model"),
        ("not " * 200 + "road", "it is nested too deeply"),
        ("(" * 5000, "it is nested too deeply"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_place(expression: str, said: str) -> None:
    with pytest.raises(ScenetagsError) as refused:
        read_expression(expression, LABELS)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("road and not", '"road and not": a tag is missing at the end; as a tag, write "not" or "And"'),
        ("and", 'a tag is missing before and; as a tag, write "not" or "And"'),
        ("bare_ground", 'bare_ground is not a label of the model; did you mean "bare ground"?'),
        ("'5 inch'", 'did you mean "5"" inch"?'),
        ("sund", "did you mean sand?"),
    ],
)
def test_what_is_meant_is_said_as_it_is_to_be_written(expression: str, said: str) -> None:
    with pytest.raises(ScenetagsError) as refused:
        read_expression(expression, ("road", "not", "And", "bare ground", '5" inch', "sand"))

    assert str(refused.value).endswith(said)


def test_many_labels_take_no_depth() -> None:
    assert selects(" or ".join(["road", "clear"] * 100))[1]


@given(st.text(max_size=30))
def test_no_text_is_a_bug(text: str) -> None:
    with suppress(ScenetagsError):
        selects(text)
