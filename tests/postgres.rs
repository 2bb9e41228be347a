//! A real PostgreSQL for tests. It is private to the test process: started once from the machine's binaries, and ended
//! with the process.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The password of the user `dcp`. It is unusual, so that tests can find it where it must not be.
pub const PASSWORD: &str = "correct-horse-battery";

/// The default collation of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collation {
    /// Compares bytes.
    C,
    /// Compares by the rules of a language, such as `en-US`, with the ICU library.
    Icu(&'static str),
    /// Compares by a locale of the machine, with the C library.
    Libc(String),
}

impl Collation {
    /// Returns a collation of each kind that the machine has. Every PostgreSQL has the first two; the last is that of a
    /// language if the machine has its locale, and otherwise of `C.UTF-8`.
    ///
    /// # Panics
    /// If the machine can't list its locales, or has none for UTF-8.
    pub fn all() -> Vec<Self> {
        let listed =
            Command::new("locale").arg("-a").output().expect("`locale` lists the locales of the machine");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let is_utf8 = |name: &&str| {
            name.split_once('.').is_some_and(|(_, charset)| charset.to_lowercase().replace('-', "") == "utf8")
        };
        let of_language = listed.lines().filter(is_utf8).find(|name| name.contains('_'));
        let name = of_language.or_else(|| listed.lines().find(is_utf8));
        let name =
            name.expect("this machine has no locale for UTF-8, not even C.UTF-8: apt-get install libc-bin");
        vec![Self::C, Self::Icu("en-US"), Self::Libc(name.to_owned())]
    }

    fn options(&self) -> Vec<String> {
        match self {
            Self::C => vec!["--locale=C".to_owned()],
            Self::Icu(locale) => {
                vec!["--locale-provider=icu".to_owned(), format!("--icu-locale={locale}")]
            }
            Self::Libc(locale) => vec!["--locale-provider=libc".to_owned(), format!("--locale={locale}")],
        }
    }
}

/// Returns the URL of a new, empty database. Like most databases, it does not compare text by bytes.
///
/// # Panics
/// If PostgreSQL is not installed, or does not start.
pub fn database() -> String {
    database_of(&Collation::Icu("en-US"))
}

/// Returns the URL of a new, empty database with a collation. ICU requires PostgreSQL 15.
///
/// # Panics
/// If PostgreSQL is not installed, does not start, or does not support the collation.
pub fn database_of(collation: &Collation) -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    // Tests do not need durability, so the server does not wait for the disk.
    SERVER.get_or_init(|| Server::start("off", None)).database(&collation.options())
}

/// Returns the URL of a new, empty database on a server that waits for the disk, like a server in production.
///
/// # Panics
/// If PostgreSQL is not installed, or does not start.
pub fn durable_database() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start("on", None)).database(&Collation::Icu("en-US").options())
}

/// Returns the loopback port and the name of a new, empty database, for clients that do not support Unix sockets.
///
/// # Panics
/// If PostgreSQL is not installed, or does not start.
pub fn tcp_database() -> (u16, String) {
    static SERVER: OnceLock<(Server, u16)> = OnceLock::new();
    let (server, port) = SERVER.get_or_init(|| {
        let port = crate::free_port();
        (Server::start("off", Some(port)), port)
    });
    let url = server.database(&Collation::Icu("en-US").options());
    (*port, url.rsplit('/').next().expect("a URL ends with the database").to_owned())
}

#[derive(Debug)]
struct Server {
    binaries: PathBuf,
    folder: PathBuf,
    /// The user and group of the server, if the tests run as root: PostgreSQL does not run as root.
    user: Option<(u32, u32)>,
    port: Option<u16>,
    /// Ends the server when its standard input closes, which happens if this process ends for any reason.
    _wrapper: Child,
}

/// Runs a server until standard input ends, then removes the server's folder.
const WRAPPER_SCRIPT: &str = r#"
folder=$1; shift
"$@" >"$folder/log" 2>&1 &
cat >/dev/null
kill -QUIT $!
wait $!
rm -rf "$folder"
"#;

impl Server {
    fn database(&self, options: &[String]) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // Only `template0` can be copied with a different collation.
        run_or_panic(self.client("createdb").arg("--template=template0").args(options).arg(&name));
        self.url(&name)
    }

    /// Starts a server that listens on a Unix socket, or on a port of the loopback address.
    fn start(fsync: &str, port: Option<u16>) -> Self {
        let binaries = binaries();
        let folder = tempfile::Builder::new()
            .prefix("dcp-postgres-")
            .tempdir()
            .expect("a folder for PostgreSQL")
            .keep();
        let own = folder.metadata().expect("the folder was just made").uid();
        let user = (own == 0).then(unprivileged_user);
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).expect("root may give a folder away");
        }
        let password = folder.join("password");
        std::fs::File::create(&password)
            .and_then(|mut file| file.write_all(PASSWORD.as_bytes()))
            .expect("the password can be written");
        let command = |name: &str| as_user(Command::new(binaries.join(name)), user, &folder);
        let mut initdb = command("initdb");
        initdb.args([
            "--username=dcp",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]);
        initdb.arg("--pwfile").arg(&password).arg("--pgdata").arg(folder.join("data"));
        run_or_panic(&mut initdb);

        let mut wrapper = as_user(Command::new("sh"), user, &folder);
        wrapper.args(["-c", WRAPPER_SCRIPT, "sh"]).arg(&folder).arg(binaries.join("postgres"));
        wrapper.arg("-D").arg(folder.join("data")).arg("-k").arg(&folder);
        wrapper.args(["-c", "max_connections=300", "-c"]).arg(format!("fsync={fsync}"));
        match port {
            None => wrapper.args(["-c", "listen_addresses="]),
            Some(port) => wrapper.args(["-c", "listen_addresses=127.0.0.1"]).arg(format!("--port={port}")),
        };
        // In its own process group, so that a signal to the group of the tests leaves it time to clean up.
        wrapper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let wrapper = wrapper.spawn().expect("`sh` runs");
        let server = Self { binaries, folder, user, port, _wrapper: wrapper };
        server.wait();
        server
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.client("pg_isready").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL did not start within a minute:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn client(&self, name: &str) -> Command {
        let mut command = as_user(Command::new(self.binaries.join(name)), self.user, &self.folder);
        command.arg("--host").arg(&self.folder).arg("--username=dcp").env("PGPASSWORD", PASSWORD);
        // The port is part of the socket's name.
        command.args(self.port.map(|port| format!("--port={port}")));
        command
    }

    fn url(&self, database: &str) -> String {
        let socket = self.folder.to_str().expect("temporary folders have names in UTF-8").replace('/', "%2F");
        format!("postgres://dcp:{PASSWORD}@{socket}/{database}")
    }
}

fn as_user(mut command: Command, user: Option<(u32, u32)>, folder: &Path) -> Command {
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

fn run_or_panic(command: &mut Command) {
    let output = command.output().expect("PostgreSQL's own programs can be run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{stderr}");
}

/// Returns the folder of PostgreSQL's binaries, of the newest version. Debian installs the server outside of the PATH.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort_by_key(|path| path.iter().rev().nth(1).and_then(|it| it.to_str()?.parse::<u32>().ok()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = versions.into_iter().rev().chain(std::env::split_paths(&path));
    let found = places.find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    found.expect(
        "these tests run a PostgreSQL of their own, and there is none on this machine, neither in \
        /usr/lib/postgresql/*/bin nor on the PATH: apt-get install postgresql",
    )
}

/// Returns the user and group that run PostgreSQL if the tests run as root.
fn unprivileged_user() -> (u32, u32) {
    let passwd = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let find = |wanted: &str| {
        let mut lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let line = lines.find(|fields| fields.len() > 3 && fields[0] == wanted)?;
        Some((line[2].parse().ok()?, line[3].parse().ok()?))
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .expect("there is a user `postgres` or `nobody` to run PostgreSQL as")
}
