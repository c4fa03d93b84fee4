"""HCL: what Consul's language means as plain values, and where it is wrong."""

from typing import Any

import pytest

from kato_consul._definitions.hcl import parse_hcl

HEREDOCS = """
meta {
  plain = <<EOF
one "quoted" ${x} \\n
  two
EOF
  indented = <<-EOT
      one
        two
      EOT
  uneven = <<-EOT
  one
    EOT
}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# only a comment", {}),
        ('service {\n  name = "web"\n  port = 1\n}', {"service": [{"name": "web", "port": 1}]}),
        ("services { a = 1 }\nservices { a = 2 }", {"services": [{"a": 1}, {"a": 2}]}),
        ("services = [{ a = 1 }, { a = 2 }]", {"services": [{"a": 1}, {"a": 2}]}),
        ("service = {\n  a = 1\n  b = 2\n}", {"service": {"a": 1, "b": 2}}),
        ('service = {\n  a { b = 1 "c-d" = [2] e = "x" }\n  f = [{ g = 1 h = 2 }, { i = 3 }]\n}',
         {"service": {"a": {"b": 1, "c-d": [2], "e": "x"}, "f": [{"g": 1, "h": 2}, {"i": 3}]}}),
        ("a = { b = 1 /* x */ c = 0 # y\n d = 0.5,\n e { f = -1 } }",
         {"a": {"b": 1, "c": 0, "d": 0.5, "e": {"f": -1}}}),
        ('service "web" { a = 1 }', {"service": [{"web": [{"a": 1}]}]}),
        ("a { b { c = true } }", {"a": [{"b": [{"c": True}]}]}),
        ("a { b = 1, c = [1, 2,], d = { e = 1, f = 2 } }",
         {"a": [{"b": 1, "c": [1, 2], "d": {"e": 1, "f": 2}}]}),
        ('"a" { "b" = 1 "c" {} }', {"a": [{"b": 1, "c": [{}]}]}),
        ('a = { "b-c" = 1, "d e" = 2 }', {"a": {"b-c": 1, "d e": 2}}),
        ("a = -5\nb = 1.5\nc = 8e3\nd = null", {"a": -5, "b": 1.5, "c": 8000.0, "d": None}),
        ("# a\n// b\n/* c\n d */ a = 1 # e\nb = 2 /* f */", {"a": 1, "b": 2}),
        ('a = [ # why\n  "x", // so\n]', {"a": ["x"]}),
        ('a = "http://x/#y // z /* */"', {"a": "http://x/#y // z /* */"}),
        (r'a = "t\tu\u00fc U\U0001F389 q\"q\" b\\"', {"a": 't\tuü U🎉 q"q" b\\'}),
        ('a = "/${1} $${b} ${f("c")} $$ %{if} 50%"', {"a": '/${1} $${b} ${f("c")} $$ %{if} 50%'}),
        ('in = 1\nfor = 2\nif = 3', {"in": 1, "for": 2, "if": 3}),
        ('a {\r\n  b = "c"\r\n}\r\n', {"a": [{"b": "c"}]}),
        (HEREDOCS, {"meta": [{
            "plain": 'one "quoted" ${x} \\n\n  two\n',
            "indented": "one\n  two\n",
            "uneven": "  one\n",
        }]}),
    ],
)  # fmt: skip
def test_values(text: str, expected: dict[str, Any]) -> None:
    """A document is plain values; its blocks are lists, since each may be written again."""
    assert parse_hcl(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("service {\n  a = 1\n", 3, "the text ends here"),
        ("service", 1, "the text ends here"),
        ("service {\n  a = \n  b = 2\n}", 2, "the line ends too early"),
        ("service {\n  a: 1\n}", 2, "':' is not expected"),
        ("a = 1\n}", 2, "'}' is not expected"),
        ("a = ['x']", 1, '"\'" is not expected'),
        ('a = ["x" "y"]', 1, "'\"' is not expected"),
        ('a = 1\nb = "x\ny"', 2, "a string does not end on its line"),
        ("port = 010", 1, "010: write the number without zeros"),
        ("a {\n  b = -010\n}", 2, "-010: write the number without zeros"),
        ("a = 1\nb = c", 2, "expressions are not supported"),
        ("a = 1 + 1", 1, "expressions are not supported"),
        ("a = -b", 1, "expressions are not supported"),
        ('a = file("x")', 1, "expressions are not supported"),
        ("a = [for b in c : b]", 1, "expressions are not supported"),
        ("a = 1\n\na = 2", 3, "a is given a second time"),
        ("a { b = 1\nb = 2 }", 2, "b is given a second time"),
        ("a = { b = 1, b = 2 }", 1, "b is given a second time"),
        ("a { }\na = 1", 2, "a is given a second time"),
        ('a = "\\q"', 1, "\\q is not known in a string: write \\\\q"),
        ('a = "\\ud800"', 1, "\\ud800 is not a character"),
        ("a = 1\nb = \0", 2, "a NUL is not allowed"),
    ],
)
def test_mistake_has_its_line(text: str, line: int, expected: str) -> None:
    """What is not HCL, or has more than plain values, is reported with its line."""
    with pytest.raises(ValueError) as caught:
        parse_hcl(text)
    assert str(caught.value).startswith(f"line {line}: ")
    assert expected in str(caught.value)


def test_mistake_repeats_no_text() -> None:
    """A value without quotes may be a secret, so a mistake does not repeat it."""
    for text in ("token = s3cret", "token = 's3cret'", "token = s3cret-1 s3cret"):
        with pytest.raises(ValueError) as caught:
            parse_hcl(text)
        assert "s3cret" not in str(caught.value)
