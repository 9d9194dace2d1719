//! A redis-server of its own for every test, on a socket, with its appends on disk.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::Connection;
use tempfile::TempDir;

pub(crate) struct Server {
    child: Child,
    args: Vec<String>,
    folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Server::with(&["--port", "0", "--appendonly", "yes"])
    }

    /// With these settings beside the socket.
    pub(crate) fn with(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let child = spawn(folder.path(), &args);
        let server = Server { child, args, folder };
        server.wait();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A connection past the library, once the server answers, though it may still load or want a password.
    pub(crate) fn raw(&self) -> Connection {
        redis::Client::open(self.url()).and_then(|client| client.get_connection()).expect("answers")
    }

    /// As a power cut would end it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
        // Left behind by a server that was killed; nothing may connect to it.
        let _ = std::fs::remove_file(self.socket());
    }

    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), &self.args);
    }

    fn wait(&self) {
        let began = Instant::now();
        while redis::Client::open(self.url()).and_then(|client| client.get_connection()).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "redis-server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, args: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.arg("--unixsocket").arg(folder.join("redis.sock")).arg("--dir").arg(folder).args(["--save", ""]).args(args);
    command.stdout(Stdio::null()).spawn().expect("redis-server is there: scripts/test_servers.sh installs it")
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}
