//! Checks of column types of Spark SQL. They find typing errors, and don't replace Spark's parser.

use super::FormatError;
use crate::diag::{Code, nearest};

const SIMPLE: &[&str] = &[
    "bigint",
    "binary",
    "boolean",
    "byte",
    "char",
    "date",
    "dec",
    "decimal",
    "double",
    "float",
    "int",
    "integer",
    "interval",
    "long",
    "numeric",
    "real",
    "short",
    "smallint",
    "string",
    "timestamp",
    "timestamp_ltz",
    "timestamp_ntz",
    "tinyint",
    "varchar",
    "variant",
];
/// Maximum nesting depth of a type.
const MAX_DEPTH: usize = 32;

pub(super) fn check(text: &str) -> Result<(), FormatError> {
    let mut reader = Reader { rest: text };
    reader.data_type(0)?;
    reader.space();
    match reader.rest.is_empty() {
        true => Ok(()),
        false => Err(error(format!("`{text}` goes on after the type"))),
    }
}

fn error(message: String) -> FormatError {
    FormatError::new(Code::MALFORMED, message)
        .help("write a type of Spark's SQL, such as `string`, `decimal(10,2)`, `array<int>`, `map<string,double>` or `struct<a:int,b:string>`")
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn data_type(&mut self, depth: usize) -> Result<(), FormatError> {
        if depth > MAX_DEPTH {
            return Err(error(format!("a type is nested more than {MAX_DEPTH} levels deep")));
        }
        let name = self.word()?.to_ascii_lowercase();
        match name.as_str() {
            "array" => {
                self.expect('<')?;
                self.data_type(depth + 1)?;
                self.expect('>')
            }
            "map" => {
                self.expect('<')?;
                self.data_type(depth + 1)?;
                self.expect(',')?;
                self.data_type(depth + 1)?;
                self.expect('>')
            }
            "struct" => self.fields(depth + 1),
            simple if SIMPLE.contains(&simple) => self.arguments(simple),
            unknown => {
                let known = nearest(unknown, SIMPLE.iter().copied().chain(["array", "map", "struct"]));
                let error = error(format!("`{unknown}` is no type of Spark's SQL"));
                Err(known.map_or(error.clone(), |known| error.help(format!("did you mean `{known}`?"))))
            }
        }
    }

    fn fields(&mut self, depth: usize) -> Result<(), FormatError> {
        self.expect('<')?;
        loop {
            self.word()?;
            self.space();
            self.take(':');
            self.data_type(depth)?;
            if !self.take(',') {
                return self.expect('>');
            }
        }
    }

    fn arguments(&mut self, name: &str) -> Result<(), FormatError> {
        let wanted = match name {
            "decimal" | "dec" | "numeric" => 2,
            "varchar" | "char" => 1,
            _ => return Ok(()),
        };
        if !self.take('(') {
            // A decimal has a default precision; a varchar has no default length.
            return if wanted == 2 {
                Ok(())
            } else {
                Err(error(format!("`{name}` needs a length: `{name}(20)`")))
            };
        }
        for at in 0..wanted {
            if at > 0 && !self.take(',') {
                break;
            }
            let number = self.word()?;
            if number.parse::<u32>().is_err() {
                return Err(error(format!("`{number}` is no number")));
            }
        }
        self.expect(')')
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn word(&mut self) -> Result<&'t str, FormatError> {
        self.space();
        if let Some(quoted) = self.rest.strip_prefix('`') {
            let Some(end) = quoted.find('`') else { return Err(error("a backtick is not closed".into())) };
            self.rest = &quoted[end + 1..];
            return Ok(&quoted[..end]);
        }
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(error("a name or a type is missing".into()));
        }
        self.rest = rest;
        Ok(word)
    }

    fn take(&mut self, c: char) -> bool {
        self.space();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, c: char) -> Result<(), FormatError> {
        if self.take(c) {
            return Ok(());
        }
        let found = self.rest.chars().next().map_or("the end".to_owned(), |found| format!("`{found}`"));
        Err(error(format!("expected `{c}` and found {found}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        for good in [
            "string",
            "INT",
            "decimal",
            "decimal(10,2)",
            "decimal(10)",
            "varchar(20)",
            "array<int>",
            "map<string, array<double>>",
            "struct<a:int,b:struct<`c d`: string>>",
            "struct<a int>",
            " timestamp ",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "strng",
            "array",
            "array<int",
            "array<int>>",
            "map<string>",
            "struct<>",
            "varchar",
            "decimal(x)",
            "int)",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        let nested = format!("{}int{}", "array<".repeat(10_000), ">".repeat(10_000));
        assert!(check(&nested).is_err());
        assert!(check("tiemstamp").expect_err("typo").help.expect("help").contains("timestamp"));
    }
}
