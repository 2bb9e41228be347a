//! Compares the trees of the fast parser with those of `granit-parser`.

use proptest::prelude::*;

use crate::source::FileId;
use crate::yaml::{fast_path, parse_full};

/// Returns whether the fast parser supports the text, and compares its trees with those of the full parser.
fn is_supported(text: &str) -> bool {
    let Some(read) = fast_path::parse(FileId(0), text) else { return false };
    let expected = parse_full(FileId(0), text);
    assert_eq!(read, expected, "of {text:?}");
    true
}

#[test]
fn features_of_manifests_are_supported() {
    for text in [
        "a: 1\n",
        "a: 1",
        "# c\n\na: b c  # d\n#\n\n  # e\nb:\n  c: d\n  e:\n    - f\n    - g: h\n      i: j\n    -   k: l\n        m: n\n",
        "a:\n- b\n- c: d\n  e: f\ng: h\n",
        "a:\n  -\n    b: c\n  - - d\n    - e\n  - [f, g]\n",
        "a: # nothing\nb:\nc:   # more\n  d:\n",
        "---\na: b\n",
        "# c\n---\na: b\n---\n# d\nc: d\n",
        "a: \"b # c: d\"\n'e f' : 'g'\n\"h\": i\n- : j\n".trim_end_matches("- : j\n"),
        "- \"a\": b\n- 'c'\n- d: e\n- f:g\n- http://h:1/i#j\n",
        "a: {}\nb: []\nc: {d: e, 'f': [g, \"h\"], i: {j: --k}}   # l\n",
        "a: [b,\n    c,\n\n    d]\ne: {f: g,\n  h: i\n }\n",
        "a: |\n  b\n   c\n\n  d # e\n     \n\nf: |-   # g\n  h: i\n  - j\n\n# k\nl: |\n    m\n",
        "- |\n  a\n- |-\n b\n",
        "a: yes\nb: 0755\nc: 1_000\nd: ~\ne: null\nf: 1.5\ng: -7\nh: 0x1F\n",
        "a: ü – ö\nß: 'é'\n",
        "a: b\na: c\n<<: d\n".trim_end_matches("<<: d\n"),
        "name: clicks\ncron: \"0 2 * * *\"\nargs: [--day, \"${param.day}\", --n, 3]\n",
    ] {
        assert!(is_supported(text), "{text:?}");
    }
}

const UNSUPPORTED: &[&str] = &[
    "",
    "# nothing\n",
    "a",
    "a: b\n  c\n",
    "a: b: c\n",
    "a: \"b\\n\"\n",
    "a: 'it''s'\n",
    "a: &x b\nc: *x\n",
    "a: !!str 1\n",
    "a: >\n  b\n",
    "a: |+\n  b\n",
    "a: |2\n  b\n",
    "a: |\n  b",
    "a: |\n\n  b\n",
    "a:\tb\n",
    "a: b\r\n",
    "\u{feff}a: b\n",
    "? a\n: b\n",
    "a: [b: c]\n",
    "a: {b}\n",
    "a: [b, c\n",
    "a: [b,\nc]\n",
    "a: [${b}]\n",
    "a: b\n...\n",
    "a: b\n... : c\n",
    "a: b\tc\n",
    "a: [b{c]\n",
    "a: [b:, c]\n",
    "a: {b:c}\n",
    "a: {\"b\":c}\n",
    "a: {b:\n c}\n",
    "a: b\n--- c\n",
    "%YAML 1.2\n---\na: b\n",
    "a: @b\n",
    "a: b\n c: d\n",
    "a:\n  b: c\n d: e\n",
    "- a\nb: c\n",
    "a: -\n",
    "a: b #c\n  d\n",
    "a: [b #c\n ]\n",
];

#[test]
fn other_features_are_left_to_the_full_parser() {
    for text in UNSUPPORTED {
        assert!(!is_supported(text), "{text:?}");
    }
}

#[test]
fn deep_texts_are_left_to_the_full_parser() {
    let nested: Vec<String> = (0..40).map(|depth| format!("{:depth$}a:\n", "")).collect();
    assert!(is_supported(&nested[..20].concat()) && !is_supported(&nested.concat()));
    assert!(!is_supported(&format!("a: {}{}\n", "[".repeat(40), "]".repeat(40))));
    assert!(!is_supported(&format!("{}: b\n", "a".repeat(300))));
}

/// Generates typical lines of manifests, and pieces that change the meaning of a line.
fn line() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        12 => prop::sample::select(vec!["a", "b", "key", "c d", "1", "0755", "yes", "~", "x:y", "ü", "--e", "a-b"]),
        12 => prop::sample::select(vec![": ", ":", " ", ", ", "- ", "  "]),
        6 => prop::sample::select(vec!["[", "]", "{", "}", "[a, b]", "{a: b}", "[]", "{}"]),
        6 => prop::sample::select(vec!["\"q\"", "'q'", "\"", "'", "\"a: b\"", "'a #b'", "''"]),
        4 => prop::sample::select(vec![" # c", "#", "|", "|-", "|\n", ">", "&a ", "*a", "!t ", "---", "...", "?", "-", ":", "<<", "%", "@", "\\", "\t", "\r", "`", "\u{85}", "\u{2028}", "\u{a0}"]),
    ];
    let start = prop::sample::select(vec!["", "", "  ", "  ", "    ", " ", "- ", "  - ", "   ", "      "]);
    let simple = prop::sample::select(vec![
        "a: b",
        "a:",
        "b: 1",
        "- a",
        "-",
        "- b: c",
        "- - d",
        "c: |",
        "d: |-",
        "c: [a, b]",
        "d: {a: b, c: d}",
        "e: \"f\"",
        "'g': h",
        "text",
        "# c",
        "",
        "---",
        "i: # j",
        "k: [l,",
        "m]",
        "n: {o: p,",
        "q: r}",
        "s: t # u",
    ]);
    let mixed = prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
    let body = prop_oneof![3 => simple.prop_map(str::to_owned), 1 => mixed];
    (start, body).prop_map(|(start, body)| format!("{start}{body}"))
}

const SCALARS: &[&str] = &[
    "a",
    "b c",
    "1",
    "0755",
    "yes",
    "~",
    "x:y",
    "ü",
    "--e",
    "\"q: #\"",
    "'it'",
    "[]",
    "{}",
    "[a, 'b', {c: d}]",
    "{e: f, g: [h]}",
    "s # c",
    "\"t\"  # u",
    "",
    "# v",
    "[a,\n        b]",
    "http://h:1/i?j=k#l",
    "${param.day}",
    "- e",
    "|",
    "e: f",
];

/// Generates the lines of a value after its key or dash.
fn value() -> impl Strategy<Value = Vec<String>> {
    let scalar = prop::sample::select(SCALARS);
    let literal = prop::sample::select(vec![
        vec!["|", "  a", "", "    b # c", "  d: e"],
        vec!["|-  # f", "  - g", " "],
        vec!["|", "   h", "  i"],
        vec!["|-", " j", "", ""],
    ]);
    let owned = |lines: Vec<&str>| lines.into_iter().map(str::to_owned).collect();
    let leaf =
        prop_oneof![4 => scalar.prop_map(move |text| vec![text.to_owned()]), 1 => literal.prop_map(owned)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop::sample::select(vec!["a", "b-c", "\"d\"", "'e f'", "g.h/i", "1", "a:b", "<<"]);
        let colon = prop::sample::select(vec![":", ":", ":", ": ", " :"]);
        let gap = prop::sample::select(vec!["", "", "", "", "# c", "  "]);
        let indent = prop::sample::select(vec!["  ", "  ", "  ", "    ", "", " "]);
        let map = prop::collection::vec((key, colon, gap, indent, inner.clone()), 1..4).prop_map(|members| {
            let mut lines = vec![String::new()];
            for (key, colon, gap, indent, value) in members {
                lines.extend((!gap.is_empty()).then(|| gap.to_owned()));
                below(&mut lines, &format!("{key}{colon}"), indent, &value);
            }
            lines
        });
        let list = prop::collection::vec((prop::sample::select(vec!["-", "-", "- "]), inner), 1..4).prop_map(
            |items| {
                let mut lines = vec![String::new()];
                for (dash, value) in items {
                    item(&mut lines, dash, &value);
                }
                lines
            },
        );
        prop_oneof![map, list]
    })
}

fn item(lines: &mut Vec<String>, dash: &str, value: &[String]) {
    // A map may begin on the line of its dash.
    match (value.first().is_some_and(String::is_empty), value.get(1)) {
        (true, Some(first)) => {
            lines.push(format!("- {first}"));
            lines.extend(value[2..].iter().map(|line| format!("  {line}")));
        }
        _ => below(lines, dash, "  ", value),
    }
}

fn below(lines: &mut Vec<String>, head: &str, indent: &str, value: &[String]) {
    let (first, rest) = value.split_first().expect("a value has a line");
    lines.push(if first.is_empty() { head.to_owned() } else { format!("{head} {first}") });
    lines.extend(rest.iter().map(|line| format!("{indent}{line}")));
}

/// Generates replacements of a character.
fn damage() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "", "", "\n", " ", "  ", ":", "#", "-", "'", "\"", "[", "}", ",", "a", "\n\n", "\n  ", "|", ": ",
        " #",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn fast_path_agrees_with_the_full_parser_on_any_lines(lines in prop::collection::vec(line(), 0..12), ends in any::<bool>()) {
        let text = lines.join("\n") + if ends { "\n" } else { "" };
        is_supported(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn fast_path_agrees_with_the_full_parser_on_valid_documents(
        value in value(),
        damages in prop::collection::vec((any::<prop::sample::Index>(), damage()), 0..3),
    ) {
        let mut text = value[usize::from(value[0].is_empty())..].join("\n") + "\n";
        for (at, damage) in damages {
            let at = text.floor_char_boundary(at.index(text.len()));
            let end = text.ceil_char_boundary(at + 1);
            text.replace_range(at..end, damage);
            text.push('\n');
        }
        is_supported(&text);
    }
}
