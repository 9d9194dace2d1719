//! What every transport must do, against a real sshd: the same host gives the same connection or the same error.

use std::fs;
use std::time::Duration;

use super::*;
use crate::sync::sftp::Sftp;
use crate::sync::test_server::{Server, free_port};

type Make = fn(&Host) -> Box<dyn Transport>;

const TRANSPORTS: [(&str, Make); 2] =
    [("openssh", |host| openssh(host, None).unwrap()), ("ssh2", |host| ssh2(host).unwrap())];

fn start(make: Make, host: &Host) -> Result<Sftp, ConnectError> {
    Sftp::start(make(host).connect()?, &host.display())
}

fn refusal(make: Make, host: &Host) -> ConnectError {
    start(make, host).err().expect("no connection")
}

#[test]
fn folders_are_listed_and_files_read() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(folder.path().join("a file"), &content).unwrap();
    for (name, make) in TRANSPORTS {
        let host = Host { identity_file: Some(server.path("key")), ..server.host() };
        let mut sftp = start(make, &host).unwrap();
        let listed = sftp.list(&folder.path().display().to_string()).unwrap();
        assert!(listed.iter().any(|entry| entry.name == b"a file"), "{name}: {listed:?}");
        let path = folder.path().join("a file").display().to_string();
        assert_eq!(sftp.stat(&path).unwrap().size, Some(content.len() as u64), "{name}");
        let handle = sftp.open(&path).unwrap();
        let mut got: Vec<u8> = Vec::new();
        let end = sftp.read(&handle, 0..content.len() as u64 + 5, 4 << 20, |bytes| {
            got.extend(bytes);
            Ok::<(), ()>(())
        });
        assert_eq!(end.unwrap(), content.len() as u64, "{name}");
        assert!(got == content, "{name}");
        sftp.close(&handle).unwrap();
        let missing = sftp.stat("/no/such/file");
        assert!(matches!(missing, Err(crate::sync::SftpError::NotFound)), "{name}: {missing:?}");
    }
}

#[test]
fn commands_run_beside_the_stream() {
    let Some(server) = Server::start() else { return };
    for (name, make) in TRANSPORTS {
        let host = Host { identity_file: Some(server.path("key")), ..server.host() };
        let transport = make(&host);
        let mut sftp = Sftp::start(transport.connect().unwrap(), &host.display()).unwrap();
        let done = transport.execute("printf '%s' \"a b\"; exit 3", Duration::from_secs(20)).unwrap();
        assert_eq!((done.status, &done.stdout[..]), (Some(3), &b"a b"[..]), "{name}");
        let never = transport.execute("sleep 60", Duration::from_millis(300));
        assert_eq!(never.unwrap_err().kind(), std::io::ErrorKind::TimedOut, "{name}");
        assert!(sftp.stat("/").is_ok(), "{name}: the stream goes on");
        let again = transport.execute("echo again", Duration::from_secs(20)).unwrap();
        assert_eq!((again.status, &again.stdout[..]), (Some(0), &b"again\n"[..]), "{name}");
    }
}

#[test]
fn a_refused_login_says_what_was_tried() {
    let Some(server) = Server::start() else { return };
    for (name, make) in TRANSPORTS {
        let host = Host { identity_file: Some(server.path("stranger")), ..server.host() };
        let error = refusal(make, &host);
        let ConnectError::LoginRefused { tried, .. } = &error else { panic!("{name}: {error:?}") };
        assert!(tried.contains("stranger"), "{name}: {tried}");
        assert!(!error.is_transient(), "{name}");
    }
}

#[test]
fn host_keys_are_judged_alike() {
    let Some(server) = Server::start() else { return };
    let files = tempfile::tempdir().unwrap();
    let known = |lines: &str| {
        let path = files.path().join("known_hosts");
        fs::write(&path, lines).unwrap();
        vec![path]
    };
    let host = || Host { identity_file: Some(server.path("key")), ..server.host() };
    let line = server.known_line("host");
    for (name, make) in TRANSPORTS {
        let unknown = refusal(make, &Host { known_hosts: known(""), ..host() });
        let ConnectError::HostKeyUnknown { fingerprint, .. } = &unknown else { panic!("{name}: {unknown:?}") };
        let fingerprint = fingerprint.clone();
        assert!(fingerprint.starts_with("SHA256:"), "{name}: {fingerprint}");

        let other = server.known_line("stranger");
        let changed = refusal(make, &Host { known_hosts: known(&format!("# a line\n{other}")), ..host() });
        let ConnectError::HostKeyChanged { recorded, offered, line: at, .. } = &changed else {
            panic!("{name}: {changed:?}")
        };
        assert!(offered.ends_with(&fingerprint), "{name}: {offered}");
        assert!(recorded.contains("SHA256:") && recorded != offered, "{name}: {recorded}");
        assert_eq!(*at, 2, "{name}");

        let revoked = refusal(make, &Host { known_hosts: known(&format!("{line}@revoked {line}")), ..host() });
        assert!(matches!(revoked, ConnectError::HostKeyRevoked { line: 2, .. }), "{name}: {revoked:?}");

        let new = known("");
        start(make, &Host { known_hosts: new.clone(), accept_new: true, ..host() }).unwrap();
        assert!(fs::read_to_string(&new[0]).unwrap().contains("ssh-"), "{name}: it is recorded");
        start(make, &Host { known_hosts: new, ..host() }).unwrap();
    }
}

#[test]
fn what_cannot_be_reached_says_so() {
    let Some(server) = Server::start() else { return };
    let host = || Host { identity_file: Some(server.path("key")), ..server.host() };
    for (name, make) in TRANSPORTS {
        let refused = refusal(make, &Host { port: free_port(), ..host() });
        assert!(matches!(refused, ConnectError::Refused { .. }), "{name}: {refused:?}");
        let nowhere = || "nowhere.invalid".to_string();
        let unknown = refusal(make, &Host { name: nowhere(), address: nowhere(), ..host() });
        assert!(matches!(unknown, ConnectError::UnknownHost { .. }), "{name}: {unknown:?}");
    }
    let Some(bare) = Server::configured("Subsystem sftp /bin/false", &whoami()) else { return };
    for (name, make) in TRANSPORTS {
        let host = Host { identity_file: Some(bare.path("key")), ..bare.host() };
        let error = refusal(make, &host);
        assert!(matches!(error, ConnectError::NoSftp { .. }), "{name}: {error:?}");
    }
}

#[test]
fn a_connection_is_ended_from_another_thread() {
    let Some(server) = Server::start() else { return };
    for (name, make) in TRANSPORTS {
        let host = Host { identity_file: Some(server.path("key")), ..server.host() };
        let mut connection = make(&host).connect().unwrap();
        let end = connection.breaker();
        let waiting = std::thread::spawn(move || connection.read(&mut [0; 16]));
        std::thread::sleep(Duration::from_millis(500));
        end();
        let read = waiting.join().unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "{name}: {read:?}");
    }
}

fn whoami() -> String {
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}
