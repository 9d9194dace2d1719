//! A real sshd on this machine, for tests.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::host::Host;

const SSHD: &str = "/usr/sbin/sshd";
const PASSPHRASE: &str = "correct horse";

/// It ends with this value.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
    user: String,
}

impl Server {
    /// Lets the current user in with a key. Nothing, and a reason on standard error, where sshd is not installed.
    pub(crate) fn start() -> Option<Self> {
        Server::configured("PasswordAuthentication no\nSubsystem sftp internal-sftp\n", &current_user())
    }

    /// With lines of `sshd_config`, for `user`.
    pub(crate) fn configured(lines: &str, user: &str) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            eprintln!("skipped: {SSHD} is not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, kind, passphrase) in [
            ("host", "ed25519", ""),
            ("host_rsa", "rsa", ""),
            ("key", "ed25519", ""),
            ("key_rsa", "rsa", ""),
            ("locked", "ed25519", PASSPHRASE),
            ("locked_ecdsa", "ecdsa", PASSPHRASE),
            ("stranger", "ed25519", ""),
        ] {
            let bits = if kind == "rsa" { "2048" } else { "256" };
            let arguments = ["-q", "-t", kind, "-b", bits, "-N", passphrase, "-f"];
            run(Command::new("ssh-keygen").args(arguments).arg(path(name)));
        }
        let authorized = ["key", "key_rsa", "locked", "locked_ecdsa"];
        let authorized = authorized.map(|name| fs::read_to_string(path(name).with_extension("pub")).unwrap());
        fs::write(path("authorized"), authorized.concat()).unwrap();
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let port = free_port();
        let text = format!(
            "{lines}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {host}\nHostKey {host}_rsa\nPidFile none\n\
             AuthorizedKeysFile {authorized}\nStrictModes no\nUsePAM no\nKbdInteractiveAuthentication no\n\
             AllowUsers {user}\nPermitRootLogin prohibit-password\nMaxStartups 200\n",
            host = path("host").display(),
            authorized = path("authorized").display(),
        );
        fs::write(path("config"), text).unwrap();
        let mut command = Command::new(SSHD);
        let command = command.arg("-D").arg("-e").arg("-f").arg(path("config"));
        let child = command.stderr(fs::File::create(path("log")).unwrap()).stdin(Stdio::null()).spawn().unwrap();
        let server = Server { folder, port, child, user: user.into() };
        server.wait_until_it_listens();
        Some(server)
    }

    fn wait_until_it_listens(&self) {
        for _ in 0..500 {
            if TcpStream::connect(self.address()).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("sshd does not start: {}", self.log());
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// What sshd has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// `key`, `key_rsa`, `locked`, `locked_ecdsa` and `stranger` are keys, the last one not authorised.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn passphrase(&self) -> super::credentials::Secret {
        PASSPHRASE.into()
    }

    /// The line of known hosts for a key: `host` or `host_rsa`, or another of [`Server::path`].
    pub(crate) fn known_line(&self, key: &str) -> String {
        let public = fs::read_to_string(self.path(key).with_extension("pub")).unwrap();
        format!("[127.0.0.1]:{} {public}", self.port)
    }

    /// How to log in with `key`, the host being known.
    pub(crate) fn host(&self) -> Host {
        let known_hosts = self.path("known_hosts");
        fs::write(&known_hosts, self.known_line("host")).unwrap();
        Host {
            name: "127.0.0.1".into(),
            address: "127.0.0.1".into(),
            port: self.port,
            username: self.user.clone(),
            password: None,
            identity_file: Some(self.path("key")),
            passphrase: None,
            default_keys: Vec::new(),
            is_proxied: false,
            ciphers: Vec::new(),
            known_hosts: vec![known_hosts],
            host_key_alias: None,
            ssh_config: None,
            accept_new: false,
            timeout: Duration::from_secs(30),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A user with a password, who is gone with this value.
pub(crate) struct User {
    pub(crate) name: String,
}

impl User {
    /// Nothing, and a reason on standard error, where that takes more rights.
    pub(crate) fn add(name: &str, password: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new("/usr/sbin/useradd").exists() {
            eprintln!("skipped: only root can add a user with a password");
            return None;
        }
        let name = format!("{name}{}", std::process::id());
        run(Command::new("useradd").args(["-M", "-N", "-s", "/bin/sh", &name]));
        let user = User { name };
        let mut child = Command::new("chpasswd").stdin(Stdio::piped()).spawn().unwrap();
        let line = format!("{}:{password}\n", user.name);
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), line.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        Some(user)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(&self.name).stderr(Stdio::null()).status();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn current_user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
