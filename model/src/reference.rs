//! `${…}` in texts: variables, which are replaced when a manifest is compiled, and parameters and secrets, which stay
//! references until a run is started.

/// What can be written.
pub const HELP: &str =
    "references are `${var.name}`, `${param.name}` and `${secret.name/key}`; `$${` stands for a plain `${`";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// There is no such variable.
    Unknown(String),
    Malformed(String),
    /// With its references replaced, the text would be longer than this.
    TooLong(usize),
}

/// A text after its variables were replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substituted {
    pub text: String,
    /// Whether the text was one reference and nothing else, so that its type is the variable's.
    pub whole: bool,
}

/// A reference that stands in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference<'t> {
    Var(&'t str),
    Param(&'t str),
    Secret { name: &'t str, key: &'t str },
}

/// One piece of a text.
enum Piece<'t> {
    Text(&'t str),
    /// `$${`, which stands for `${`.
    Escaped,
    Reference {
        raw: &'t str,
        reference: Reference<'t>,
    },
}

/// The references in a text. Other `${…}` than ours, such as a shell's or Spark's own, are text.
pub fn references(text: &str) -> Result<Vec<Reference<'_>>, Error> {
    let mut found = Vec::new();
    scan(text, |piece| {
        if let Piece::Reference { reference, .. } = piece {
            found.push(reference);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Replaces `${var.…}`; nothing where there is none of them. The result has at most `limit` bytes.
pub fn substitute<'v>(
    text: &str,
    lookup: impl Fn(&str) -> Option<&'v str>,
    limit: usize,
) -> Result<Option<Substituted>, Error> {
    let mut result = String::with_capacity(text.len());
    let mut replaced = 0;
    let mut pieces = 0;
    scan(text, |piece| {
        pieces += 1;
        match piece {
            Piece::Text(text) => result.push_str(text),
            // Escapes stay until the last layer of references is resolved, so that no layer sees them unescaped.
            Piece::Escaped => result.push_str("$${"),
            Piece::Reference { reference: Reference::Var(name), .. } => {
                replaced += 1;
                let value = lookup(name).ok_or_else(|| Error::Unknown(name.to_owned()))?;
                push(&mut result, value, limit)?;
            }
            Piece::Reference { raw, .. } => result.push_str(raw),
        }
        Ok(())
    })?;
    Ok((replaced > 0).then_some(Substituted { text: result, whole: pieces == 1 }))
}

/// Replaces `${param.…}`, and takes the escapes away: nothing reads the text after this but for its secrets, whose
/// references stay. The result has at most `limit` bytes.
pub fn resolve<'v>(
    text: &str,
    lookup: impl Fn(&str) -> Option<&'v str>,
    limit: usize,
) -> Result<String, Error> {
    let mut result = String::with_capacity(text.len());
    scan(text, |piece| {
        match piece {
            Piece::Text(text) => result.push_str(text),
            Piece::Escaped => result.push_str("${"),
            Piece::Reference { reference: Reference::Param(name), .. } => {
                let value = lookup(name).ok_or_else(|| Error::Unknown(name.to_owned()))?;
                push(&mut result, value, limit)?;
            }
            Piece::Reference { raw, .. } => result.push_str(raw),
        }
        Ok(())
    })?;
    Ok(result)
}

/// Appends a value. Only values can make a text longer than it was, so only they are checked.
fn push(result: &mut String, value: &str, limit: usize) -> Result<(), Error> {
    if result.len().saturating_add(value.len()) > limit {
        return Err(Error::TooLong(limit));
    }
    result.push_str(value);
    Ok(())
}

fn scan<'t>(text: &'t str, mut piece: impl FnMut(Piece<'t>) -> Result<(), Error>) -> Result<(), Error> {
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            if at > 1 {
                piece(Piece::Text(&rest[..at - 1]))?;
            }
            piece(Piece::Escaped)?;
            rest = &rest[at + 2..];
            continue;
        }
        let (before, from) = rest.split_at(at);
        if !before.is_empty() {
            piece(Piece::Text(before))?;
        }
        rest = match reference(from)? {
            Some((raw, reference)) => {
                piece(Piece::Reference { raw, reference })?;
                &from[raw.len()..]
            }
            None => {
                piece(Piece::Text("${"))?;
                &from[2..]
            }
        };
    }
    if !rest.is_empty() {
        piece(Piece::Text(rest))?;
    }
    Ok(())
}

/// The reference that `from`, which begins with `${`, begins with.
fn reference(from: &str) -> Result<Option<(&str, Reference<'_>)>, Error> {
    let Some(namespace) = namespace(&from[2..]) else { return Ok(None) };
    let malformed = |why: &str| {
        let shown: String = from.chars().take(40).collect();
        Error::Malformed(format!("`{shown}` {why}"))
    };
    let Some(end) = from.find('}') else { return Err(malformed("is not closed by `}`")) };
    let raw = &from[..=end];
    let Some(name) = from[2 + namespace.len()..end].strip_prefix('.') else {
        return Err(malformed("names nothing"));
    };
    let plain = |name: &str, more: &[char]| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || more.contains(&c))
    };
    let reference = match namespace {
        "var" if plain(name, &[]) => Reference::Var(name),
        "param" if plain(name, &[]) => Reference::Param(name),
        "secret" => match name.split_once('/') {
            Some((name, key)) if plain(name, &['-', '.']) && plain(key, &['-', '.']) => {
                Reference::Secret { name, key }
            }
            _ => return Err(malformed("names no secret and key")),
        },
        _ => return Err(malformed("has a name with other characters than letters, digits and `_`")),
    };
    Ok(Some((raw, reference)))
}

/// The namespace that a text begins with. Looks at the first bytes only, so that scanning a text of many `${` is linear.
fn namespace(text: &str) -> Option<&'static str> {
    ["var", "param", "secret"].into_iter().find(|namespace| {
        text.strip_prefix(namespace)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '}', ' ', ':']))
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const LIMIT: usize = 1 << 10;

    fn substituted(text: &str) -> Result<Option<String>, Error> {
        let lookup = |name: &str| {
            [("a", "1"), ("b", "two")].into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
        };
        substitute(text, lookup, LIMIT).map(|done| done.map(|done| done.text))
    }

    #[test]
    fn variables_are_replaced_and_the_rest_stays() {
        assert_eq!(substituted("x ${var.a} y ${var.b}"), Ok(Some("x 1 y two".into())));
        assert_eq!(substituted("${param.p} ${secret.s/k} ${HOME} ${env:X}"), Ok(None));
        assert_eq!(substituted("$${var.a} ${var.a}"), Ok(Some("$${var.a} 1".into())));
        assert_eq!(substituted("$${var.a}"), Ok(None));
        assert_eq!(substituted("${var.c}"), Err(Error::Unknown("c".into())));
        for bad in
            ["${var.a", "${var}", "${var.}", "${var.a b}", "${secret.s}", "${secret./k}", "${param.a-b}"]
        {
            assert!(matches!(substituted(bad), Err(Error::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn the_last_layer_takes_the_escapes_away() {
        let resolved = |text: &str| resolve(text, |name| (name == "day").then_some("2026-01-02"), LIMIT);
        let text = "--day=${param.day} $${param.day} ${secret.s/k} ${HOME}";
        assert_eq!(resolved(text), Ok("--day=2026-01-02 ${param.day} ${secret.s/k} ${HOME}".into()));
        assert_eq!(resolved("${param.night}"), Err(Error::Unknown("night".into())));
    }

    #[test]
    fn one_reference_alone_keeps_its_type() {
        let whole = |text: &str| {
            substitute(text, |_| Some("1"), LIMIT).map(|done| done.is_some_and(|done| done.whole))
        };
        assert_eq!(whole("${var.a}"), Ok(true));
        assert_eq!(whole("${var.a} "), Ok(false));
    }

    #[test]
    fn replaced_text_is_limited() {
        let ten = |_: &str| Some("0123456789");
        assert_eq!(substitute("${var.a}${var.a}", ten, 20).unwrap().unwrap().text.len(), 20);
        assert_eq!(substitute("${var.a}${var.a}", ten, 19), Err(Error::TooLong(19)));
        assert_eq!(resolve("${param.a}${param.a}", ten, 19), Err(Error::TooLong(19)));
    }

    /// The shortest of several runs, so that a busy machine does not count.
    fn shortest(work: impl Fn()) -> Duration {
        let run = |_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        };
        (0..5).map(run).min().expect("there are five")
    }

    #[test]
    fn scanning_takes_time_in_proportion_to_the_length() {
        for piece in ["${", "$${", "${var", "${x.", "$", "${param.p} ${", "${}"] {
            let time = |count: usize| {
                let text = piece.repeat(count);
                shortest(|| drop(std::hint::black_box(resolve(&text, |_| Some(""), usize::MAX))))
            };
            let (short, long) = (time(4_000), time(64_000));
            // 16 times the text; quadratic scanning takes 256 times as long.
            assert!(long < short.max(Duration::from_micros(100)) * 64, "{piece}: {short:?}, {long:?}");
        }
    }
}
