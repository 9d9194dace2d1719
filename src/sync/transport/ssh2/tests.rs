//! Against a real sshd.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::sync::test_server::{Server, User, free_port};

fn connect(host: &Host) -> Result<Box<dyn Connection>, ConnectError> {
    Ssh2::new(host.clone()).connect()
}

fn refusal(host: &Host) -> ConnectError {
    match connect(host) {
        Ok(_) => panic!("connected"),
        Err(error) => error,
    }
}

/// Says hello to the SFTP server and returns its version.
fn version(connection: &mut dyn Connection) -> io::Result<u32> {
    connection.write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 3])?;
    connection.flush()?;
    let mut head = [0; 9];
    connection.read_exact(&mut head)?;
    let rest = u32::from_be_bytes(head[..4].try_into().unwrap()) - 5;
    connection.read_exact(&mut vec![0; rest as usize])?;
    assert_eq!(head[4], 2);
    Ok(u32::from_be_bytes(head[5..].try_into().unwrap()))
}

#[test]
fn sftp_answers_over_the_stream() {
    let Some(server) = Server::start() else { return };
    let mut connection = connect(&server.host()).unwrap();
    assert_eq!(version(&mut *connection).unwrap(), 3);
}

#[test]
fn every_type_of_key_logs_in() {
    let Some(server) = Server::start() else { return };
    for (key, passphrase) in [
        ("key", None),
        ("key_rsa", None),
        ("locked", Some(server.passphrase())),
        ("locked_ecdsa", Some(server.passphrase())),
    ] {
        let host = Host { identity_file: Some(server.path(key)), passphrase, ..server.host() };
        assert_eq!(version(&mut *connect(&host).unwrap()).unwrap(), 3, "{key}");
    }
}

#[test]
fn a_key_that_cannot_be_used_says_why() {
    let Some(server) = Server::start() else { return };
    let reason = |key: &str, passphrase: Option<&str>| {
        let passphrase = passphrase.map(Into::into);
        match refusal(&Host { identity_file: Some(server.path(key)), passphrase, ..server.host() }) {
            ConnectError::Key { path, reason } => {
                assert_eq!(path, server.path(key));
                reason
            }
            other => panic!("{key}: {other:?}"),
        }
    };
    for key in ["locked", "locked_ecdsa"] {
        assert_eq!(reason(key, Some("wrong")), "the passphrase is wrong");
        assert_eq!(reason(key, None), "it has a passphrase, and the credentials do not");
    }
    assert_eq!(reason("none", None), "No such file or directory (os error 2)");
    assert_eq!(reason("key.pub", None), "it is the public half of a key");
    assert_eq!(reason("config", None), "it is no private key");
}

#[test]
fn a_key_that_the_server_does_not_know_is_a_refused_login() {
    let Some(server) = Server::start() else { return };
    let stranger = server.path("stranger");
    let error = refusal(&Host { identity_file: Some(stranger.clone()), ..server.host() });
    let expected = format!("key {}", stranger.display());
    assert!(matches!(&error, ConnectError::LoginRefused { tried, .. } if *tried == expected), "{error:?}");
    assert!(!error.is_transient());
}

#[test]
fn a_password_where_the_server_takes_none_is_no_way_in() {
    let Some(server) = Server::start() else { return };
    let error = refusal(&Host { identity_file: None, password: Some("secret".into()), ..server.host() });
    let ConnectError::NoWayIn { offered, have, .. } = error else { panic!("{error:?}") };
    assert_eq!((offered.as_str(), have.as_str()), ("publickey", "a password"));
}

#[test]
fn default_keys_are_tried_where_nothing_is_asked_for() {
    let Some(server) = Server::start() else { return };
    let keys = ["locked", "stranger", "key_rsa"].map(|key| server.path(key));
    let host = Host { identity_file: None, default_keys: keys.to_vec(), ..server.host() };
    connect(&host).unwrap();
    let error = refusal(&Host { default_keys: keys[..2].to_vec(), ..host });
    let ConnectError::LoginRefused { tried, .. } = error else { panic!("{error:?}") };
    assert!(tried.ends_with(" (it has a passphrase, and the credentials do not)"), "{tried}");
}

#[test]
fn passwords_log_in_once_or_not_at_all() {
    let Some(user) = User::add("embpw", "open sesame") else { return };
    let lines = "PasswordAuthentication yes\nSubsystem sftp internal-sftp\n";
    let Some(server) = Server::configured(lines, &user.name) else { return };
    let host = Host { identity_file: None, password: Some("open sesame".into()), ..server.host() };
    assert_eq!(version(&mut *connect(&host).unwrap()).unwrap(), 3);

    let error = refusal(&Host { password: Some("hunter2".into()), ..host.clone() });
    assert!(matches!(&error, ConnectError::LoginRefused { tried, .. } if tried == "password"), "{error:?}");
    assert_eq!(server.log().matches("Failed password").count(), 1);
    assert!(!format!("{error}{error:?}").contains("hunter2"));

    // The key is refused, the password is not.
    let host = Host { identity_file: Some(server.path("stranger")), ..host };
    connect(&host).unwrap();
}

#[test]
fn a_password_answers_a_dialogue() {
    let Some(user) = User::add("embkbd", "open sesame") else { return };
    let lines =
        "UsePAM yes\nPasswordAuthentication no\nKbdInteractiveAuthentication yes\nSubsystem sftp internal-sftp\n";
    let Some(server) = Server::configured(lines, &user.name) else { return };
    let host = Host { identity_file: None, password: Some("open sesame".into()), ..server.host() };
    connect(&host).unwrap();
    let error = refusal(&Host { password: Some("wrong".into()), ..host });
    let expected = "password, in a dialogue";
    assert!(matches!(&error, ConnectError::LoginRefused { tried, .. } if tried == expected), "{error:?}");
}

#[test]
fn a_server_that_wants_two_proofs_gets_them() {
    let Some(user) = User::add("embtwo", "open sesame") else { return };
    let lines = "PasswordAuthentication yes\nAuthenticationMethods publickey,password\nSubsystem sftp internal-sftp\n";
    let Some(server) = Server::configured(lines, &user.name) else { return };
    let host = server.host();
    let error = refusal(&host);
    assert!(matches!(&error, ConnectError::NoWayIn { offered, .. } if offered == "password"), "{error:?}");
    connect(&Host { password: Some("open sesame".into()), ..host }).unwrap();
}

#[test]
fn a_host_without_a_key_on_record_is_refused_or_recorded() {
    let Some(server) = Server::start() else { return };
    let host = server.host();
    let known_hosts = host.known_hosts[0].clone();
    fs::remove_file(&known_hosts).unwrap();
    let error = refusal(&host);
    let ConnectError::HostKeyUnknown { key_type, fingerprint, .. } = &error else { panic!("{error:?}") };
    let output = Command::new("ssh-keygen").arg("-lf").arg(server.path("host.pub")).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains(fingerprint.as_str()), "{fingerprint}");
    assert_eq!(key_type, "ssh-ed25519");
    assert!(!known_hosts.exists());

    connect(&Host { accept_new: true, ..host.clone() }).unwrap();
    connect(&host).unwrap();
    let recorded = fs::read_to_string(&known_hosts).unwrap();
    assert!(server.known_line("host").starts_with(recorded.trim_end()), "{recorded}");
}

#[test]
fn a_changed_or_revoked_host_key_is_a_hard_stop() {
    let Some(server) = Server::start() else { return };
    let host = Host { accept_new: true, ..server.host() };
    let known_hosts = &host.known_hosts[0];
    fs::write(known_hosts, format!("# farm\n{}", server.known_line("stranger"))).unwrap();
    let error = refusal(&host);
    let ConnectError::HostKeyChanged { recorded, offered, line: 2, .. } = &error else { panic!("{error:?}") };
    assert!(recorded.starts_with("ssh-ed25519 SHA256:") && offered.starts_with("ssh-ed25519 SHA256:"), "{error}");
    assert_ne!(recorded, offered);

    fs::write(known_hosts, format!("{0}@revoked {0}", server.known_line("host"))).unwrap();
    let error = refusal(&host);
    assert!(matches!(error, ConnectError::HostKeyRevoked { line: 2, .. }), "{error:?}");
}

#[test]
fn the_host_is_asked_for_the_key_that_is_on_record() {
    let Some(server) = Server::start() else { return };
    let host = server.host();
    fs::write(&host.known_hosts[0], server.known_line("host_rsa")).unwrap();
    connect(&host).unwrap();
}

#[test]
fn an_entry_without_port_counts_as_it_does_for_ssh() {
    let Some(server) = Server::start() else { return };
    let host = server.host();
    let file = host.known_hosts[0].to_str().unwrap();
    let port = host.port.to_string();
    let bare = |key: &str| server.known_line(key).replace(&format!("[127.0.0.1]:{port}"), "127.0.0.1");
    for (text, expected) in [
        (bare("host"), true),
        (bare("stranger"), false),
        (format!("{}{}", bare("host"), server.known_line("stranger")), false),
        (format!("{}{}", bare("stranger"), server.known_line("host")), true),
    ] {
        fs::write(file, &text).unwrap();
        let output = Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UpdateHostKeys=no"])
            .args([
                "-o",
                &format!("UserKnownHostsFile={file}"),
                "-i",
                host.identity_file.as_ref().unwrap().to_str().unwrap(),
            ])
            .args(["-p", &port, "-l", &host.username, "127.0.0.1", "true"])
            .output()
            .unwrap();
        assert_eq!(output.status.success(), expected, "ssh: {text} {output:?}");
        assert_eq!(connect(&host).is_ok(), expected, "{text}");
    }
}

#[test]
fn commands_run_beside_the_stream() {
    let Some(server) = Server::start() else { return };
    let transport = Ssh2::new(server.host());
    let patience = Duration::from_secs(30);
    let executed = transport.execute("printf 'a\\0b'; echo no >&2; exit 7", patience).unwrap();
    assert_eq!((executed.status, executed.stdout.as_slice()), (Some(7), b"a\0b".as_slice()));
    let executed = transport.execute("cat; printf abc | sha256sum", patience).unwrap();
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n";
    assert_eq!((executed.status, executed.stdout), (Some(0), expected.into()));
    let executed = transport.execute("kill -9 $$", patience).unwrap();
    assert_eq!(executed.status, None);
}

#[test]
fn a_command_without_end_does_not_hold_up_the_stream() {
    let Some(server) = Server::start() else { return };
    let transport = Ssh2::new(server.host());
    let mut connection = transport.connect().unwrap();
    let error = transport.execute("sleep 60", Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let executed = transport.execute("yes", Duration::from_secs(30)).unwrap();
    assert_eq!((executed.status, executed.stdout.len()), (None, 64 * 1024));
    assert_eq!(version(&mut *connection).unwrap(), 3);
    let executed = transport.execute("printf on", Duration::from_secs(30)).unwrap();
    assert_eq!((executed.status, executed.stdout), (Some(0), b"on".to_vec()));
}

#[test]
fn a_server_without_sftp_says_so() {
    let user = Server::start().map(|server| server.host().username);
    let Some(server) = user.and_then(|user| Server::configured("PasswordAuthentication no\n", &user)) else { return };
    let error = refusal(&server.host());
    assert!(matches!(error, ConnectError::NoSftp { .. }), "{error:?}");
}

#[test]
fn a_long_stream_arrives_whole_over_new_keys_and_windows() {
    let user = Server::start().map(|server| server.host().username);
    let Some(user) = user else { return };
    // 40 MiB, and then the end: more than the window, and some ten times more than the keys are good for.
    let command = "seq -w 0 5242879 | cut -c 1-7";
    let lines = format!("PasswordAuthentication no\nRekeyLimit 4M\nSubsystem sftp {command}\n");
    let Some(server) = Server::configured(&lines, &user) else { return };
    let mut connection = connect(&server.host()).unwrap();
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 5_242_880 * 8);
    for (number, line) in bytes.chunks(8).enumerate() {
        assert_eq!(line, format!("{number:07}\n").as_bytes());
    }
}

#[test]
fn a_server_with_other_algorithms_is_left_to_openssh() {
    let user = Server::start().map(|server| server.host().username);
    let lines = "KexAlgorithms sntrup761x25519-sha512@openssh.com\n";
    let Some(server) = user.and_then(|user| Server::configured(lines, &user)) else { return };
    let error = refusal(&server.host());
    assert!(matches!(error, ConnectError::Unsupported { .. }), "{error:?}");
}

#[test]
fn a_way_through_another_machine_is_left_to_openssh() {
    let Some(server) = Server::start() else { return };
    let error = refusal(&Host { is_proxied: true, ..server.host() });
    assert!(error.hint().contains("--transport openssh"), "{error:?}");
}

#[test]
fn what_cannot_be_reached_says_so() {
    let Some(server) = Server::start() else { return };
    let host = Host { port: free_port(), ..server.host() };
    assert!(matches!(refusal(&host), ConnectError::Refused { .. }));
    let error = refusal(&Host { address: "nowhere.invalid".into(), ..host });
    assert!(matches!(error, ConnectError::UnknownHost { .. }), "{error:?}");
}

/// Connects to a server that says `words`, hears out what it is told, and then hangs up or, without `words`, stays
/// silent.
fn greeted_with(words: Option<&'static str>, host: Host) -> ConnectError {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let host = Host { port: listener.local_addr().unwrap().port(), timeout: Duration::from_secs(1), ..host };
    let (done, wait) = mpsc::channel::<()>();
    let peer = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        if let Some(words) = words {
            let _ = socket.write_all(words.as_bytes());
            let _ = socket.shutdown(Shutdown::Write);
            let _ = io::copy(&mut socket, &mut io::sink());
        } else {
            let _ = wait.recv();
        }
    });
    let error = refusal(&host);
    drop(done);
    peer.join().unwrap();
    error
}

#[test]
fn what_is_no_ssh_server_is_told_from_one_that_hangs_up() {
    let Some(server) = Server::start() else { return };
    for (words, transient) in [
        ("", true),
        ("Exceeded MaxStartups\r\n", true),
        ("Not allowed at this time\r\n", true),
        ("SSH-2.0-OpenSSH_9.2\r\n", true),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", false),
        ("\x00\x01\x02", false),
    ] {
        let error = greeted_with(Some(words), server.host());
        match &error {
            ConnectError::HungUp { .. } => assert!(transient, "{words:?}: {error}"),
            ConnectError::Handshake { .. } => assert!(!transient, "{words:?}: {error}"),
            _ => panic!("{words:?}: {error:?}"),
        }
    }
    let error = greeted_with(None, server.host());
    assert!(matches!(error, ConnectError::TimedOut { seconds: 1, .. }), "{error:?}");
}

/// A host behind a relay that forwards until it is told to stop, or to hang up.
struct Relay {
    host: Host,
    sockets: mpsc::Receiver<[TcpStream; 2]>,
}

impl Relay {
    fn before(server: &Server) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (near, target) = (listener.local_addr().unwrap(), server.address());
        let host = Host { port: near.port(), timeout: Duration::from_secs(2), ..server.host() };
        let known = server.known_line("host").replace(&format!("]:{}", target.port()), &format!("]:{}", near.port()));
        fs::write(&host.known_hosts[0], known).unwrap();
        let (sender, sockets) = mpsc::channel();
        thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let server = TcpStream::connect(target).unwrap();
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                thread::spawn(move || io::copy(&mut from, &mut to));
            }
            sender.send([client, server]).unwrap();
        });
        Relay { host, sockets }
    }
}

#[test]
fn a_silent_server_times_out_and_letting_go_does_not_wait() {
    let Some(server) = Server::start() else { return };
    let relay = Relay::before(&server);
    let mut connection = connect(&relay.host).unwrap();
    assert_eq!(version(&mut *connection).unwrap(), 3);
    // Nothing was asked, so nothing comes.
    assert_eq!(connection.read(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::TimedOut);

    let [_client, server_end] = relay.sockets.recv().unwrap();
    server_end.shutdown(Shutdown::Both).unwrap();
    let (done, wait) = mpsc::channel();
    thread::spawn(move || {
        drop(connection);
        done.send(()).unwrap();
    });
    wait.recv_timeout(Duration::from_secs(60)).unwrap();
}

#[test]
fn a_lost_connection_is_told_from_a_silent_one() {
    let Some(server) = Server::start() else { return };
    let relay = Relay::before(&server);
    let mut connection = connect(&relay.host).unwrap();
    for socket in relay.sockets.recv().unwrap() {
        socket.shutdown(Shutdown::Both).unwrap();
    }
    let error = version(&mut *connection).unwrap_err();
    let lost = [io::ErrorKind::ConnectionAborted, io::ErrorKind::UnexpectedEof];
    assert!(lost.contains(&error.kind()), "{error:?}");
}
