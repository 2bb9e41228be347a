//! What a log may say that nobody else is to read: the values of what is named as a secret.

/// Words whose value is one, wherever they end a name: `fs.s3a.secret.key=…`, `"password": "…"`, `--token …`.
const NAMES: &[&str] =
    &["password", "passwd", "secret", "token", "credential", "credentials", "key", "apikey"];
const HIDDEN: &str = "…";

/// The line without the values of secrets. It says too little rather than too much.
pub(super) fn redact(line: &str) -> String {
    let mut told = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['=', ':']) {
        let (name, value) = rest.split_at(at + 1);
        told.push_str(name);
        rest = value;
        if !is_secret(&name[..at]) {
            continue;
        }
        let before = value.len() - value.trim_start_matches([' ', '"', '\'']).len();
        let quote = value[..before].chars().next_back().filter(|it| *it != ' ');
        let ends = |it: char| match quote {
            Some(quote) => it == quote,
            None => it.is_whitespace() || matches!(it, '"' | '\'' | ',' | ';' | '&' | '}' | ')'),
        };
        let end = value[before..].find(ends).map_or(value.len(), |end| before + end);
        if end > before {
            told.push_str(&value[..before]);
            told.push_str(HIDDEN);
            rest = &value[end..];
        }
    }
    told.push_str(rest);
    user_info(&told)
}

/// Whether what ends here is the name of a secret.
fn is_secret(text: &str) -> bool {
    let name = text.trim_end_matches(['"', '\'', ' ']);
    let name =
        name.rsplit(|it: char| !it.is_ascii_alphanumeric()).next().unwrap_or_default().to_ascii_lowercase();
    NAMES.iter().any(|secret| name.ends_with(secret))
}

/// A URL's user and password: `jdbc:postgresql://user:password@host`.
fn user_info(line: &str) -> String {
    let mut told = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        told.push_str(before);
        let end = after
            .find(|it: char| it.is_whitespace() || matches!(it, '/' | '?' | '"' | '\''))
            .unwrap_or(after.len());
        let (place, more) = after.split_at(end);
        match place.rsplit_once('@') {
            Some((_, host)) => {
                told.push_str(HIDDEN);
                told.push('@');
                told.push_str(host);
            }
            None => told.push_str(place),
        }
        rest = more;
    }
    told.push_str(rest);
    told
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_left_out_and_all_else_stays() {
        for (line, told) in [
            ("java.lang.OutOfMemoryError: Java heap space", "java.lang.OutOfMemoryError: Java heap space"),
            ("spark.hadoop.fs.s3a.secret.key=abc/def next", "spark.hadoop.fs.s3a.secret.key=… next"),
            ("{\"password\": \"p w\", \"user\": \"ada\"}", "{\"password\": \"…\", \"user\": \"ada\"}"),
            ("DB_PASSWORD='x'; other=1", "DB_PASSWORD='…'; other=1"),
            ("jdbc:postgresql://ada:pw@db:5432/x failed", "jdbc:postgresql://…@db:5432/x failed"),
            ("https://host/path?sig=1&token=abc&x=2", "https://host/path?sig=1&token=…&x=2"),
            ("Access denied for token: eyJhbGci.x", "Access denied for token: …"),
            ("KeyError: 'day'", "KeyError: 'day'"),
            ("token:", "token:"),
        ] {
            assert_eq!(redact(line), told);
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in ".{0,200}") {
            redact(&line);
        }

        #[test]
        fn a_secret_is_never_told(before in "[ -~]{0,20}", name in "(password|api_key|AUTH_TOKEN)", after in "[ ,;].{0,20}") {
            let line = format!("{before} {name}=s3cr3tvalue{after}");
            prop_assert!(!redact(&line).contains("s3cr3tvalue"));
        }
    }
}
