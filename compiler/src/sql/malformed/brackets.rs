//! Brackets that do not match.

use super::super::Reading;
use super::super::scan::{Kind, Piece};
use super::malformed;

pub(super) fn find(pieces: &[Piece<'_>]) -> Option<Reading> {
    let mut open: Vec<&Piece<'_>> = Vec::new();
    for piece in pieces {
        match piece.kind {
            Kind::Open => open.push(piece),
            Kind::Close => match open.pop() {
                None => return Some(unopened(piece)),
                Some(opening) if closing(opening.text) != piece.text => {
                    return Some(mismatched(opening, piece));
                }
                Some(_) => {}
            },
            // Brackets can't cross the end of a statement.
            Kind::Symbol if piece.text == ";" && !open.is_empty() => break,
            _ => {}
        }
    }
    open.last().map(|opening| unclosed(opening))
}

fn closing(opening: &str) -> &'static str {
    if opening == "(" { ")" } else { "]" }
}

fn unopened(piece: &Piece<'_>) -> Reading {
    let message = format!("`{}` closes a bracket that was never opened", piece.text);
    malformed(piece.at.clone(), &message, None)
}

fn unclosed(opening: &Piece<'_>) -> Reading {
    let message = format!("the `{}` that opens here is never closed", opening.text);
    let help = format!("close it with `{}`", closing(opening.text));
    malformed(opening.at.clone(), &message, Some(help))
}

fn mismatched(opening: &Piece<'_>, piece: &Piece<'_>) -> Reading {
    let message = format!("the `{}` that opens here is closed by a `{}`", opening.text, piece.text);
    let help = format!("close it with `{}`", closing(opening.text));
    malformed(opening.at.clone(), &message, Some(help))
}
