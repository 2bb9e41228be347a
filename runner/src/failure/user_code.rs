//! The user's own frame in a stack: what a reader looks for first.

use super::Cause;

/// The frame and the error.
pub(super) fn lines(cause: Cause, log: &str) -> Option<Vec<&str>> {
    match cause {
        Cause::UserCodePython => python(log),
        Cause::UserCodeJvm => jvm(log),
        _ => None,
    }
}

/// Of the last traceback, the last frame that is in no library, and the line with the error.
fn python(log: &str) -> Option<Vec<&str>> {
    let lines: Vec<&str> = log.lines().collect();
    let begin =
        lines.iter().rposition(|line| line.trim_start().starts_with("Traceback (most recent call last):"))?;
    let stack = &lines[begin + 1..];
    // The frames are indented, and the error is not.
    let end = stack.iter().position(|line| !line.starts_with(' ') && !line.is_empty())?;
    let own = stack[..end].iter().rposition(|line| {
        line.trim_start().starts_with("File \"")
            && !["site-packages", "pyspark.zip", "py4j", "/lib/python", "<frozen"]
                .iter()
                .any(|it| line.contains(it))
    });
    let mut found: Vec<&str> = Vec::new();
    if let Some(own) = own {
        found.push(stack[own]);
        found.extend(
            stack.get(own + 1).filter(|line| own + 1 < end && !line.trim_start().starts_with("File \"")),
        );
    }
    found.push(stack[end]);
    Some(found)
}

/// Of what ended the main thread, the first frame that is neither Java's, Scala's nor Spark's, and the error.
fn jvm(log: &str) -> Option<Vec<&str>> {
    let lines: Vec<&str> = log.lines().collect();
    let begin = lines.iter().position(|line| line.contains("Exception in thread \"main\""))?;
    let frames = lines[begin + 1..].iter().take_while(|line| {
        let line = line.trim_start();
        line.starts_with("at ") || line.starts_with("Caused by:") || line.starts_with("...")
    });
    let foreign = ["at java.", "at jdk.", "at javax.", "at scala.", "at org.apache.spark.", "at java.base/"];
    let own = frames.copied().find(|line| {
        line.trim_start().starts_with("at ") && !foreign.iter().any(|it| line.trim_start().starts_with(it))
    });
    Some(own.into_iter().chain([lines[begin]]).collect())
}
