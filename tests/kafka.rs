//! A real Kafka broker for tests, which is its own controller and runs from the jars of Maven.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rskafka::chrono::DateTime;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// Returns the folder with the jars of a folder's `pom.xml`.
///
/// # Panics
/// If the jars can't be fetched.
pub fn jars(folder: &str) -> PathBuf {
    let workspace = crate::workspace();
    let mut command = Command::new(workspace.join("scripts/jars"));
    let done = command.arg(workspace.join(folder)).stderr(Stdio::inherit()).output();
    let done = done.expect("the program can be run");
    assert!(done.status.success(), "the jars of {folder} can't be fetched");
    String::from_utf8(done.stdout).expect("the path is UTF-8").trim().into()
}

#[derive(Debug)]
pub struct Broker {
    address: String,
    folder: TempDir,
    /// Ends the broker when its standard input closes: if this is dropped, or this process ends for any reason.
    wrapper: Child,
}

/// The maximum time of the start and of each call, which otherwise waits for a lost answer without end.
const MAX_CALL: Duration = Duration::from_mins(2);

/// Prepares a broker's folder, and runs the broker until standard input ends. Its data is not needed afterwards. Ends with a
/// broker that ends by itself, and then leaves its log.
const WRAPPER_SCRIPT: &str = r#"
folder=$1; jars=$2
exec 3<&0 >"$folder/log" 2>&1 </dev/null
run() { exec java -Xmx256m -XX:TieredStopAtLevel=1 -cp "$jars/*" "$@"; }
(run kafka.tools.StorageTool format --config "$folder/server.properties" --cluster-id AAAAAAAAAAAAAAAAAAAAAA) || exit
run kafka.Kafka "$folder/server.properties" &
broker=$!
cat <&3 >/dev/null &
wait -n -p ended
[ "$ended" != "$broker" ] || exit
kill -KILL $broker
wait $broker
rm -rf "$folder"
"#;

impl Broker {
    /// Starts a broker that has no topics and creates none by itself. It accepts connections once this returns.
    ///
    /// # Panics
    /// If there is no Java, the jars can't be fetched, or the broker does not start.
    pub async fn start() -> Self {
        Self::start_at(crate::free_address()).await
    }

    /// Starts a broker at an address, as `start` does.
    ///
    /// # Panics
    /// As `start` does, and if another program has the address.
    pub async fn start_at(address: String) -> Self {
        let jars = jars("tests/kafka/broker");
        let folder = tempfile::Builder::new()
            .prefix("dcp-kafka-")
            .tempdir()
            .expect("the temporary folder is writable");
        // Kafka's configuration must name its ports.
        let controller = crate::free_address();
        let settings = settings(folder.path(), &address, &controller);
        std::fs::write(folder.path().join("server.properties"), settings).expect("the file can be written");
        let mut wrapper = Command::new("bash");
        wrapper.args(["-c", WRAPPER_SCRIPT, "bash"]).arg(folder.path()).arg(jars);
        // In its own process group, so that a signal to the group of the tests leaves it time to clean up.
        wrapper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let wrapper = wrapper.spawn().expect("`bash` runs");
        let mut broker = Self { address, folder, wrapper };
        broker.wait().await;
        broker
    }

    async fn wait(&mut self) {
        let deadline = Instant::now() + MAX_CALL;
        loop {
            let ended = self.wrapper.try_wait().expect("the wrapper is a child process");
            let in_time = ended.is_none() && Instant::now() < deadline;
            assert!(in_time, "Kafka did not start: {ended:?}\n{}", self.log());
            // Another program that listens at the address might never answer.
            if let Ok(true) = tokio::time::timeout(Duration::from_secs(2), self.answers()).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn answers(&self) -> bool {
        // The client repeats a failed connection without end, so the connection is tried first.
        TcpStream::connect(&self.address).await.is_ok() && self.client().await.list_topics().await.is_ok()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// # Panics
    /// With the broker's log, if a call takes too long.
    async fn bounded<T>(&self, call: impl Future<Output = T>) -> T {
        let done = tokio::time::timeout(MAX_CALL, call).await;
        assert!(done.is_ok(), "Kafka did not answer within {MAX_CALL:?}:\n{}", self.log());
        done.expect("the call ended in time")
    }

    /// `host:port`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the folder of its data and log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn client(&self) -> Client {
        ClientBuilder::new(vec![self.address.clone()]).build().await.expect("the broker responds")
    }

    /// # Panics
    /// If the topic exists or the broker is gone. The other functions also panic if the broker is gone.
    pub async fn create_topic(&self, topic: &str, partitions: i32) {
        let call = async {
            let controller = self.client().await.controller_client().expect("the cluster has a controller");
            controller.create_topic(topic, partitions, 1, 10_000).await.expect("the topic can be created");
        };
        self.bounded(call).await;
    }

    pub async fn delete_topic(&self, topic: &str) {
        let call = async {
            let controller = self.client().await.controller_client().expect("the cluster has a controller");
            controller.delete_topic(topic, 10_000).await.expect("the topic can be deleted");
        };
        self.bounded(call).await;
    }

    /// Appends messages, each a key and a value, to partition 0.
    pub async fn produce(&self, topic: &str, messages: &[(Option<&str>, &[u8])]) {
        let record = |(key, value): &(Option<&str>, &[u8])| Record {
            key: key.map(|key| key.as_bytes().to_vec()),
            value: Some(value.to_vec()),
            headers: [].into(),
            // Kafka soon deletes messages with old timestamps.
            timestamp: DateTime::from(SystemTime::now()),
        };
        let records = messages.iter().map(record).collect();
        let call = async {
            let partition = partition(&self.client().await, topic, 0).await;
            partition
                .produce(records, Compression::NoCompression)
                .await
                .expect("the broker accepts the records");
        };
        self.bounded(call).await;
    }

    /// Returns all messages of a topic, ordered by partition.
    pub async fn consume(&self, topic: &str) -> Vec<Record> {
        self.bounded(self.records(topic)).await
    }

    async fn records(&self, topic: &str) -> Vec<Record> {
        let client = self.client().await;
        let topics = client.list_topics().await.expect("the broker responds");
        let found = topics.into_iter().find(|it| it.name == topic).expect("the topic exists");
        let mut records = Vec::new();
        for number in found.partitions {
            let partition = partition(&client, topic, number).await;
            let end = partition.get_offset(OffsetAt::Latest).await.expect("the broker responds");
            let mut at = 0;
            while at < end {
                let (found, _) =
                    partition.fetch_records(at, 1..1 << 20, 1000).await.expect("the records exist");
                at = found.last().map_or(end, |last| last.offset + 1);
                records.extend(found.into_iter().map(|it| it.record));
            }
        }
        records
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.wrapper.stdin.take());
        _ = self.wrapper.wait();
    }
}

async fn partition(client: &Client, topic: &str, number: i32) -> PartitionClient {
    // The broker may not yet know a topic that the controller has just created.
    client.partition_client(topic, number, UnknownTopicHandling::Retry).await.expect("the partition exists")
}

fn settings(folder: &Path, address: &str, controller: &str) -> String {
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
         listeners=PLAINTEXT://{address},CONTROLLER://{controller}\ncontroller.listener.names=CONTROLLER\n\
         log.dirs={}/data\nauto.create.topics.enable=false\noffsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=1\n",
        folder.display()
    )
}
