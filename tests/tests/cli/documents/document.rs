//! A document as text, files and commands.

use std::fmt::Write as _;
use std::path::PathBuf;

/// A document in pieces, from which its text can be written again.
pub(super) struct Document {
    pub(super) blocks: Vec<Block>,
    pub(super) original: String,
    path: PathBuf,
}

pub(super) enum Block {
    /// Lines that are neither commands nor a file.
    Text(String),
    /// A block of YAML whose first line is `# file: <name>`.
    File { name: String, text: String },
    /// A block ```` ```console ````, or ```` ```console <tag> ````.
    Console(Console),
}

pub(super) struct Console {
    pub(super) tag: Option<String>,
    pub(super) steps: Vec<Step>,
}

/// A command, and its output in the document.
pub(super) struct Step {
    pub(super) command: String,
    pub(super) output: String,
}

impl Document {
    pub(super) fn read(path: &str) -> Self {
        let path = dcp_tests::workspace().join(path);
        let original = std::fs::read_to_string(&path).expect("the document exists");
        let mut blocks = Vec::new();
        let mut text = String::new();
        let mut lines = original.lines();
        while let Some(line) = lines.next() {
            let info = line.strip_prefix("```").filter(|info| !info.is_empty() && !info.contains('`'));
            let Some(info) = info else {
                text.extend([line, "\n"]);
                continue;
            };
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let first = body.first().copied().unwrap_or_default();
            if let Some(tag) = info.strip_prefix("console") {
                blocks.push(Block::Text(std::mem::take(&mut text)));
                let tag = Some(tag.trim().to_owned()).filter(|tag| !tag.is_empty());
                blocks.push(Block::Console(Console { tag, steps: steps(&body) }));
            } else if let Some(name) = first.strip_prefix("# file: ").filter(|_| info == "yaml") {
                blocks.push(Block::Text(std::mem::take(&mut text)));
                blocks.push(Block::File { name: name.to_owned(), text: body[1..].join("\n") + "\n" });
            } else {
                writeln!(text, "{line}\n{}\n```", body.join("\n"))
                    .expect("writing to a String does not fail");
            }
        }
        blocks.push(Block::Text(text));
        Self { blocks, original, path }
    }

    pub(super) fn text(&self) -> String {
        self.blocks.iter().map(Block::text).collect()
    }

    pub(super) fn write(&self) {
        std::fs::write(&self.path, self.text()).expect("the document can be written");
    }
}

impl Block {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::File { name, text } => format!("```yaml\n# file: {name}\n{text}```\n"),
            Self::Console(Console { tag, steps }) => {
                let tag = tag.as_ref().map(|tag| format!(" {tag}")).unwrap_or_default();
                let mut text = format!("```console{tag}\n");
                for Step { command, output } in steps {
                    let command = command.replace('\n', "\n> ");
                    write!(text, "$ {command}\n{output}").expect("writing to a String does not fail");
                }
                text + "```\n"
            }
        }
    }
}

/// Returns the commands of a block. Commands begin with `$ `, their further lines with `> `.
fn steps(body: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in body {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), output: String::new() });
            continue;
        }
        let step = steps.last_mut().expect("a console block begins with a command");
        match line.strip_prefix("> ") {
            Some(more) if step.output.is_empty() => step.command.extend(["\n", more]),
            _ => step.output.extend([line, "\n"]),
        }
    }
    steps
}
