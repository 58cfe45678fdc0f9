//! Records from bytes: every framing, every way to break it.

use vertice_stream::Records;

use crate::support::Slow;

/// Reads `input` in pieces of several sizes; each must give `expected`: `number text`, or `number! reason`.
fn check(input: impl AsRef<[u8]>, expected: &[&str]) {
    let input = input.as_ref();
    // Of a long input a few large pieces are enough, and thousands of small ones take minutes.
    let steps: &[usize] = if input.len() > 100_000 { &[5_003, 1 << 20] } else { &[1, 2, 7, 64, 1 << 20] };
    for &step in steps {
        let found: Vec<String> = Records::new(Slow { bytes: input, step })
            .map(|record| match record {
                Ok(line) => format!("{} {}", line.number, line.text),
                Err(refused) => format!("{}! {}", refused.number, refused.reason),
            })
            .collect();
        assert_eq!(found, expected, "in steps of {step}: {:?}", String::from_utf8_lossy(input));
    }
}

#[test]
fn lines_end_as_they_like_and_blank_ones_only_count() {
    check("", &[]);
    check("\n \r\n\t\n", &[]);
    check("a\nb\r\n\n  c  \nd", &["1 a", "2 b", "4   c", "5 d"]);
    check("[Mon Jan 01 2026] error\n[12.5] kernel: x", &["1 [Mon Jan 01 2026] error", "2 [12.5] kernel: x"]);
}

#[test]
fn one_object_a_line_and_text_between() {
    check(
        "{\"a\":1}\n  {\"b\": [1,2]} \nplain\n{\"c\":{}}",
        &["1 {\"a\":1}", "2 {\"b\": [1,2]}", "3 plain", "4 {\"c\":{}}"],
    );
    check("{\"a\":1}{\"b\":2} {\"c\":3}\n{}", &["1 {\"a\":1}", "1 {\"b\":2}", "1 {\"c\":3}", "2 {}"]);
}

#[test]
fn an_array_is_read_element_by_element() {
    check("[]", &[]);
    check(
        "[{\"a\":1},{\"b\":[{}]} ,\n {\"c\" : \"x,]}\"}\n]\n",
        &["1 {\"a\":1}", "2 {\"b\":[{}]}", "3 {\"c\" : \"x,]}\"}"],
    );
    check(
        " [ {\n \"a\" : 1.50e3,\n \"b\" : \" \\\" {\"\n} ]\nafter",
        &["1 {\"a\":1.50e3,\"b\":\" \\\" {\"}", "5 after"],
    );
    check("[{\"a\":1}", &["1 {\"a\":1}", "2! the array is not closed; the input ends here"]);
    check(
        "[{\"a\":1},{\"b\"",
        &[
            "1 {\"a\":1}",
            "2! the JSON value is not closed; the input ends here",
            "3! the array is not closed; the input ends here",
        ],
    );
}

#[test]
fn an_array_behind_other_lines_has_the_numbers_of_its_lines() {
    check(
        "{\"a\":1}\n[{\"b\":2},5,\n{\"c\":3}]\n{\"d\":4}",
        &[r#"1 {"a":1}"#, r#"2 {"b":2}"#, "2! no object: an event is a JSON object", r#"3 {"c":3}"#, r#"4 {"d":4}"#],
    );
    check("text\n[{\"b\":2}", &["1 text", r#"2 {"b":2}"#, "2! the array is not closed; the input ends here"]);
}

#[test]
fn a_bad_element_costs_only_itself() {
    check(
        r#"[{"a":1},{"b":nope,{"c":1}},{"d":4},5,"six",[7],{"e" 8},{"f":tru},{"g":9}]"#,
        &[
            "1 {\"a\":1}",
            "2! no JSON: expected a name in quotes",
            "3 {\"d\":4}",
            "4! no object: an event is a JSON object",
            "5! no object: an event is a JSON object",
            "6! no object: an event is a JSON object",
            "7! no JSON: expected a colon",
            "8! no JSON: expected ident at column 9",
            "9 {\"g\":9}",
        ],
    );
}

#[test]
fn pretty_printed_objects_are_put_on_one_line() {
    check(
        "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [\n      \"x  y\"\n    ]\n  }\n}\n{\r\n  \"d\": 2\r\n}\r\n",
        &["1 {\"a\":1,\"b\":{\"c\":[\"x  y\"]}}", "9 {\"d\":2}"],
    );
    check("{\n\"a\":\n{\n\"b\": 1\n}\n}\n{\"c\":3}", &["1 {\"a\":{\"b\":1}}", "7 {\"c\":3}"]);
    check("{\n\"a\": 1", &["1! at line 2: the JSON value is not closed; the input ends here"]);
}

#[test]
fn a_bad_object_costs_only_itself() {
    check(
        "{\"a\":1}\n{\"b\": \"cut\n{\"c\": {\"d\": 1\n{\"e\":5}\n{\"f\":\n{\"g\":7}\n{\"h\":8} tail\n{\"i\":9}",
        &[
            "1 {\"a\":1}",
            "2! at line 2: the line ends within a string",
            "3! no JSON: EOF while parsing an object at column 13",
            "4 {\"e\":5}",
            "5! no JSON: EOF while parsing a value at column 5",
            "6 {\"g\":7}",
            "7! no JSON: trailing characters at column 9",
            "8 {\"i\":9}",
        ],
    );
    check(
        "{\n  \"a\": 1\n  \"b\": 2,\n  \"c\": {\n  }\n}\n{\n  \"d\": 4\n}\n{\"e\": {\nplain\n",
        &[
            "1! at line 3: no JSON: expected a comma or a closing bracket",
            "7 {\"d\":4}",
            "10! at line 11: no JSON: expected a name in quotes",
            "11 plain",
        ],
    );
    check(
        "{foo} bar\n{\n  \"a\": nil\n}\n",
        &[
            "1! no JSON: key must be a string at column 2",
            "2! no JSON: expected ident at line 2, column 9 of the value",
        ],
    );
}

#[test]
fn what_is_no_text_does_not_make_a_line_vanish() {
    check(
        b"user \xFF\xFE logged in\nnul \0 here\n\0\0\0after a cut",
        &["1 user \u{FFFD}\u{FFFD} logged in", "2 nul \u{FFFD} here", "3 after a cut"],
    );
    check(
        b"{\"a\":\"\xFF\"}\n{\"a\":\"\0\"}\n{\"a\":1}",
        &[
            "1! no JSON: not UTF-8 at column 7",
            "2! no JSON: control character (\\u0000-\\u001F) found while parsing a string at column 6",
            "3 {\"a\":1}",
        ],
    );
}

#[test]
fn byte_order_marks_are_obeyed() {
    check(b"\xEF\xBB\xBF{\"a\":1}\n", &["1 {\"a\":1}"]);
    let text = "{\"a\":\"\u{1F600} é\"}\r\nplain";
    let utf16 = |mark: [u8; 2], unit: fn(u16) -> [u8; 2]| {
        let mut bytes = mark.to_vec();
        bytes.extend(text.encode_utf16().flat_map(unit));
        bytes
    };
    let expected = ["1 {\"a\":\"\u{1F600} é\"}", "2 plain"];
    check(utf16([0xFF, 0xFE], u16::to_le_bytes), &expected);
    check(utf16([0xFE, 0xFF], u16::to_be_bytes), &expected);
    check(b"\xFF\xFEa\0\0\xD8b\0c", &["1 a\u{FFFD}b\u{FFFD}"]);
}

#[test]
fn too_long_and_too_deep_are_refused_and_the_rest_is_kept() {
    let long = "x".repeat(524_289);
    let deep = |n: usize| format!("{{\"d\":{}1{}}}", "[".repeat(n), "]".repeat(n));
    let wide = format!("{{\"w\":[{}1]}}", "[],".repeat(100));
    let too_long = "longer than 524288 bytes, the longest event";
    let too_deep = "nested deeper than 64 levels, the deepest event";
    check(
        format!("a\n{long}\nb\n{{\"l\":\"{long}\"}}\n{}\n{}\n{wide}\n", deep(100_000), deep(63)),
        &[
            "1 a",
            &format!("2! {too_long}"),
            "3 b",
            &format!("4! {too_long}"),
            &format!("5! {too_deep}"),
            &format!("6 {}", deep(63)),
            &format!("7 {wide}"),
        ],
    );
    check(
        format!(
            "[{{\"a\":1}},{{\"l\":\"{long}\"}},{},{}{},{{\"b\":2}}]",
            deep(100_000),
            "[".repeat(999),
            "]".repeat(999)
        ),
        &[
            "1 {\"a\":1}",
            &format!("2! {too_long}"),
            &format!("3! {too_deep}"),
            &format!("4! {too_deep}"),
            "5 {\"b\":2}",
        ],
    );
    check(
        format!("{{\n\"d\":\n{}\n}}\n{{\"a\":\n\"{long}{long}{long}{long}\"}}\nb", deep(100)),
        &[&format!("1! {too_deep}"), &format!("5! {too_long}"), "7 b"],
    );
}

#[test]
fn spaces_are_not_hoarded() {
    let spaces = " ".repeat(700_000);
    let found: Vec<_> =
        Records::new(format!("{spaces}\n{{\n{spaces}\"a\":1}}\n[{{}},{spaces}{{}}]").as_bytes()).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    assert_eq!(found[0].as_ref().unwrap().text, "{\"a\":1}");
}

#[test]
fn an_input_that_breaks_off_says_so() {
    struct Cut<'a>(&'a [u8]);
    impl std::io::Read for Cut<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Err(std::io::Error::other("the cable is out"));
            }
            self.0.read(into)
        }
    }
    for (input, kept, number) in
        [("a\nhalf", 1, 2), ("a\n", 1, 2), ("[{},", 1, 2), ("{\n\"a\":", 0, 1), ("{}\n{\"a\":1", 1, 2)]
    {
        let found: Vec<_> = Records::new(Cut(input.as_bytes())).collect();
        assert_eq!(found.iter().filter(|r| r.is_ok()).count(), kept, "{input}: {found:?}");
        let last = found.last().unwrap().as_ref().unwrap_err();
        assert_eq!(last.number, number, "{input}: {found:?}");
        assert!(last.reason.contains("the cable is out"), "{input}: {last}");
    }
}
