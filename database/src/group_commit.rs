//! Group commit: one task writes all commands that wait, in one commit.

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

/// Maximum number of commands in one commit.
const MAX_BATCH: usize = 256;
/// Maximum number of commands that wait; further callers wait until there is space.
const QUEUE_LENGTH: usize = 4096;

/// Writes commands to a database.
#[async_trait]
pub trait BatchWriter: Send + 'static {
    type Command: Send + Sync + 'static;
    type Reply: Send + 'static;
    type Error: Clone + Send + 'static;

    /// Writes commands in one commit, and returns a reply for each, in their order. After an error, nothing is written
    /// that a repetition would not find.
    async fn write(&mut self, commands: &[Self::Command]) -> Result<Vec<Self::Reply>, Self::Error>;

    /// Returns true if the error is that of the database, and not that of a command.
    fn is_unavailable(error: &Self::Error) -> bool;
}

type Waiting<W> = (
    <W as BatchWriter>::Command,
    oneshot::Sender<Result<<W as BatchWriter>::Reply, <W as BatchWriter>::Error>>,
);

/// The task that writes. Clones share it.
#[derive(Debug)]
pub struct GroupCommit<W: BatchWriter>(mpsc::Sender<Waiting<W>>);

impl<W: BatchWriter> Clone for GroupCommit<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W: BatchWriter> GroupCommit<W> {
    /// Starts the task.
    pub fn start(writer: W) -> Self {
        let (sender, inbox) = mpsc::channel(QUEUE_LENGTH);
        tokio::spawn(write_all(writer, inbox));
        Self(sender)
    }

    /// Returns one whose task has died, for tests of its death.
    pub fn dead() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// Writes a command, and returns its reply once it is on disk. Returns none if the task has died.
    pub async fn write(&self, command: W::Command) -> Option<Result<W::Reply, W::Error>> {
        let (sender, reply) = oneshot::channel();
        self.0.send((command, sender)).await.ok()?;
        reply.await.ok()
    }

    /// Waits until the task has died. A process can't recover from that, and has to exit.
    pub async fn died(&self) {
        self.0.closed().await;
    }
}

/// Writes all commands until all senders are gone.
async fn write_all<W: BatchWriter>(mut writer: W, mut inbox: mpsc::Receiver<Waiting<W>>) {
    let mut waiting = Vec::new();
    while inbox.recv_many(&mut waiting, MAX_BATCH).await > 0 {
        let (commands, replies): (Vec<W::Command>, Vec<_>) = waiting.drain(..).unzip();
        let written: Vec<Result<W::Reply, W::Error>> = match writer.write(&commands).await {
            Ok(written) => written.into_iter().map(Ok).collect(),
            // One command of the batch may be at fault, so each is written alone.
            Err(error) if commands.len() > 1 && !W::is_unavailable(&error) => {
                let mut written = Vec::with_capacity(commands.len());
                for command in &commands {
                    written.push(write_one(&mut writer, command).await);
                }
                written
            }
            Err(error) => commands.iter().map(|_| Err(error.clone())).collect(),
        };
        for (reply, written) in replies.into_iter().zip(written) {
            // A caller that is gone needs no reply.
            let _ = reply.send(written);
        }
    }
}

async fn write_one<W: BatchWriter>(writer: &mut W, command: &W::Command) -> Result<W::Reply, W::Error> {
    let written = writer.write(std::slice::from_ref(command)).await?;
    Ok(written.into_iter().next().expect("each command has a reply"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records the commands of each commit. Rejects commits with a command of 13, and all after one of 99.
    #[derive(Default)]
    struct Recorded {
        commits: Vec<Vec<u32>>,
    }

    #[async_trait]
    impl BatchWriter for Recorded {
        type Command = u32;
        type Reply = (u32, usize);
        type Error = &'static str;

        async fn write(&mut self, commands: &[u32]) -> Result<Vec<(u32, usize)>, &'static str> {
            if commands.contains(&99) {
                return Err("unavailable");
            }
            if commands.contains(&13) {
                return Err("invalid");
            }
            self.commits.push(commands.to_vec());
            Ok(commands.iter().map(|command| (*command, self.commits.len())).collect())
        }

        fn is_unavailable(error: &&'static str) -> bool {
            *error == "unavailable"
        }
    }

    async fn write_together(commands: &[u32]) -> Vec<Result<(u32, usize), &'static str>> {
        let group = GroupCommit::start(Recorded::default());
        let all = commands.iter().map(|command| group.write(*command));
        let replies = futures_util::future::join_all(all).await;
        replies.into_iter().map(|reply| reply.expect("the task lives")).collect()
    }

    #[tokio::test]
    async fn waiting_commands_share_a_commit() {
        assert_eq!(write_together(&[1, 2, 3]).await, [Ok((1, 1)), Ok((2, 1)), Ok((3, 1))]);
    }

    #[tokio::test]
    async fn an_invalid_command_fails_alone() {
        assert_eq!(write_together(&[1, 13, 3]).await, [Ok((1, 1)), Err("invalid"), Ok((3, 2))]);
    }

    #[tokio::test]
    async fn an_unavailable_database_fails_all_at_once() {
        assert_eq!(write_together(&[1, 99, 3]).await, [Err("unavailable"); 3]);
    }
}
