//! Checks that the Python literal of any string is one line of visible characters, and decodes to the string.
#![no_main]

use dcp_compiler::airflow::Literal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let literal = Literal::string(text);
    let source = literal.as_str();
    for c in source.chars() {
        assert!(is_visible(c), "{c:?} is in {source:?}");
    }
    assert_eq!(decoded(source).as_deref(), Some(text), "{source}");

    // A text over several lines is a sequence of adjacent literals.
    let laid_out = Literal::text("doc_md", 4, text);
    let lines: Vec<&str> =
        laid_out.as_str().lines().map(str::trim).filter(|line| !matches!(*line, "(" | ")")).collect();
    let parts: Option<Vec<String>> = lines.iter().map(|line| decoded(line)).collect();
    assert_eq!(parts.map(|parts| parts.concat()).as_deref(), Some(text), "{}", laid_out.as_str());
});

/// Returns false for control characters, white space except the blank, invisible characters and right-to-left scripts.
///
/// The list comes from the blocks of Unicode, and is independent of the encoder's list.
fn is_visible(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // Control characters, the no-break space and the soft hyphen.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{ad}' => false,
        // Combining marks, Hebrew to Thaana, the spaces and marks of general punctuation, variation selectors, private
        // use, presentation forms of Arabic, specials, and all planes but the first.
        '\u{300}'..='\u{36f}'
        | '\u{483}'..='\u{489}'
        | '\u{590}'..='\u{8ff}'
        | '\u{115f}'..='\u{1160}'
        | '\u{1680}'
        | '\u{180b}'..='\u{180f}'
        | '\u{2000}'..='\u{206f}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{2800}'
        | '\u{3000}'
        | '\u{3099}'..='\u{309a}'
        | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{fb1d}'..='\u{fdff}'
        | '\u{fe00}'..='\u{ffff}'
        | '\u{10000}'.. => false,
        _ => true,
    }
}

/// Decodes a Python string literal without prefix. Returns `None` for any other text.
fn decoded(source: &str) -> Option<String> {
    let mut chars = source.chars();
    let quote = chars.next().filter(|c| matches!(c, '"' | '\''))?;
    let mut text = String::new();
    loop {
        match chars.next()? {
            c if c == quote => return chars.next().is_none().then_some(text),
            '\n' | '\r' | '\0' => return None,
            '\\' => text.push(match chars.next()? {
                c @ ('\\' | '\'' | '"') => c,
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'x' => hexadecimal(&mut chars, 2)?,
                'u' => hexadecimal(&mut chars, 4)?,
                'U' => hexadecimal(&mut chars, 8)?,
                // The encoder does not write the other escapes of Python.
                _ => return None,
            }),
            c => text.push(c),
        }
    }
}

fn hexadecimal(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let mut code = 0;
    for _ in 0..digits {
        code = code * 16 + chars.next()?.to_digit(16)?;
    }
    char::from_u32(code)
}
