//! Runs the commands of documents in order, and compares their output with the documents. `UPDATE_GOLDEN=1` writes the
//! output into the documents.

mod document;
mod links;
mod normalized;
mod shell;

use document::{Block, Console, Document};
use shell::Shell;

use crate::harness::Sandbox;

/// Documents with console blocks.
const DOCUMENTS: [&str; 4] = ["README.md", "docs/rest.md", "docs/streams.md", "docs/tutorial.md"];
/// The tag of blocks that repeat commands of the tutorial.
const EXCERPT: &str = "tutorial";
/// The tag of blocks that need a Spark, in documents that also have blocks without it.
const SPARK: &str = "spark";

/// Runs all console blocks of a document that have a tag.
fn run(path: &str, tag: Option<&str>, sandbox: &Sandbox) {
    let mut document = Document::read(path);
    let mut shell = Shell::new(sandbox);
    let mut wrong = Vec::new();
    let mut commands = 0;
    for block in &mut document.blocks {
        match block {
            Block::File { name, text } => {
                sandbox.write(name, text.as_bytes());
            }
            Block::Console(console) if console.tag.as_deref() == tag => {
                for step in &mut console.steps {
                    commands += 1;
                    let written = shell.run(&step.command);
                    if !normalized::matches(&step.output, &written) {
                        let shown = &step.output;
                        wrong.push(format!("$ {}\n--- shown\n{shown}\n--- written\n{written}", step.command));
                        step.output = written;
                    }
                }
            }
            Block::Console(_) | Block::Text(_) => {}
        }
    }
    assert!(commands > 0, "{path} has no command of the tag {tag:?}");
    if dcp_tests::update_golden() {
        document.write();
        return;
    }
    let wrong = wrong.join("\n\n");
    assert!(wrong.is_empty(), "commands of {path} write something else; UPDATE_GOLDEN=1 updates it\n{wrong}");
}

fn consoles<'document>(document: &'document mut Document, tag: Option<&str>) -> Vec<&'document mut Console> {
    let consoles = document.blocks.iter_mut().filter_map(|block| match block {
        Block::Console(console) if console.tag.as_deref() == tag => Some(console),
        _ => None,
    });
    consoles.collect()
}

#[test]
fn readme_commands_print_the_documented_output() {
    run("README.md", None, &Sandbox::quickstart());
}

#[test]
fn excerpts_match_the_tutorial() {
    let mut tutorial = Document::read("docs/tutorial.md");
    let mut wrong = Vec::new();
    for path in DOCUMENTS {
        let mut document = Document::read(path);
        for step in consoles(&mut document, Some(EXCERPT)).into_iter().flat_map(|it| &mut it.steps) {
            let shown = consoles(&mut tutorial, None).into_iter().flat_map(|it| &it.steps);
            let last = shown.filter(|it| it.command == step.command).last();
            let last = last.expect("the tutorial has the command");
            if last.output != step.output {
                wrong.push(format!("{path}: {}", step.command));
                step.output.clone_from(&last.output);
            }
        }
        if dcp_tests::update_golden() {
            document.write();
        }
    }
    assert!(dcp_tests::update_golden() || wrong.is_empty(), "the tutorial shows something else: {wrong:?}");
}

/// Checks that a test runs or compares each console block.
#[test]
fn every_console_block_is_checked() {
    for path in links::documents().into_iter().chain(["README.md".to_owned()]) {
        let document = Document::read(&path);
        assert_eq!(document.text(), document.original, "{path} can't be written back");
        for block in &document.blocks {
            let Block::Console(console) = block else { continue };
            assert!(DOCUMENTS.contains(&path.as_str()), "no test runs the commands of {path}");
            let tags: &[Option<&str>] = match path.as_str() {
                "README.md" => &[None, Some(SPARK)],
                "docs/rest.md" | "docs/tutorial.md" => &[None],
                _ => &[Some(EXCERPT)],
            };
            assert!(
                tags.contains(&console.tag.as_deref()),
                "{path} has a block of the tag {:?}",
                console.tag
            );
        }
    }
}

/// Documents whose commands need a Spark on this machine.
mod spark {
    use std::process::Command;

    use super::{SPARK, Sandbox, run};

    /// Returns a folder, and installs Spark before, because documents don't show the output of that.
    fn with_spark() -> Sandbox {
        dcp_tests::spark_home();
        Sandbox::new()
    }

    /// Returns a folder in which `dcp` is a link to this repository.
    fn beside_the_repository() -> Sandbox {
        let sandbox = with_spark();
        std::os::unix::fs::symlink(dcp_tests::workspace(), sandbox.join("dcp"))
            .expect("the link does not exist yet");
        sandbox
    }

    #[test]
    fn tutorial_commands_print_the_documented_output() {
        run("docs/tutorial.md", None, &beside_the_repository());
    }

    #[test]
    fn rest_calls_print_the_documented_output() {
        run("docs/rest.md", None, &beside_the_repository());
    }

    #[test]
    fn readme_jobs_print_the_documented_output() {
        let sandbox = with_spark();
        let from = dcp_tests::workspace().join("examples/local");
        let copied = Command::new("cp").arg("-r").arg(from.join(".")).arg(sandbox.path()).status();
        assert!(copied.expect("cp can be run").success());
        run("README.md", Some(SPARK), &sandbox);
    }
}
