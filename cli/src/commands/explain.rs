//! `dcp explain`

use std::io::{self, Write};

use dcp_compiler::diag::{Code, CodeInfo};

use crate::args::Explain;
use crate::failure::{Failure, Verdict};
use crate::out::{BOLD, Console, DIM, ERROR, HELP, Look, NOTE, WARNING};
use crate::render::wrapped;

mod pages {
    include!(concat!(env!("OUT_DIR"), "/pages.rs"));
}

/// Returns the page about a code, in Markdown.
pub(crate) fn page(code: Code) -> Option<&'static str> {
    let name = code.to_string();
    let at = pages::PAGES.binary_search_by_key(&name.as_str(), |(name, _)| name).ok()?;
    Some(pages::PAGES[at].1)
}

pub(super) fn run(args: &Explain, console: &mut Console) -> Result<Verdict, Failure> {
    let look = console.out.look;
    let Some(text) = &args.code else {
        list(look, &mut console.out)?;
        return Ok(Verdict::Success);
    };
    let code = Code::parse(text).ok_or_else(|| unknown(text))?;
    match page(code) {
        Some(page) => write(page, look, &mut console.out)?,
        None => {
            let CodeInfo { severity, title, .. } = code.info();
            writeln!(console.out, "{}", look.paint(BOLD, format_args!("# {code}: {title}")))?;
            writeln!(
                console.out,
                "\nThis is of severity `{}`. There is no page about it yet.",
                severity.name()
            )?;
        }
    }
    Ok(Verdict::Success)
}

fn unknown(text: &str) -> Failure {
    let failure = Failure::usage(format!("there is no diagnostic `{text}`"));
    failure.help(match near(text) {
        Some(meant) => format!("did you mean {meant}? `dcp explain` lists all of them"),
        None => "`dcp explain` lists all of them".to_owned(),
    })
}

/// Returns the code with the nearest number.
fn near(text: &str) -> Option<Code> {
    let number =
        |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>().parse::<u32>().ok();
    let wanted = number(text)?;
    let distances = Code::all()
        .iter()
        .map(|info| (number(&info.code.to_string()).map(|known| known.abs_diff(wanted)), info.code));
    let (distance, code) = distances.min()?;
    distance.filter(|distance| *distance <= 10).map(|_| code)
}

fn list(look: Look, out: &mut impl Write) -> io::Result<()> {
    for CodeInfo { code, severity, title } in Code::all() {
        let style = match severity.name() {
            "error" => ERROR,
            "warning" => WARNING,
            _ => NOTE,
        };
        let kind = format!("{:7}", severity.name());
        writeln!(out, "{}  {}  {title}", look.paint(BOLD, code), look.paint(style, kind))?;
    }
    Ok(())
}

/// Writes a page of Markdown. On a terminal, headings and code are styled, and paragraphs are wrapped to its
/// width.
fn write(page: &str, look: Look, out: &mut impl Write) -> io::Result<()> {
    let (mut in_code, mut paragraph) = (false, String::new());
    for line in page.lines() {
        let fence = line.trim_start().starts_with("```");
        let is_text = !(fence || in_code || line.is_empty() || line.starts_with(['#', '|']));
        if is_text && look.terminal {
            let begins = line.starts_with("- ");
            if begins {
                flush(&mut paragraph, look, out)?;
            }
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph.push_str(line.trim());
            continue;
        }
        flush(&mut paragraph, look, out)?;
        let style = match () {
            () if fence => DIM,
            () if in_code => HELP,
            () if line.starts_with('#') => BOLD,
            () => {
                writeln!(out, "{line}")?;
                continue;
            }
        };
        in_code ^= fence;
        writeln!(out, "{}", look.paint(style, line))?;
    }
    flush(&mut paragraph, look, out)
}

/// Writes a collected paragraph or list item.
fn flush(paragraph: &mut String, look: Look, out: &mut impl Write) -> io::Result<()> {
    let text = std::mem::take(paragraph);
    if text.is_empty() {
        return Ok(());
    }
    let lines = match text.strip_prefix("- ") {
        Some(item) => {
            let mut lines = wrapped(item, look.width, "  ");
            lines[0].replace_range(..2, "- ");
            lines
        }
        None => wrapped(&text, look.width, ""),
    };
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}
