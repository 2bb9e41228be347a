//! References `${…}` in texts. Variables are replaced when a manifest is compiled. Parameters and secrets stay
//! references until a run starts.

/// The help text that lists the valid references.
pub const HELP: &str =
    "references are `${var.name}`, `${param.name}` and `${secret.name/key}`; `$${` stands for a plain `${`";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// An unknown variable or parameter.
    Unknown(String),
    Malformed(String),
    /// The text would exceed this limit after its references are replaced.
    TooLong(usize),
}

/// A text after its variables were replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substituted {
    pub text: String,
    /// Set if the text consists of one reference only. It then has the type of the variable.
    pub whole: bool,
}

/// A reference in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference<'t> {
    Var(&'t str),
    Param(&'t str),
    Secret { name: &'t str, key: &'t str },
}

/// A piece of a text.
enum Piece<'t> {
    Text(&'t str),
    /// The escape `$${`, which stands for `${`.
    Escaped,
    Reference {
        raw: &'t str,
        reference: Reference<'t>,
    },
}

/// Returns the references in a text. Other `${…}`, such as those of shells or of Spark, are plain text.
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

/// Replaces `${var.…}`. Returns `None` if there are no variables. The result has at most `limit` bytes.
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

/// Replaces `${param.…}` and removes escapes. This is the last layer, except for references to secrets, which stay in
/// the text. The result has at most `limit` bytes.
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

/// Appends a value. The limit is checked here, because only values make a text longer.
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

/// Parses the reference at the start of `from`, which begins with `${`.
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

/// Returns the namespace at the start of a text. It reads the first bytes only, so that scanning a text with many
/// `${` takes linear time.
fn namespace(text: &str) -> Option<&'static str> {
    ["var", "param", "secret"].into_iter().find(|namespace| {
        text.strip_prefix(namespace)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '}', ' ', ':']))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: usize = 1 << 10;

    fn substituted(text: &str) -> Result<Option<String>, Error> {
        let lookup = |name: &str| {
            [("a", "1"), ("b", "two")].into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
        };
        substitute(text, lookup, LIMIT).map(|done| done.map(|done| done.text))
    }

    #[test]
    fn substitute_replaces_variables_only() {
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
    fn resolve_removes_escapes() {
        let resolved = |text: &str| resolve(text, |name| (name == "day").then_some("2026-01-02"), LIMIT);
        let text = "--day=${param.day} $${param.day} ${secret.s/k} ${HOME}";
        assert_eq!(resolved(text), Ok("--day=2026-01-02 ${param.day} ${secret.s/k} ${HOME}".into()));
        assert_eq!(resolved("${param.night}"), Err(Error::Unknown("night".into())));
    }

    #[test]
    fn single_reference_has_the_type_of_its_variable() {
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

    /// Returns the CPU time of this thread, which does not depend on other processes of the machine.
    fn cpu_time() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).expect("the time of a thread is not negative")
    }

    /// Returns the shortest time of several runs.
    fn shortest(work: impl Fn()) -> Duration {
        let run = |_| {
            let begun = cpu_time();
            work();
            cpu_time().saturating_sub(begun)
        };
        (0..5).map(run).min().expect("there are five")
    }

    #[test]
    fn scanning_takes_linear_time() {
        for piece in ["${", "$${", "${var", "${x.", "$", "${param.p} ${", "${}"] {
            let time = |count: usize| {
                let text = piece.repeat(count);
                shortest(|| drop(std::hint::black_box(resolve(&text, |_| Some(""), usize::MAX))))
            };
            let (short, long) = (time(4_000), time(64_000));
            // The text is 16 times as long. Quadratic scanning would take 256 times as long.
            assert!(long < short.max(Duration::from_micros(100)) * 64, "{piece}: {short:?}, {long:?}");
        }
    }
}
